"""Polygons lie where the map lies, whatever its CRS and the format."""

from __future__ import annotations

import geopandas
import numpy as np
import pyproj
import pytest
from affine import Affine

from geoseg.errors import OutputError
from geoseg.polygons.writers import crs as module
from geoseg.polygons.writers.writing import check_target, write_polygons
from tests.polygons.conftest import write_raster
from tests.polygons.helpers import trace_files

FOOT = 1200 / 3937
ROTATED = "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +datum=WGS84"
PLACES = {
    "UTM in US survey feet": ("+proj=utm +zone=14 +datum=WGS84 +units=us-ft", 5e5 / FOOT, 5.2e6 / FOOT, 30),
    "UTM of NAD 83 in feet": ("+proj=utm +zone=14 +datum=NAD83 +units=ft", 5e5 / 0.3048, 5.2e6 / 0.3048, 30),
    "UTM south in kilometres": ("+proj=utm +zone=14 +south +datum=WGS84 +units=km", 500, 6200, 0.03),
    "feet of a state": ("EPSG:2263", 990_000, 200_000, 10),
    "Lambert in kilometres": ("+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84 +units=km", 30, 40, 0.01),
    "a rotated pole": (ROTATED, 3.0, -2.0, 0.01),
    "grads from Paris": ("EPSG:4807", 2.0, 52.0, 0.01),
    "an ellipsoid without a name": ("+proj=longlat +a=6377000 +rf=300 +no_defs", 7.0, 50.0, 0.01),
    "a height beside": ("EPSG:32614+5703", 500_000, 5_200_000, 30),
    "three dimensions": ("EPSG:4979", 7.0, 50.0, 0.01),
    "Mars": ("+proj=longlat +R=3396190 +no_defs", 137.0, -5.0, 0.01),
    "the Moon's south pole": ("+proj=stere +lat_0=-90 +R=1737400 +units=m", 1000, 2000, 10),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
def test_a_file_gives_back_where_its_polygons_lie(tmp_path, place, suffix):
    crs, x, y, step = PLACES[place]
    table = _table(tmp_path, crs, Affine(step, 0, x, 0, -step, y))
    path = tmp_path / f"out{suffix}"
    check_target(path, table.crs)
    write_polygons(table, path)
    read = geopandas.read_parquet if suffix == ".parquet" else geopandas.read_file
    found = read(path) if suffix == ".parquet" else read(path, layer="polygons")
    left, _, _, top = found.total_bounds
    assert (left, top) == (x, y)
    assert _on_globe(found.crs, left, top) == pytest.approx(_on_globe(pyproj.CRS(crs), x, y), abs=1e-9)


@pytest.mark.parametrize("crs", ['LOCAL_CS["site",UNIT["foot",0.3048]]', None])
@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
def test_a_local_grid_keeps_its_unit_and_no_crs_stays_none(tmp_path, crs, suffix):
    write_polygons(_table(tmp_path, crs, Affine(1, 0, 100, 0, -1, 200)), tmp_path / f"out{suffix}")
    read = geopandas.read_parquet if suffix == ".parquet" else geopandas.read_file
    layer = {} if suffix == ".parquet" else {"layer": "polygons"}
    found = read(tmp_path / f"out{suffix}", **layer).crs
    assert crs is None or found.axis_info[0].unit_conversion_factor == 0.3048
    if crs is None:
        assert found is None or found.is_engineering or "ndefined" in found.name


def test_a_map_without_a_transform_has_no_crs_and_no_areas(tmp_path):
    table = _table(tmp_path, "EPSG:32614", None)
    assert table.crs is None
    assert table.areas_ha() is None
    assert table.polygons.bounds() == (0, -2, 2, 0)


def test_a_crs_that_does_not_come_back_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_given_back", lambda _wkt, _driver: "EPSG:32614")
    with pytest.raises(OutputError, match=r"out.fgb: the map has the CRS .* UTM zone 14N'; write .parquet"):
        check_target(tmp_path / "out.fgb", "+proj=utm +zone=14 +datum=WGS84 +units=us-ft +no_defs")


def _table(folder, crs, transform):
    ids = np.array([[1, 1], [1, 2]], np.uint8)
    return trace_files(write_raster(folder / "a.tif", ids, crs=crs, transform=transform))


def _on_globe(crs, x, y):
    base = crs.geodetic_crs
    base = base.source_crs if base.is_derived else base
    to_base = pyproj.Transformer.from_crs(crs.to_2d(), base.to_2d(), always_xy=True)
    return (*to_base.transform(x, y), base.ellipsoid.semi_major_metre)
