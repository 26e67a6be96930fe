"""Every odd scene becomes a map that lies where the scene lies, with a class for exactly its valid pixels.

Checked with rasterio, pyogrio and pyproj alone: nothing here uses geoseg's own geometry.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from rasterio.transform import Affine

import geoseg
from geoseg.errors import InputError
from geoseg.models.card import ModelBand
from tests.conftest import save_tiny
from tests.corpus.scenes import CASES

pytestmark = pytest.mark.longer

FORMATS = (".gpkg", ".fgb", ".parquet", ".geojsonl", ".geojsons")
NEAR = 1e-6


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Models of one and two bands that take any values."""
    folder = tmp_path_factory.mktemp("corpus models")
    bands = tuple(ModelBand(name, 50.0, 30.0, 0.0, 100.0) for name in ("red", "nir"))
    return {
        count: save_tiny(
            folder / str(count), bands=bands[:count], value_scale=1.0, units="digital numbers", gsd=None
        )
        for count in (1, 2)
    }


@pytest.mark.parametrize("name", CASES)
def test_an_odd_scene(name, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "in"
    place.mkdir()
    case = CASES[name](place)
    options = {"bands": [1], "force": True} | case.options
    out = tmp_path / "map.tif"

    def predict(**more):
        return geoseg.predict(
            case.paths, out, model=models[len(options["bands"])], overwrite=True, **options | more
        )

    if case.refused is not None:
        with pytest.raises(InputError, match=case.refused):
            predict()
        assert not out.exists()
        return
    predict()
    with (
        warnings.catch_warnings(action="ignore"),
        rasterio.open(case.paths[0]) as scene,
        rasterio.open(out) as made,
    ):
        assert made.shape == scene.shape == case.valid.shape
        classes = made.read(1)
        lies_alike(made, scene)
    assert np.array_equal(classes != 255, case.valid)
    if not case.polygons:
        return
    formats = FORMATS if case.on_earth else FORMATS[:3]
    # All formats where the CRS is what is odd, one elsewhere.
    odd = name in CASES and scene.crs != rasterio.CRS.from_epsg(32614)
    for suffix in formats if odd else (formats[len(name) % len(formats)],):
        path = tmp_path / f"out{suffix}"
        geoseg.polygonize(out, path)
        polygons_lie_alike(path, classes, scene)
    if not case.on_earth:
        with pytest.raises(InputError, match="Earth"):
            geoseg.polygonize(out, tmp_path / "out.geojsonl")


def lies_alike(made, scene):
    assert len(made.gcps[0]) == len(scene.gcps[0])
    for one, other in zip(made.gcps[0], scene.gcps[0], strict=True):
        assert (one.row, one.col, one.x, one.y) == (other.row, other.col, other.x, other.y)
    assert (made.rpcs and made.rpcs.to_dict()) == (scene.rpcs and scene.rpcs.to_dict())
    rows, cols = scene.shape
    for corner in ((0, 0), (cols, 0), (0, rows), (cols, rows)):
        x, y = scene.transform @ corner
        u, v = made.transform @ corner
        assert np.hypot(x - u, y - v) <= NEAR * max(abs(scene.transform.a), abs(scene.transform.b))
        if scene.transform.determinant:
            assert on_globe(made.crs, u, v) == pytest.approx(
                on_globe(scene.crs, x, y), abs=1e-10, nan_ok=True
            )


def on_globe(crs, x, y):
    """Longitude and latitude in degrees from the CRS's own meridian, that meridian, and the globe's size."""
    if not crs:
        return (x, y)
    crs = pyproj.CRS.from_user_input(crs).to_2d()
    base = crs.geodetic_crs
    if base is None:
        return (x, y, crs.axis_info[0].unit_conversion_factor)
    base = base.source_crs if base.is_derived else base
    to = pyproj.Transformer.from_crs(crs, base.to_2d(), always_xy=True)
    ellipsoid, meridian = base.ellipsoid, base.prime_meridian
    return (
        *to.transform(x, y),
        ellipsoid.semi_major_metre,
        ellipsoid.semi_minor_metre,
        meridian.longitude if meridian else 0,
    )


def polygons_lie_alike(path: Path, classes, scene):
    if path.suffix == ".parquet":
        found = geopandas.read_parquet(path)
    else:
        found = geopandas.read_file(path, **({"layer": "polygons"} if path.suffix == ".gpkg" else {}))
    ids, counts = np.unique(classes[classes != 255], return_counts=True)
    pixels = found.groupby("class_id").pixel_count.sum()
    assert dict(pixels) == dict(zip(ids, counts, strict=True))
    nowhere = scene.transform.is_identity
    place = Affine.scale(1, -1) if nowhere else scene.transform
    if path.suffix.startswith(".geojson"):
        on_wgs84(found, place, scene)
        return
    x, y = place @ (0, 0)
    if found.crs is None or "ndefined" in found.crs.name:
        assert nowhere or not scene.crs
    else:
        assert on_globe(found.crs, x, y) == pytest.approx(on_globe(scene.crs, x, y), abs=1e-10, nan_ok=True)
    to_pixels = ~place
    shapes = shapely.transform(
        found.geometry.to_numpy(), lambda points: np.column_stack(to_pixels @ tuple(points.T))
    )
    corners = shapely.get_coordinates(shapes)
    assert np.abs(corners - np.rint(corners)).max() < 1e-5
    assert shapely.area(shapes) == pytest.approx(found.pixel_count.to_numpy(), abs=1e-3)
    first = found.id.str.extract(r"r(\d+)c(\d+)").astype(int).to_numpy()
    assert (classes[first[:, 0], first[:, 1]] == found.class_id).all()
    assert shapely.contains_xy(shapes, first[:, 1] + 0.5, first[:, 0] + 0.5).all()


def on_wgs84(found, place, scene):
    """GeoJSON: inside one turn, and the first pixel of every polygon lies in it."""
    west, south, east, north = found.total_bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    assert found.geometry.is_valid.all()
    # Not the pixel's centre, which may lie on the antimeridian.
    first = found.id.str.extract(r"r(\d+)c(\d+)").astype(int).to_numpy() + np.array([0.4, 0.45])
    to = pyproj.Transformer.from_crs(pyproj.CRS.from_user_input(scene.crs), "EPSG:4326", always_xy=True)
    lon, lat = to.transform(*(place @ (first[:, 1], first[:, 0])))
    lon = (np.asarray(lon) + 180) % 360 - 180
    assert shapely.contains_xy(found.geometry.to_numpy(), lon, lat).all()
    if north - south < 1 and abs(scene.transform.a) > 1:  # seven decimals are 1 cm
        geod = pyproj.Geod(ellps="WGS84")
        areas = [abs(geod.geometry_area_perimeter(shape)[0]) / 1e4 for shape in found.geometry]
        assert areas == pytest.approx(found.area_ha.to_list(), rel=0.01)
