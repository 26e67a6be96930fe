"""``geoseg.predict --polygons`` with simpler borders."""

from __future__ import annotations

import geopandas
import pytest
from geopandas.testing import assert_geodataframe_equal

import geoseg
from geoseg.errors import OutputError, SettingsError
from tests.conftest import make_scene


def read(path):
    return geopandas.read_file(path, layer="polygons")


@pytest.mark.parametrize("borders", [{"simplify": "20m"}, {"simplify": "2px", "smooth_borders": 1}])
def test_polygons_are_those_of_polygonize_on_the_rasters(scene, tiny_model, tmp_path, borders):
    rasters = {"confidence": tmp_path / "sure.tif", "probabilities": tmp_path / "prob.tif"}
    output, fields = tmp_path / "map.tif", tmp_path / "fields.gpkg"
    plain = geoseg.predict(scene, tmp_path / "plain.tif", model=tiny_model, force=True)
    result = geoseg.predict(
        scene, output, model=tiny_model, force=True, polygons=fields, **rasters, **borders
    )
    again = geoseg.polygonize(output, tmp_path / "again.gpkg", **rasters, **borders)
    assert_geodataframe_equal(read(fields), read(again.output))
    assert result.report["borders"] == again.report["borders"]
    assert result.report["settings"]["simplify"] == borders["simplify"]
    assert result.report["settings"]["smooth_borders"] == borders.get("smooth_borders", 0)
    # The class map is not touched by what is done to polygons.
    assert output.read_bytes() == plain.outputs["classes"].read_bytes()


@pytest.mark.parametrize("borders", [{"simplify": "20m"}, {"smooth_borders": 2}])
def test_borders_without_polygons_are_refused(scene, tiny_model, tmp_path, borders):
    with pytest.raises(SettingsError, match="--polygons"):
        geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True, **borders)
    assert not list(tmp_path.glob("map*"))


@pytest.mark.parametrize("name", ["fields.geojsonl", "fields.pmtiles"])
def test_formats_of_the_earth_are_refused_before_the_work(name, tiny_model, tmp_path):
    scene = make_scene(tmp_path / "nowhere.tif", crs=None, transform=None)
    with pytest.raises(OutputError, match=rf"{name}: .* ties it to the Earth"):
        geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, polygons=tmp_path / name, force=True)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["nowhere.tif"]


def test_metres_without_a_crs_are_refused_before_the_work(tiny_model, tmp_path):
    scene = make_scene(tmp_path / "nowhere.tif", crs=None, transform=None)
    options = {"model": tiny_model, "force": True, "polygons": tmp_path / "fields.gpkg", "dry_run": True}
    with pytest.raises(SettingsError, match="2px"):
        geoseg.predict(scene, tmp_path / "map.tif", simplify="20m", **options)
    geoseg.predict(scene, tmp_path / "map.tif", simplify="2px", **options)
    geoseg.predict(scene, tmp_path / "map.tif", smooth_borders=1, **options)
