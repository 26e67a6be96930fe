"""``geoseg.predict`` when things go wrong: all outputs or none, and refusals that say what to do."""

from __future__ import annotations

import shutil

import geopandas
import pytest
import rasterio
from shapely.geometry import box

import geoseg
from geoseg.errors import InputError, MismatchError, OutputError, RunError, SettingsError
from geoseg.execute import run as mapping
from geoseg.maps.cog.tiles import Spool
from tests.conftest import make_scene
from tests.execute.cut_runs import WORK
from tests.verbs.predictions import run


class TestAllOrNothing:
    def files(self, folder):
        return sorted(path.name for path in folder.iterdir())

    @pytest.fixture
    def breaking(self, monkeypatch):
        def break_at(error):
            def fail(*_args, **_kwargs):
                raise error

            monkeypatch.setattr("geoseg.execute.run.polygons_of_run", fail)

        return break_at

    @pytest.mark.parametrize("error", [RunError("disk full"), KeyboardInterrupt(), ValueError("bug")])
    def test_a_run_that_ends_early_leaves_its_finished_blocks(
        self, scene, tiny_model, tmp_path, breaking, error
    ):
        breaking(error)
        with pytest.raises(type(error)):
            run(scene, tiny_model, tmp_path / "a")
        assert self.files(tmp_path / "a") == [WORK]

    def test_a_run_that_ends_before_its_first_block_leaves_nothing(
        self, scene, tiny_model, tmp_path, monkeypatch
    ):
        def fail(*_args, **_kwargs):
            raise RunError("device lost")

        monkeypatch.setattr("geoseg.inference.backends.make.make_backend", fail)
        with pytest.raises(RunError, match=r"^device lost$"):
            run(scene, tiny_model, tmp_path / "a")
        assert self.files(tmp_path / "a") == []

    def test_a_file_that_appears_meanwhile_is_not_replaced(self, scene, tiny_model, tmp_path, monkeypatch):
        folder, finish = tmp_path / "a", mapping.report_of_run

        def somebody_writes(*args, **options):
            (folder / "c.tif").write_text("theirs")
            return finish(*args, **options)

        monkeypatch.setattr(mapping, "report_of_run", somebody_writes)
        with pytest.raises(RunError, match=r"c\.tif was made by somebody else .* --resume goes on"):
            run(scene, tiny_model, folder, confidence=folder / "c.tif")
        assert (folder / "c.tif").read_text() == "theirs"
        assert self.files(folder) == sorted(["c.tif", WORK])
        monkeypatch.undo()
        with pytest.raises(OutputError, match=r"c\.tif exists"):
            run(scene, tiny_model, folder, confidence=folder / "c.tif", resume=True)
        (folder / "c.tif").unlink()
        report = run(scene, tiny_model, folder, confidence=folder / "c.tif", resume=True).report
        assert report["blocks_resumed"] == report["blocks"]

    def test_a_full_disk_while_finishing_leaves_finished_blocks(
        self, scene, tiny_model, tmp_path, monkeypatch
    ):
        copy, calls = Spool.copy, []

        def full_at_the_second_raster(*args, **options):
            calls.append(args)
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
            return copy(*args, **options)

        monkeypatch.setattr(Spool, "copy", full_at_the_second_raster)
        with pytest.raises(RunError, match=r"No space left.*1 of 1 blocks are kept.*--resume"):
            run(scene, tiny_model, tmp_path / "a")
        assert self.files(tmp_path / "a") == [WORK]

    def test_a_failing_run_does_not_harm_what_it_would_replace(self, scene, tiny_model, tmp_path, breaking):
        result = run(scene, tiny_model, tmp_path / "a")
        before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
        breaking(RunError("disk full"))
        with pytest.raises(RunError):
            run(scene, tiny_model, tmp_path / "a", overwrite=True)
        shutil.rmtree(tmp_path / "a" / WORK)
        assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
        assert result.outputs["classes"].exists()

    def test_nothing_but_the_outputs_and_their_sidecars_remains(self, scene, tiny_model, tmp_path):
        run(scene, tiny_model, tmp_path / "a")
        assert self.files(tmp_path / "a") == [
            "conf.qml", "conf.tif", "fields.gpkg", "map.qml", "map.tif", "map.tif.aux.xml", "prob.qml", "prob.tif",
        ]  # fmt: skip

    def test_existing_outputs_are_kept_unless_told(self, scene, tiny_model, tmp_path):
        first = run(scene, tiny_model, tmp_path / "a")
        before = first.outputs["classes"].stat().st_mtime_ns
        with pytest.raises(OutputError, match=r"exists; --overwrite"):
            run(scene, tiny_model, tmp_path / "a")
        assert first.outputs["classes"].stat().st_mtime_ns == before
        run(scene, tiny_model, tmp_path / "a", overwrite=True)

    def test_stale_sidecars_are_removed(self, scene, tiny_model, tmp_path):
        stale = [tmp_path / name for name in ("map.tif.ovr", "map.tif.msk", "fields.gpkg-wal")]
        for path in stale:
            path.write_bytes(b"of another file")
        geoseg.predict(
            scene, tmp_path / "map.tif", model=tiny_model, polygons=tmp_path / "fields.gpkg", force=True
        )
        assert not any(path.exists() for path in stale)

    def test_unfinished_work_of_another_run_is_not_touched(self, scene, tiny_model, tmp_path):
        (tmp_path / "map.tif.geoseg-work").mkdir()
        with pytest.raises(OutputError, match=r"unfinished work.*--resume.*--overwrite"):
            geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True)
        geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True, overwrite=True)

    def test_a_dry_run_writes_nothing(self, scene, tiny_model, tmp_path):
        (tmp_path / "a").mkdir()
        result = run(scene, tiny_model, tmp_path / "a", dry_run=True)
        assert self.files(tmp_path / "a") == []
        assert result.plan.chips > 0
        assert result.outputs == {}


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"overlap": 40}, SettingsError, r"--overlap"),
            ({"chip_size": 0}, SettingsError, r"--chip-size"),
            ({"block_size": 0}, SettingsError, r"--block-size"),
            ({"batch_size": -1}, SettingsError, r"--batch-size"),
            ({"device": "cuda:99"}, SettingsError, r"--device"),
            ({"precision": "fp8"}, SettingsError, r"--precision"),
            ({"tta": "d8"}, SettingsError, r"--tta"),
            ({"date": "yesterday"}, SettingsError, r"YYYY-MM-DD"),
            ({"confidence": "map.png"}, OutputError, r"\.tif"),
            ({"polygons": "fields.shp"}, OutputError, r"\.gpkg"),
            ({"confidence": "nowhere/conf.tif"}, OutputError, r"no folder"),
            ({"bands": ["red", "swir22"]}, InputError, r"swir22"),
            ({"aoi": "missing.gpkg"}, InputError, r"missing\.gpkg"),
        ],
    )
    def test_say_what_is_wrong(self, scene, tiny_model, tmp_path, monkeypatch, options, error, words):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(error, match=words) as caught:
            geoseg.predict(scene, "map.tif", model=tiny_model, **options)
        assert caught.value.exit_code == 2
        assert self.left(tmp_path) == ["scene.tif"]

    @staticmethod
    def left(folder):
        return sorted(path.name for path in folder.iterdir())

    def test_the_scene_itself_is_never_overwritten(self, scene, tiny_model):
        before = scene.read_bytes()
        with pytest.raises(OutputError):
            geoseg.predict(scene, scene, model=tiny_model, overwrite=True, force=True)
        assert scene.read_bytes() == before

    def test_two_outputs_of_one_name(self, scene, tiny_model, tmp_path):
        with pytest.raises(OutputError, match="another name"):
            geoseg.predict(scene, tmp_path / "a.tif", confidence=tmp_path / "a.tif", model=tiny_model)
        with pytest.raises(OutputError, match=r"a\.qml"):
            geoseg.predict(scene, tmp_path / "a.tif", confidence=tmp_path / "a.tiff", model=tiny_model)

    @pytest.mark.parametrize(("place", "words"), [((0, 0, 1, 1), "outside"), ((-99, 50, -98, 51), "outside")])
    def test_an_area_elsewhere(self, place, words, scene, tiny_model, tmp_path):
        geopandas.GeoDataFrame(geometry=[box(*place)], crs="EPSG:4326").to_file(tmp_path / "far.gpkg")
        with pytest.raises(InputError, match=words):
            geoseg.predict(
                scene, tmp_path / "map.tif", model=tiny_model, aoi=tmp_path / "far.gpkg", force=True
            )

    def test_a_scene_that_does_not_fit_unless_forced(self, tiny_model, tmp_path):
        bright = make_scene(tmp_path / "bright.tif", holes=False)
        with rasterio.open(bright, "r+") as raster:
            raster.scales = (1.0, 1.0)
        with pytest.raises(MismatchError, match=r"--scale"):
            geoseg.predict(bright, tmp_path / "map.tif", model=tiny_model)
        result = geoseg.predict(bright, tmp_path / "map.tif", model=tiny_model, force=True)
        assert result.report["warnings"]
