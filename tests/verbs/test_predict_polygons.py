"""``geoseg.predict``: polygons, rasters and the report agree."""

from __future__ import annotations

import numpy as np
import pytest
from geopandas.testing import assert_geodataframe_equal

import geoseg
from tests.verbs.predictions import pixels, read


class TestMapsAndPolygonsAgree:
    def test_polygons_are_those_of_polygonize_on_the_rasters(self, reference, tmp_path):
        again = tmp_path / "again.gpkg"
        geoseg.polygonize(
            reference.outputs["classes"],
            again,
            confidence=reference.outputs["confidence"],
            probabilities=reference.outputs["probabilities"],
        )
        ours, theirs = read(reference.outputs["polygons"]), read(again)
        assert_geodataframe_equal(ours, theirs)

    def test_polygons_alone_have_confidence_and_runner_up(self, scene, tiny_model, tmp_path):
        geoseg.predict(
            scene, tmp_path / "map.tif", model=tiny_model, polygons=tmp_path / "only.fgb", force=True
        )
        fields = read(tmp_path / "only.fgb")
        assert fields["confidence"].notna().all()
        assert fields["runner_up"].notna().any()
        assert not (tmp_path / "conf.tif").exists()

    def test_class_areas_of_the_report_are_the_polygons(self, reference):
        fields = read(reference.outputs["polygons"])
        for row in reference.report["classes"]:
            mine = fields[fields["class_id"] == row["id"]]
            assert mine["pixel_count"].sum() == row["pixels"]
            assert mine["area_ha"].sum() == pytest.approx(row["area_ha"], rel=1e-9)

    def test_confidence_is_of_the_class_shown(self, reference):
        classes, sure, shares = (
            pixels(reference.outputs[name]) for name in ("classes", "confidence", "probabilities")
        )
        valid = classes[0] != 255
        index = np.searchsorted([2, 5, 7], classes[0][valid])
        shown = np.take_along_axis(shares[:, valid], index[None], 0)[0] / 250
        assert np.abs(shown - sure[0][valid] / 100).max() <= 0.5 / 250 + 0.5 / 100
        assert np.all(shares[:, valid].max(0) == np.take_along_axis(shares[:, valid], index[None], 0)[0])
