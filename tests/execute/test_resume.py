"""``resume``: a run that was cut short ends with the same bytes, and computes no finished block again."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from geoseg.errors import Interrupted, OutputError, RunError
from tests.conftest import make_scene
from tests.execute.cut_runs import BLOCKS, WORK, CutError, cut_short, predict, rasters


def test_no_map_is_begun_before_a_block_is_finished(whole, tiny_model, tmp_path, monkeypatch):
    from geoseg.inference.sums import HostSums

    begun = []

    def fail(*_):
        begun.extend((tmp_path / WORK / "scratch").iterdir())
        raise CutError

    monkeypatch.setattr(HostSums, "infer", fail)
    with pytest.raises(CutError):
        predict(whole[0], tiny_model, tmp_path, polygons=tmp_path / "f.fgb")
    assert not begun
    assert not any(tmp_path.iterdir())


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
    from geoseg.inference.sums import HostSums

    concurrency, forward = [], HostSums.infer

    def count(self, pixels, chips):
        concurrency.extend(chips)
        return forward(self, pixels, chips)

    monkeypatch.setattr(HostSums, "infer", count)
    report = predict(scene, tiny_model, tmp_path, resume=True).report
    assert len(concurrency) == report["chips"] - report["chips_resumed"] < reference.report["chips"] / 2


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
        owners = {path.name.split("-of-")[0] for path in (begun / "margins").iterdir()}
        assert len(finished) >= 5
        assert owners
        assert not owners & finished

    def test_what_a_killed_process_left_half_written_goes(self, whole, tiny_model, tmp_path, begun):
        for path in (
            begun / "blocks" / ".r2c2.1.1f.part.block",
            tmp_path / ".map.99999999.1f.part.tif",
        ):
            path.write_bytes(b"half")
        foreign = tmp_path / ".other.99999999.1f.part.tif"
        foreign.write_bytes(b"not ours")
        predict(whole[0], tiny_model, tmp_path, resume=True)
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == [foreign.name]


class TestInterrupted:
    def test_says_what_is_kept(self, whole, tiny_model, tmp_path, cut):
        cut(2, KeyboardInterrupt)
        with pytest.raises(Interrupted, match=r"[23] of 9 blocks are kept in .*--resume"):
            predict(whole[0], tiny_model, tmp_path, **BLOCKS)

    def test_an_unreadable_scene_keeps_what_is_finished(self, tiny_model, tmp_path, monkeypatch):
        scene = make_scene(tmp_path / "scene.tif", holes=False)
        from geoseg.scene import Scene

        read = Scene.read_rows

        def fail_below(self, window):
            if window.row >= 90:
                raise RunError("damaged")
            return read(self, window)

        monkeypatch.setattr(Scene, "read_rows", fail_below)
        with pytest.raises(RunError, match=r"^damaged; .*--resume"):
            predict(scene, tiny_model, tmp_path, **BLOCKS)
        monkeypatch.undo()
        assert predict(scene, tiny_model, tmp_path, resume=True).report["blocks_resumed"] >= 3

    def test_a_full_disk_is_one_clear_line(self, whole, tiny_model, tmp_path, monkeypatch):
        write, calls = np.savez, []

        def full(file, **arrays):
            calls.append(file)
            if len(calls) > 12:
                raise OSError(28, "No space left on device")
            write(file, **arrays)

        monkeypatch.setattr(np, "savez", full)
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
