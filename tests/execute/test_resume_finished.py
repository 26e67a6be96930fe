"""``resume`` where nothing is left to do: outputs are left alone, or refused where they are not this run's."""

from __future__ import annotations

import json
import shutil

import pytest

import geoseg
from geoseg.errors import OutputError
from geoseg.polygons.writers.read_provenance import read_provenance
from tests.execute.cut_runs import WORK, predict


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
            ({"scale": 0.0002}, "GEOSEG_SCALE is 0.0001, not 0.0002"),
            ({"nodata": 7}, "of another scene or area"),
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
