"""``resume``: a run that was cut short ends with the same bytes, and computes no finished block again."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import rasterio

import geoseg
from geoseg.errors import Interrupted, OutputError, RunError, SettingsError
from geoseg.polygons.writers.provenance import read_provenance
from geoseg.run import mapping
from geoseg.run.work_folder import open_work_folder
from tests.conftest import make_scene, save_tiny

BLOCKS = {"block_size": 50}
WORK = "map.tif.geoseg-work"


class CutError(Exception):
    """What ends runs in these tests."""


def predict(scene, model, folder, **options):
    folder.mkdir(exist_ok=True)
    options = {"confidence": folder / "sure.tif", "report": folder / "run.json", "force": True} | options
    return geoseg.predict(scene, folder / "map.tif", model=model, **options)


def rasters(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.tif")}


@pytest.fixture
def cut(monkeypatch):
    """Make runs fail after so many blocks."""

    def after(blocks, error=CutError):
        run_locally = mapping.run_locally

        def short(*args):
            for number, block in enumerate(run_locally(*args)):
                if number == blocks:
                    raise error
                yield block

        monkeypatch.setattr(mapping, "run_locally", short)

    yield after
    monkeypatch.undo()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_model):
    """A scene and what an uninterrupted run makes of it."""
    folder = tmp_path_factory.mktemp("whole")
    scene = make_scene(folder / "scene.tif")
    return scene, predict(scene, tiny_model, folder / "out", block_size=100)


def cut_short(scene, model, folder, cut, monkeypatch, blocks, **options):
    with monkeypatch.context():
        cut(blocks)
        with pytest.raises(CutError):
            predict(scene, model, folder, **(BLOCKS | options))
        monkeypatch.undo()


@pytest.mark.parametrize("blocks", [1, 3, 4, 8])
def test_the_same_bytes_and_no_block_twice(whole, tiny_model, tmp_path, cut, monkeypatch, blocks):
    scene, reference = whole
    cut_short(scene, tiny_model, tmp_path, cut, monkeypatch, blocks)
    assert [path.name for path in tmp_path.iterdir()] == [WORK]
    result = predict(scene, tiny_model, tmp_path, resume=True)
    assert rasters(tmp_path) == rasters(reference.outputs["classes"].parent)
    report = result.report
    assert report["blocks"] == 9
    assert blocks <= report["blocks_resumed"] <= blocks + 1, "the one that was cut off may have been finished"
    assert report["chips"] == reference.report["chips"]
    assert report["chips_resumed"] == report["blocks_resumed"], "every block of this scene has one chip"
    assert report["classes"] == reference.report["classes"]
    assert not (tmp_path / WORK).exists()


def test_only_unfinished_blocks_reach_the_network(whole, tiny_model, tmp_path, cut, monkeypatch):
    scene, reference = whole
    cut_short(scene, tiny_model, tmp_path, cut, monkeypatch, 5)
    from geoseg.inference.blend import BlockSum

    forwards, forward = [], BlockSum.forward

    def count(self, pixels, chips):
        forwards.extend(chips)
        return forward(self, pixels, chips)

    monkeypatch.setattr(BlockSum, "forward", count)
    report = predict(scene, tiny_model, tmp_path, resume=True).report
    assert len(forwards) == report["chips"] - report["chips_resumed"] < reference.report["chips"] / 2


def test_a_run_cut_short_twice(whole, tiny_model, tmp_path, cut, monkeypatch):
    scene, reference = whole
    cut_short(scene, tiny_model, tmp_path, cut, monkeypatch, 2)
    cut_short(scene, tiny_model, tmp_path, cut, monkeypatch, 6, resume=True)
    assert predict(scene, tiny_model, tmp_path, resume=True).report["blocks_resumed"] >= 6
    assert rasters(tmp_path) == rasters(reference.outputs["classes"].parent)


def test_polygons_and_refined_maps_too(whole, tiny_model, tmp_path, cut, monkeypatch):
    scene, _ = whole
    more = {"sieve": "5px", "smooth": 3}
    reference = predict(
        scene, tiny_model, tmp_path / "a", polygons=tmp_path / "a" / "f.fgb", block_size=100, **more
    )
    (tmp_path / "b").mkdir()
    more["polygons"] = tmp_path / "b" / "f.fgb"
    cut_short(scene, tiny_model, tmp_path / "b", cut, monkeypatch, 4, **more)
    result = predict(scene, tiny_model, tmp_path / "b", resume=True, **more)
    assert rasters(tmp_path / "a") == rasters(tmp_path / "b")
    assert (tmp_path / "a" / "f.fgb").read_bytes() == (tmp_path / "b" / "f.fgb").read_bytes()
    assert result.report["classes"] == reference.report["classes"]


class TestDamage:
    @pytest.fixture
    def begun(self, whole, tiny_model, tmp_path, cut, monkeypatch):
        cut_short(whole[0], tiny_model, tmp_path, cut, monkeypatch, 5)
        return tmp_path / WORK

    def damage(self, path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)

    def test_damaged_and_torn_blocks_are_computed_again(self, whole, tiny_model, tmp_path, begun):
        scene, reference = whole
        self.damage(begun / "blocks" / "r0c1.block")
        torn = begun / "blocks" / "r1c0.block"
        torn.write_bytes(torn.read_bytes()[:100])
        report = predict(scene, tiny_model, tmp_path, resume=True).report
        assert rasters(tmp_path) == rasters(reference.outputs["classes"].parent)
        assert 3 <= report["blocks_resumed"] <= 4
        assert report["classes"] == reference.report["classes"]

    def test_lost_margins_are_computed_again(self, whole, tiny_model, tmp_path, begun):
        scene, reference = whole
        margins = sorted((begun / "margins").iterdir())
        assert margins, "unfinished blocks have margins to come"
        self.damage(margins[0])
        for path in margins[1:]:
            path.unlink()
        report = predict(scene, tiny_model, tmp_path, resume=True).report
        assert rasters(tmp_path) == rasters(reference.outputs["classes"].parent)
        assert report["blocks_resumed"] >= 5

    def test_margins_are_removed_when_they_are_taken(self, begun):
        finished = {path.stem for path in (begun / "blocks").iterdir()}
        takers = {path.name.split("-of-")[0] for path in (begun / "margins").iterdir()}
        assert len(finished) >= 5
        assert takers
        assert not takers & finished

    def test_what_a_killed_process_left_half_written_goes(self, whole, tiny_model, tmp_path, begun):
        for path in (begun / "blocks" / ".r2c2.block.1f.part", tmp_path / ".map.tif.99999999.part"):
            path.write_bytes(b"half")
        foreign = tmp_path / ".other.tif.99999999.part"
        foreign.write_bytes(b"not ours")
        predict(whole[0], tiny_model, tmp_path, resume=True)
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == [foreign.name]


class TestRefusals:
    @pytest.fixture
    def begun(self, whole, tiny_model, tmp_path, cut, monkeypatch):
        cut_short(whole[0], tiny_model, tmp_path, cut, monkeypatch, 3)
        return tmp_path

    def test_unfinished_work_is_announced(self, whole, tiny_model, begun):
        with pytest.raises(OutputError, match=r"unfinished work.*--resume goes on.*--overwrite"):
            predict(whole[0], tiny_model, begun)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"tta": "flips"}, "--tta was none, now flips"),
            ({"overlap": 8}, "--overlap was 16, now 8"),
            ({"block_size": 70}, "--block-size was 50, now 70"),
            ({"date": "2021-07-05"}, "--date was none, now 2021-07-05"),
            ({"confidence": None}, "maps was classes, confidence, now classes"),
            ({"scale": 0.0002}, "scene header was"),
        ],
    )
    def test_other_settings_are_refused_by_name(self, whole, tiny_model, begun, options, words):
        before = sorted(path.name for path in (begun / WORK / "blocks").iterdir())
        with pytest.raises(OutputError, match=words):
            predict(whole[0], tiny_model, begun, resume=True, **options)
        assert sorted(path.name for path in (begun / WORK / "blocks").iterdir()) == before
        predict(whole[0], tiny_model, begun, resume=True)

    def test_another_model_is_refused(self, whole, begun, tmp_path):
        other = save_tiny(tmp_path / "other", seed=1)
        with pytest.raises(OutputError, match=r"model was tiny .* now tiny"):
            predict(whole[0], other, begun, resume=True)

    def test_another_scene_is_refused(self, whole, tiny_model, begun, tmp_path):
        copy = shutil.copy(whole[0], tmp_path / "scene.tif")
        with rasterio.open(copy, "r+") as raster:
            values = raster.read()
            values[:, 100, 100] += 1
            raster.write(values)
        with pytest.raises(OutputError, match=r"scene files was .*scene pixels was"):
            predict(copy, tiny_model, begun, resume=True)

    def test_resume_and_overwrite_contradict_each_other(self, whole, tiny_model, begun):
        with pytest.raises(SettingsError, match="one of them"):
            predict(whole[0], tiny_model, begun, resume=True, overwrite=True)

    def test_overwrite_begins_anew(self, whole, tiny_model, begun):
        report = predict(whole[0], tiny_model, begun, overwrite=True).report
        assert report["blocks_resumed"] == report["chips_resumed"] == 0
        assert not (begun / WORK).exists()

    def test_work_of_a_running_process_is_not_touched(self, whole, tiny_model, tmp_path):
        with open_work_folder(tmp_path / WORK, {"a": "b"}, resume=False, overwrite=False):
            for flag in ("resume", "overwrite"):
                with pytest.raises(OutputError, match="another run is writing there"):
                    predict(whole[0], tiny_model, tmp_path, **{flag: True})

    def test_files_that_were_not_there_before_are_not_replaced(self, whole, tiny_model, begun):
        (begun / "sure.tif").write_bytes(b"somebody else's")
        with pytest.raises(OutputError, match=r"sure\.tif exists"):
            predict(whole[0], tiny_model, begun, resume=True)
        (begun / "sure.tif").unlink()
        assert predict(whole[0], tiny_model, begun, resume=True).report["blocks_resumed"] >= 3


class TestNothingToResume:
    def test_a_run_begins(self, whole, tiny_model, tmp_path):
        assert predict(whole[0], tiny_model, tmp_path, resume=True).report["blocks_resumed"] == 0

    def test_a_finished_run_is_left_alone(self, whole, tiny_model, tmp_path):
        first = predict(whole[0], tiny_model, tmp_path)
        times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        again = predict(whole[0], tiny_model, tmp_path, resume=True, block_size=64)
        assert again.outputs == first.outputs
        assert again.report == json.loads(json.dumps(first.report))
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"tta": "flips"}, "GEOSEG_TTA is none, not flips"),
            ({"scale": 0.0002}, "of another scene or area"),
            ({"probabilities": "prob.tif"}, r"prob\.tif is missing"),
        ],
    )
    def test_a_finished_run_of_another_kind_is_refused(self, whole, tiny_model, tmp_path, options, words):
        predict(whole[0], tiny_model, tmp_path)
        if "probabilities" in options:
            options = {"probabilities": tmp_path / "prob.tif"}
        with pytest.raises(OutputError, match=rf"{words}.*--overwrite"):
            predict(whole[0], tiny_model, tmp_path, resume=True, **options)

    @pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".pmtiles"])
    @pytest.mark.parametrize("sieve", [None, "5px"])
    def test_finished_polygons_are_left_alone(self, whole, tiny_model, tmp_path, suffix, sieve):
        options = {
            "polygons": tmp_path / f"f{suffix}",
            "simplify": "20m",
            "date": "2021-07-05",
            "sieve": sieve,
        }
        first = predict(whole[0], tiny_model, tmp_path, **options)
        said = first.report["provenance"]
        assert read_provenance(options["polygons"]) == said
        assert said["GEOSEG_SIMPLIFY"] == "20m"
        assert said["ACQUISITION_DATE"] == "2021-07-05"
        times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        again = predict(whole[0], tiny_model, tmp_path, resume=True, block_size=64, **options)
        assert again.report == json.loads(json.dumps(first.report))
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times

    @pytest.mark.parametrize(
        ("before", "now", "words"),
        [
            ({}, {"simplify": "20m"}, "GEOSEG_SIMPLIFY is none, not 20m"),
            ({"simplify": "10m"}, {"simplify": "20m"}, "GEOSEG_SIMPLIFY is 10m, not 20m"),
            ({"simplify": "2px"}, {}, "GEOSEG_SIMPLIFY is 2px, not none"),
            ({"smooth_borders": 1}, {"smooth_borders": 2}, "GEOSEG_SMOOTH_BORDERS is 1, not 2"),
            ({}, {"stats": ["1"]}, "GEOSEG_STATS is none, not band1_mean"),
            ({"stats": ["1"]}, {"stats": ["1:max"]}, "GEOSEG_STATS is band1_mean, not band1_max"),
            ({}, {"date": "2021-07-05"}, "ACQUISITION_DATE is none, not 2021-07-05"),
            ({"sieve": "5px"}, {}, r"GEOSEG_REFINE is .*, not none"),
        ],
    )
    def test_polygons_of_another_kind_are_refused(self, whole, tiny_model, tmp_path, before, now, words):
        fields = tmp_path / "f.fgb"
        predict(whole[0], tiny_model, tmp_path, polygons=fields, report=None, **before)
        kept = fields.read_bytes()
        with pytest.raises(OutputError, match=rf"f\.fgb: .*{words}.*--overwrite") as caught:
            predict(whole[0], tiny_model, tmp_path, polygons=fields, report=None, resume=True, **now)
        assert "\n" not in str(caught.value)
        assert fields.read_bytes() == kept

    def test_a_report_of_another_run_is_refused(self, whole, tiny_model, tmp_path):
        fields, other = tmp_path / "f.fgb", tmp_path / "g.fgb"
        predict(whole[0], tiny_model, tmp_path, polygons=fields)
        report = json.loads((tmp_path / "run.json").read_text())
        shutil.copy(fields, other)
        with pytest.raises(OutputError, match=r"run\.json: tells of .*f\.fgb.*, not of .*g\.fgb"):
            predict(whole[0], tiny_model, tmp_path, polygons=other, resume=True)
        for said, words in [
            ([], "is not a report"),
            ({"outputs": report["outputs"]}, "does not say what made it"),
            (report | {"provenance": report["provenance"] | {"GEOSEG_SIMPLIFY": "9m"}}, "is 9m, not none"),
        ]:
            (tmp_path / "run.json").write_text(json.dumps(said))
            with pytest.raises(OutputError, match=rf"run\.json.*{words}.*--overwrite"):
                predict(whole[0], tiny_model, tmp_path, polygons=fields, resume=True)

    def test_other_polygons_in_their_place_are_refused(self, whole, tiny_model, tmp_path):
        """What ``polygonize`` makes of the rasters passes for this run's, unless it makes less of them."""
        fields = tmp_path / "f.parquet"
        options = {"polygons": fields, "probabilities": tmp_path / "all.tif", "report": None}
        predict(whole[0], tiny_model, tmp_path, **options)
        rasters = {"confidence": tmp_path / "sure.tif", "probabilities": tmp_path / "all.tif"}
        for change, words in [
            ({"min_area": "5px"}, "GEOSEG_MIN_AREA is 5px, not none"),
            ({"min_area": "0.5ha"}, "GEOSEG_MIN_AREA is 0.5ha, not none"),
            ({"classes": [2, 1]}, "GEOSEG_CLASSES is 1, 2, not none"),
            ({"fiboa": True}, "GEOSEG_FIBOA is yes, not none"),
            ({"date": "2021-07-05"}, "ACQUISITION_DATE is 2021-07-05, not none"),
            ({"probabilities": None}, "GEOSEG_WITHOUT is probabilities, not none"),
        ]:
            geoseg.polygonize(tmp_path / "map.tif", fields, overwrite=True, **(rasters | change))
            with pytest.raises(OutputError, match=words):
                predict(whole[0], tiny_model, tmp_path, resume=True, **options)
        geoseg.polygonize(tmp_path / "map.tif", fields, overwrite=True, **rasters)
        predict(whole[0], tiny_model, tmp_path, resume=True, **options)
        fields.write_bytes(b"nothing of the kind")
        with pytest.raises(OutputError, match=r"f\.parquet cannot be read.*--overwrite"):
            predict(whole[0], tiny_model, tmp_path, resume=True, **options)

    def test_a_format_without_metadata_cannot_tell(self, whole, tiny_model, tmp_path):
        options = {"polygons": tmp_path / "f.geojsonl"}
        predict(whole[0], tiny_model, tmp_path, **options)
        with pytest.raises(OutputError, match=r"f\.geojsonl: .*nobody can tell.*--overwrite"):
            predict(whole[0], tiny_model, tmp_path, resume=True, **options)
        predict(whole[0], tiny_model, tmp_path, overwrite=True, **options)

    def test_a_folder_without_a_fingerprint_holds_nothing(self, whole, tiny_model, tmp_path):
        (tmp_path / WORK).mkdir()
        assert predict(whole[0], tiny_model, tmp_path, resume=True).report["blocks_resumed"] == 0


