"""``geoseg.predict --stats``: statistics of the scene over the pixels of its polygons."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
from geopandas.testing import assert_geodataframe_equal

import geoseg
from geoseg.errors import SceneError, SettingsError
from geoseg.scene import open_scene


def read(path):
    return geopandas.read_file(path, layer="polygons")


def test_columns_are_those_of_polygonize(scene, tiny_model, tmp_path):
    rasters = {"confidence": tmp_path / "sure.tif", "probabilities": tmp_path / "prob.tif"}
    band = open_scene(scene).bands[0]
    stats = [f"{band.number}:mean", f"{band.number}:count"]
    fields = tmp_path / "fields.gpkg"
    result = geoseg.predict(
        scene, tmp_path / "map.tif", model=tiny_model, force=True, polygons=fields, stats=stats, **rasters
    )
    names = [f"band{band.number}_mean", f"band{band.number}_count"]
    assert result.report["settings"]["stats"] == names
    again = geoseg.polygonize(
        tmp_path / "map.tif", tmp_path / "again.gpkg", stats=stats, stats_from=scene, **rasters
    )
    found = read(fields)
    assert_geodataframe_equal(found, read(again.output))
    values = open_scene(scene).read(geoseg.grid.Window.from_shape(open_scene(scene).shape))[0][0]
    assert found[names[1]].sum() <= found["pixel_count"].sum()
    weighted = (found[names[0]] * found[names[1]]).sum() / found[names[1]].sum()
    assert np.nanmin(values) <= weighted <= np.nanmax(values)


def test_stats_without_polygons_are_refused(scene, tiny_model, tmp_path):
    with pytest.raises(SettingsError, match="give --polygons"):
        geoseg.predict(scene, tmp_path / "map.tif", model=tiny_model, force=True, stats=["1"])


def test_an_unknown_band_is_refused_before_the_work(scene, tiny_model, tmp_path):
    options = {"model": tiny_model, "force": True, "polygons": tmp_path / "a.gpkg", "stats": ["thermal"]}
    with pytest.raises(SceneError, match="neither a band nor an index"):
        geoseg.predict(scene, tmp_path / "map.tif", **options)
    assert not list(tmp_path.glob("map*"))
