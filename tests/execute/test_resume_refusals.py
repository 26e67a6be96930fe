"""``resume`` refuses what is not the same run, by name."""

from __future__ import annotations

import shutil

import pytest
import rasterio

from geoseg.errors import OutputError, SettingsError
from geoseg.execute.work_folder import open_work_folder
from tests.conftest import save_tiny
from tests.execute.cut_runs import WORK, cut_short, predict


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
        with pytest.raises(OutputError, match=r"file scene.tif was .*scene pixels was"):
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
