from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.raster.pixel_sizes import HECTARE, measure_pixel_sizes
from tests.polygons.helpers import trace

PLACES = {
    "UTM": ("EPSG:32614", Affine(10, 0, 2e5, 0, -10, 5e6)),
    "UTM, south-up": ("EPSG:32614", Affine(10, 0, 2e5, 0, 10, 5e6)),
    "UTM, rotated and sheared": ("EPSG:32633", Affine(7, 3, 6e5, 2.5, -8, 6e6)),
    "UTM, centimetres": ("EPSG:32614", Affine(0.5, 0, 2e5, 0, -0.5, 5e6)),
    "degrees": ("EPSG:4326", Affine(1e-4, 0, -100, 0, -1e-4, 47)),
    "degrees across the antimeridian": ("EPSG:4326", Affine(1e-3, 0, 179.9, 0, -1e-3, -17)),
    "web mercator": ("EPSG:3857", Affine(30, 0, -11e6, 0, -30, 8e6)),
    "LAEA Europe": ("EPSG:3035", Affine(100, 0, 2.5e6, 0, -100, 1.6e6)),
    "stereographic over the pole": ("EPSG:3413", Affine(100, 0, -1e4, 0, -100, 1e4)),
    "feet": ("EPSG:2263", Affine(10, 0, 9.8e5, 0, -10, 2e5)),
    "base CRS in grads from Paris": ("EPSG:27572", Affine(10, 0, 6e5, 0, -10, 2.4e6)),
    "compound": ("EPSG:32614+5773", Affine(10, 0, 2e5, 0, -10, 5e6)),
    "a rotated pole": (
        "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +datum=WGS84",
        Affine(1e-3, 0, -20, 0, -1e-3, -25),
    ),
}


def fields_of(seed: int, shape: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((4, *shape))
    classes = np.argmax([ndimage.gaussian_filter(layer, 5) for layer in noise], axis=0).astype(np.uint8)
    classes[:9, :20] = 255
    return classes


@pytest.mark.parametrize("place", PLACES)
def test_areas_and_perimeters_agree_with_geodesics(place):
    name, transform = PLACES[place]
    classes = fields_of(1, (90, 120))
    pixel_sizes = measure_pixel_sizes(name, transform, classes.shape)
    polygons = trace(classes, 37, pixel_sizes=pixel_sizes, transform=transform)

    crs = pyproj.CRS(name).to_2d()
    base = crs.geodetic_crs.to_2d()
    base = base.source_crs if base.is_derived else base
    to_base = pyproj.Transformer.from_crs(crs, base, always_xy=True)
    degrees = math.degrees(base.axis_info[0].unit_conversion_factor)
    # A long straight side on the map is no geodesic: give it vertices first.
    dense = shapely.segmentize(polygons.geometries(), 5 * abs(transform.a))
    lonlat = shapely.transform(dense, lambda xy: np.stack(to_base.transform(*xy.T), axis=1) * degrees)
    areas, perimeters = np.transpose([crs.get_geod().geometry_area_perimeter(p) for p in lonlat])
    assert polygons.columns.areas * pixel_sizes.area_unit * HECTARE == pytest.approx(np.abs(areas), rel=1e-4)
    assert polygons.columns.perimeters * pixel_sizes.length_unit == pytest.approx(perimeters, rel=1e-4)


@given(st.integers(0, 99), st.sampled_from([1, 3, 8, 50]), st.sampled_from(sorted(PLACES)))
@settings(deadline=None, max_examples=20)
def test_sizes_do_not_depend_on_blocks(seed, block_size, place):
    name, transform = PLACES[place]
    classes = fields_of(seed, (17, 23))
    pixel_sizes = measure_pixel_sizes(name, transform, classes.shape)
    whole, cut = (
        trace(classes, size, pixel_sizes=pixel_sizes, transform=transform) for size in (64, block_size)
    )
    assert whole.columns.areas.tolist() == cut.columns.areas.tolist()
    assert whole.columns.perimeters.tolist() == cut.columns.perimeters.tolist()


def test_polygons_add_up_to_their_pixels_exactly():
    name, transform = PLACES["degrees"]
    classes = fields_of(3, (80, 70))
    pixel_sizes = measure_pixel_sizes(name, transform, classes.shape)
    polygons = trace(classes, 16, pixel_sizes=pixel_sizes, transform=transform)
    areas = polygons.columns.areas * pixel_sizes.area_unit
    pixels = pixel_sizes.pixel_areas(0, 0, *classes.shape) * pixel_sizes.area_unit
    for value in range(4):
        assert areas[polygons.columns.class_ids == value].sum() == pixels[classes == value].sum()


def test_the_whole_earth():
    pixel_sizes = measure_pixel_sizes("EPSG:4326", Affine(0.5, 0, -180, 0, -0.5, 90), (360, 720))
    total = pixel_sizes.pixel_areas(0, 0, 360, 720).sum() * pixel_sizes.area_unit / 100
    assert total == pytest.approx(510_065_622, rel=2e-5)  # square kilometres, WGS 84


def test_a_long_straight_side_is_measured_all_along():
    column = np.zeros((450, 1), np.uint8)
    transform = Affine(0.1, 0, 10, 0, -0.1, 70)
    pixel_sizes = measure_pixel_sizes("EPSG:4326", transform, column.shape)
    polygons = trace(column, pixel_sizes=pixel_sizes, transform=transform)
    geod = pyproj.Geod(ellps="WGS84")
    meridian = geod.line_length([10, 10], [70, 25])
    parallels = [geod.line_length([10, 10.1], [latitude, latitude]) for latitude in (70, 25)]
    perimeter = polygons.columns.perimeters[0] * pixel_sizes.length_unit
    assert perimeter == pytest.approx(2 * meridian + sum(parallels), rel=1e-6)


def test_a_raster_cut_from_a_scene_has_the_scenes_areas():
    x, y = -11e6, 8e6
    scene = measure_pixel_sizes("EPSG:3857", Affine(30, 0, x, 0, -30, y), (3000, 3000))
    corner = Affine(30, 0, x + 30 * 1100, 0, -30, y - 30 * 700)
    part = measure_pixel_sizes("EPSG:3857", corner, (50, 40), origin=(700, 1100))
    assert part.area_unit == scene.area_unit
    difference = part.pixel_areas(0, 0, 50, 40) - scene.pixel_areas(700, 1100, 50, 40)
    assert np.abs(difference).max() <= 1  # the affine itself is rounded


@pytest.mark.parametrize(
    "crs",
    [
        None,
        'LOCAL_CS["field",UNIT["metre",1]]',
        'ENGCRS["x",EDATUM["x"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
    ],
)
def test_no_area_without_a_crs_tied_to_the_earth(crs):
    assert measure_pixel_sizes(crs, Affine(1, 0, 0, 0, -1, 0), (4, 4)) is None


def test_no_area_without_a_transform():
    assert measure_pixel_sizes("EPSG:32614", None, (4, 4)) is None


def test_pixels_outside_the_projections_domain_have_no_area():
    transform = Affine(1e5, 0, -20_037_508, 0, -1e5, 10_018_754)
    areas = measure_pixel_sizes("ESRI:54009", transform, (200, 400)).pixel_areas(0, 0, 200, 400)
    assert areas[0, 0] == 0
    assert areas[100, 200] > 0
