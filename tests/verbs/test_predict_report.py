"""``geoseg.predict``: what the report and the tags of the outputs say."""

from __future__ import annotations

import json

import geopandas
import pytest
import rasterio
import rasterio.shutil
import shapely

import geoseg
from tests.verbs.predictions import pixels, read, run


class TestReport:
    def test_holds_what_the_contract_says(self, scene, tiny_model, tmp_path):
        result = run(scene, tiny_model, tmp_path / "a", report=tmp_path / "run.json")
        report = json.loads((tmp_path / "run.json").read_text())
        assert report == json.loads(json.dumps(result.report))
        for key in [
            "report_version",
            "scene",
            "model",
            "outputs",
            "settings",
            "shape",
            "pixels_valid",
            "chips",
            "chips_skipped",
            "blocks",
            "blocks_resumed",
            "seconds",
            "megapixels_per_second",
            "peak_memory_bytes",
            "classes",
            "warnings",
            "versions",
        ]:
            assert key in report, key
        assert {"chip_size", "overlap", "batch_size", "backend", "precision", "device", "tta"} <= set(
            report["settings"]
        )
        assert {"total", "read", "forward", "stitch", "write", "polygons"} <= set(report["seconds"])
        assert report["shape"] == [150, 130]
        assert sum(row["pixels"] for row in report["classes"]) == report["pixels_valid"]
        assert report["scene"]["date"] == "2021-07-05"

    def test_class_rows_count_every_block(self, reference, scene, tiny_model, tmp_path):
        rows = reference.report["classes"]
        assert run(scene, tiny_model, tmp_path / "b", block_size=50).report["classes"] == rows
        classes, sure = (pixels(reference.outputs[name]) for name in ("classes", "confidence"))
        for row in rows:
            mine = classes == row["id"]
            assert row["pixels"] == mine.sum()
            assert type(row["mean_confidence"]) is float  # numpy's own shows as np.float64(...)
            assert row["mean_confidence"] == pytest.approx(sure[mine].mean() / 100)

    def test_the_date_reaches_the_map_and_every_polygon(self, reference):
        with rasterio.open(reference.outputs["classes"]) as raster:
            assert raster.tags()["ACQUISITION_DATE"] == "2021-07-05"
        dates = read(reference.outputs["polygons"])["date"]
        assert {str(date)[:10] for date in dates} == {"2021-07-05"}

    def test_tags_hold_what_changes_the_answer_and_no_paths(self, reference, tiny_model):
        with rasterio.open(reference.outputs["classes"]) as raster:
            tags = raster.tags()
        assert tags["GEOSEG_CHIP_SIZE"] == "64"
        assert tags["GEOSEG_MODEL_HASH"] == geoseg.load_model(tiny_model).hash
        folder = str(reference.outputs["classes"].parents[1])
        assert not any(folder in value for value in tags.values())

    def test_what_was_taken_for_granted_is_among_the_warnings(self, scene, tiny_model, tmp_path):
        polygon = shapely.box(500100, 5199000, 500604, 5199801)
        for crs in ("EPSG:32614", None):
            geopandas.GeoDataFrame(geometry=[polygon], crs=crs).to_parquet(tmp_path / "aoi.parquet")
            report = run(
                scene, tiny_model, tmp_path / "a", aoi=tmp_path / "aoi.parquet", overwrite=True
            ).report
            assert any("aoi.parquet has no CRS" in line for line in report["warnings"]) == (crs is None)
