"""Pixel sizes on the ground and odd georeferencing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from rasterio.transform import Affine

from geoseg.grid import Window
from geoseg.raster.georeference import same_crs
from geoseg.scene import Georeference, open_scene
from tests.scene.rasters import NORTH_UP, ramp, write

UTM = CRS.from_epsg(32614)


def gsd(crs, transform, shape=(100, 100)):
    return Georeference(CRS.from_user_input(crs), transform).gsd(shape)


def test_utm_is_within_its_scale_error():
    assert gsd(32614, NORTH_UP) == pytest.approx(30, rel=1e-3)


def test_web_mercator_is_measured_on_the_ground():
    """At 60 degrees north a metre of EPSG:3857 is about half a metre."""
    y = math.log(math.tan(math.pi / 4 + math.radians(60) / 2)) * 6378137
    assert gsd(3857, Affine(10, 0, 0, 0, -10, y), (2, 2)) == pytest.approx(5, rel=5e-3)


def test_feet_become_metres():
    """EPSG:2264, North Carolina in US survey feet."""
    assert gsd(2264, Affine(10, 0, 2_000_000, 0, -10, 600_000)) == pytest.approx(3.048, rel=1e-3)


@pytest.mark.parametrize("lat", [0, 45, -60])
def test_degrees(lat):
    georeference = Georeference(CRS.from_epsg(4326), Affine(0.001, 0, 10, 0, -0.001, lat + 0.001))
    height, width = georeference.pixel_size((2, 2))
    # Radii of curvature of the WGS 84 ellipsoid (Bowring): e2 = 0.00669438.
    root = 1 - 0.00669438 * math.sin(math.radians(lat)) ** 2
    meridian = 6378137 * (1 - 0.00669438) / root**1.5
    parallel = 6378137 / math.sqrt(root) * math.cos(math.radians(lat))
    assert height == pytest.approx(math.radians(0.001) * meridian, rel=1e-5)
    assert width == pytest.approx(math.radians(0.001) * parallel, rel=1e-5)
    assert georeference.gsd((2, 2)) == pytest.approx(math.sqrt(height * width))
    assert georeference.is_geographic


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(-180, 180), width=st.floats(0.1, 100), height=st.floats(0.1, 100))
def test_rotation_and_flips_change_no_pixel_size(angle, width, height):
    turned = Affine.translation(500_000, 5_000_000) * Affine.rotation(angle)
    for sign in (1, -1):
        size = Georeference(UTM, turned * Affine.scale(width, sign * height)).pixel_size((10, 10))
        assert size == pytest.approx((height, width), rel=2e-3)


@pytest.mark.parametrize(("crs", "transform"), [(None, NORTH_UP), (UTM, None), (None, None)])
def test_without_a_crs_or_a_transform_nothing_is_known(tmp_path, crs, transform):
    scene = open_scene(write(tmp_path / "a.tif", ramp(1, 4, 4), crs=crs, transform=transform))
    assert scene.gsd is None
    assert scene.georeference.pixel_size(scene.shape) is None
    assert scene.georeference.transform == transform
    assert not scene.is_geographic
    assert scene.read(Window(0, 0, 4, 4))[1].all()


def test_an_engineering_crs_has_no_ground(tmp_path):
    local = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    scene = open_scene(write(tmp_path / "a.tif", ramp(1, 4, 4), crs=local))
    assert scene.gsd is None


def test_far_outside_the_projection_nothing_is_known():
    assert gsd(32614, Affine(30, 0, 1e12, 0, -30, 1e12)) is None


def test_south_up_is_read_in_file_order(tmp_path):
    stored = ramp(1, 4, 5)
    transform = Affine(30, 0, 500_000, 0, 30, 5_000_000)
    scene = open_scene(write(tmp_path / "a.tif", stored, transform=transform))
    np.testing.assert_array_equal(scene.read(Window(0, 0, 4, 5))[0], stored)
    assert scene.georeference.transform == transform
    assert not scene.georeference.is_north_up
    assert scene.gsd == pytest.approx(30, rel=1e-3)


def corner_points(shape=(20, 30), step=30.0):
    rows, cols = shape
    return [
        GroundControlPoint(row, col, 500_000 + step * col, 5_000_000 - step * row)
        for row in (0, rows)
        for col in (0, cols)
    ]


def test_ground_control_points(tmp_path):
    path = write(tmp_path / "a.tif", ramp(1, 20, 30), crs=None, transform=None, gcps=(corner_points(), UTM))
    scene = open_scene(path)
    georeference = scene.georeference
    assert georeference.needs_warp
    assert georeference.transform is None
    assert len(georeference.gcps) == 4
    assert georeference.gcps_crs.to_epsg() == 32614
    assert scene.gsd == pytest.approx(30, rel=1e-3)
    assert georeference.centre(scene.shape)[0] == pytest.approx(-99, abs=0.01)


def simple_rpc(shape, degrees=0.001):
    """RPCs of a flat scene: longitude grows with the column, latitude falls with the row."""
    rows, cols = shape
    one, lon, lat = [1.0] + [0.0] * 19, [0.0, 1.0] + [0.0] * 18, [0.0, 0.0, -1.0] + [0.0] * 17
    return RPC(
        height_off=0, height_scale=500, lat_off=45.0, lat_scale=degrees * rows / 2, long_off=10.0,
        long_scale=degrees * cols / 2, line_off=rows / 2, line_scale=rows / 2, samp_off=cols / 2,
        samp_scale=cols / 2, line_num_coeff=lat, line_den_coeff=one, samp_num_coeff=lon, samp_den_coeff=one,
        err_bias=0, err_rand=0,
    )  # fmt: skip


def test_rpcs(tmp_path):
    path = write(tmp_path / "a.tif", ramp(1, 40, 60), crs=None, transform=None, rpcs=simple_rpc((40, 60)))
    scene = open_scene(path)
    assert scene.georeference.needs_warp
    assert scene.georeference.rpcs is not None
    assert scene.is_geographic
    height, width = scene.georeference.pixel_size(scene.shape)
    assert height == pytest.approx(111.1, rel=1e-2)
    assert width == pytest.approx(78.8, rel=1e-2)


RPCS = RPC(0, 1, 45, 1, [1.0] * 20, [0.5] * 20, 300, 300, -99, 1, [1.0] * 20, [0.1] * 20, 350, 350)


def test_a_cut_keeps_every_pixel_where_it_was():
    whole = Georeference(
        crs=UTM,
        transform=Affine(30.1, 5.25, 418140.5, 7.125, -31, 5367860.25),
        gcps=(GroundControlPoint(50, 60, 5e5, 4.9e6, 3.0, "a", "b"),),
        rpcs=RPCS,
    )
    part = whole.cut(7, 11)
    for row, col in ((0, 0), (20, 3)):
        assert whole.transform @ (col + 11, row + 7) == pytest.approx(part.transform @ (col, row), abs=1e-9)
    point = part.gcps[0]
    assert (point.row, point.col, point.x, point.y, point.z, point.id) == (43, 49, 5e5, 4.9e6, 3.0, "a")
    assert (part.rpcs.line_off, part.rpcs.samp_off) == (RPCS.line_off - 7, RPCS.samp_off - 11)
    assert part.rpcs.samp_scale == RPCS.samp_scale
    assert whole.cut(0, 0).transform == whole.transform


ROTATED = "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p={} +lon_0=180 +datum=WGS84"
SITE = 'LOCAL_CS["site",UNIT["{}",{}]]'


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("EPSG:32614", "+proj=utm +zone=14 +datum=WGS84", True),
        ("EPSG:32614", "EPSG:32614+5773", True),
        ("EPSG:4326", "OGC:CRS84", True),
        ("+proj=utm +zone=14 +datum=WGS84 +units=us-ft", "EPSG:32614", False),
        ("+proj=utm +zone=14 +datum=WGS84 +units=us-ft", "+proj=utm +zone=14 +datum=WGS84 +units=ft", False),
        ("EPSG:4326", "+proj=longlat +pm=paris +ellps=WGS84", False),
        ("EPSG:4326", "+proj=longlat +R=6371000 +no_defs", False),
        (ROTATED.format(39.25), ROTATED.format(39.25), True),
        (ROTATED.format(39.25), ROTATED.format(39.26), False),
        (ROTATED.format(39.25), "EPSG:4326", False),
        (SITE.format("metre", 1), SITE.format("metre", 1), True),
        (SITE.format("metre", 1), SITE.format("foot", 0.3048), False),
        (SITE.format("metre", 1), "EPSG:32614", False),
        (None, None, True),
        ("EPSG:32614", None, False),
    ],
)
def test_a_crs_is_the_same_if_it_places_coordinates_alike(one, other, same):
    assert same_crs(one, other) is same
    assert same_crs(other, one) is same