class TestInterrupted:
    def test_says_what_is_kept(self, whole, tiny_model, tmp_path, cut):
        cut(2, KeyboardInterrupt)
        with pytest.raises(Interrupted, match=r"[23] of 9 blocks are kept in .*--resume"):
            predict(whole[0], tiny_model, tmp_path, **BLOCKS)

    def test_an_unreadable_scene_keeps_what_is_finished(self, tiny_model, tmp_path, monkeypatch):
        scene = make_scene(tmp_path / "scene.tif", holes=False)
        from geoseg.scene import Scene

        read = Scene.read

        def fail_below(self, window):
            if window.row >= 90:
                raise RunError("damaged")
            return read(self, window)

        monkeypatch.setattr(Scene, "read", fail_below)
        with pytest.raises(RunError, match=r"^damaged; .*--resume"):
            predict(scene, tiny_model, tmp_path, **BLOCKS)
        monkeypatch.undo()
        assert predict(scene, tiny_model, tmp_path, resume=True).report["blocks_resumed"] >= 3

    def test_a_full_disk_is_one_clear_line(self, whole, tiny_model, tmp_path, monkeypatch):
        from geoseg.run import work_file

        write, calls = work_file._write, []

        def full(path, pieces):
            calls.append(path)
            if len(calls) > 12:
                raise OSError(28, "No space left on device")
            write(path, pieces)

        monkeypatch.setattr(work_file, "_write", full)
        with pytest.raises(RunError, match=r"the disk is full; make room, then --resume goes on") as caught:
            predict(whole[0], tiny_model, tmp_path, **BLOCKS)
        assert "\n" not in str(caught.value)
        monkeypatch.undo()
        result = predict(whole[0], tiny_model, tmp_path, resume=True)
        assert result.report["blocks_resumed"] > 0
        assert rasters(tmp_path) == rasters(whole[1].outputs["classes"].parent)


def test_an_area_of_interest_can_be_resumed(whole, tiny_model, tmp_path, cut, monkeypatch):
    import geopandas
    from shapely.geometry import box

    aoi = tmp_path / "aoi.gpkg"
    geopandas.GeoDataFrame(geometry=[box(500303, 5198700, 501207, 5199747)], crs="EPSG:32614").to_file(aoi)
    scene = whole[0]
    predict(scene, tiny_model, tmp_path / "a", aoi=aoi)
    cut_short(scene, tiny_model, tmp_path / "b", cut, monkeypatch, 4, aoi=aoi)
    predict(scene, tiny_model, tmp_path / "b", resume=True, aoi=aoi)
    assert rasters(tmp_path / "a") == rasters(tmp_path / "b")
    smaller = tmp_path / "smaller.gpkg"
    geopandas.GeoDataFrame(geometry=[box(500303, 5198700, 501107, 5199747)], crs="EPSG:32614").to_file(
        smaller
    )
    with pytest.raises(OutputError, match="another scene or area"):
        predict(scene, tiny_model, tmp_path / "b", resume=True, aoi=smaller)
    with rasterio.open(tmp_path / "a" / "map.tif") as raster:
        assert len(np.unique(raster.read())) > 2
