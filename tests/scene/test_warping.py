"""``warp=True``: rotated, GCP and RPC scenes on a north-up grid, and bands of several resolutions on the finest."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.scene import open_scene
from tests.raster.test_georeference import corner_points, simple_rpc
from tests.scene.rasters import NORTH_UP, ramp, write

ROTATED = Affine.translation(500_000, 5_000_000) * Affine.rotation(25) * Affine.scale(30, -30)


def read(scene):
    return scene.read(Window.from_shape(scene.shape))


def test_a_north_up_scene_is_read_as_it_is(tmp_path):
    path = write(tmp_path / "a.tif", ramp(2, 20, 30))
    assert open_scene(path, warp=True) == open_scene(path)


def test_south_up_is_turned_over(tmp_path):
    stored = ramp(2, 20, 30)
    path = write(tmp_path / "a.tif", stored, transform=Affine(30, 0, 500_000, 0, 30, 5_000_000 - 600))
    scene = open_scene(path, warp=True)
    values, valid = read(scene)
    assert scene.georeference.transform == NORTH_UP
    assert valid.all()
    np.testing.assert_array_equal(values, stored[:, ::-1])


@pytest.mark.parametrize("nodata", [None, -9999, 3])
@pytest.mark.parametrize("override", [False, True])
def test_a_rotated_scene(tmp_path, nodata, override):
    """Every value comes from the pixel of the source that holds the new pixel's centre; outside is invalid."""
    stored = ramp(2, 40, 50)
    stored[:, 10:15, 10:15] = 3
    stored[0, 20:25, 20:25] = 3
    declared = {"nodata": nodata} if nodata is not None and not override else {}
    path = write(tmp_path / "a.tif", stored, transform=ROTATED, scales=(0.5, 0.5), **declared)
    scene = open_scene(path, warp=True, nodata=nodata if override else None)
    assert scene.georeference.is_north_up
    assert scene.georeference.crs.to_epsg() == 32614
    assert scene.gsd == pytest.approx(30, rel=0.05)
    assert scene.bands[0].scale == 0.5
    values, valid = read(scene)
    cols, rows = np.meshgrid(np.arange(scene.shape[1]) + 0.5, np.arange(scene.shape[0]) + 0.5)
    x, y = scene.georeference.transform * (cols, rows)
    source_col, source_row = ~ROTATED * (x, y)
    inside = (source_col > 0) & (source_col < 50) & (source_row > 0) & (source_row < 40)
    expected = np.full(values.shape, np.nan)
    picked = stored[:, np.floor(source_row[inside]).astype(int), np.floor(source_col[inside]).astype(int)]
    expected[:, inside] = np.where(picked == nodata, np.nan, picked * 0.5)

    np.testing.assert_allclose(values, expected)
    assert (valid == ~np.isnan(expected).all(axis=0)).all()


@pytest.mark.parametrize("kind", ["alpha", "mask"])
def test_alpha_and_masks_survive(tmp_path, kind):
    stored, hidden = ramp(2, 40, 50, "uint8"), np.full((40, 50), 255, "uint8")
    hidden[:, :25] = 0
    if kind == "alpha":
        stored[1] = hidden
        path = write(tmp_path / "a.tif", stored, transform=ROTATED, colours=["gray", "alpha"])
    else:
        path = write(tmp_path / "a.tif", stored[:1], transform=ROTATED, mask=hidden)
    scene = open_scene(path, warp=True)
    assert len(scene.bands) == 1
    assert read(scene)[1].sum() == pytest.approx(20 * 50, rel=0.06)


def test_an_override_replaces_the_declared_nodata(tmp_path):
    stored = np.full((2, 40, 50), 3, "int16")
    stored[:, :20] = 7
    path = write(tmp_path / "a.tif", stored, transform=ROTATED, nodata=3)
    values, valid = read(open_scene(path, warp=True, nodata=7))
    assert set(np.unique(values[:, valid])) == {3}
    assert valid.sum() == pytest.approx(20 * 50, rel=0.06)


def test_nan_as_nodata_is_no_hindrance(tmp_path):
    path = write(tmp_path / "a.tif", ramp(1, 40, 50), transform=ROTATED)
    assert read(open_scene(path, warp=True, nodata=float("nan")))[1].any()


def test_a_mask_and_nodata_at_once_are_refused(tmp_path):
    mask = np.full((40, 50), 255, "uint8")
    path = write(tmp_path / "a.tif", ramp(1, 40, 50), transform=ROTATED, mask=mask, nodata=3)
    with pytest.raises(SceneError, match="--warp cannot honour together; run gdalwarp"):
        open_scene(path, warp=True)


def test_without_georeferencing_it_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", ramp(1, 4, 4), crs=None, transform=None)
    with pytest.raises(SceneError, match="--warp needs a CRS"):
        open_scene(path, warp=True)


def test_ground_control_points(tmp_path):
    points = corner_points((20, 30))
    path = write(tmp_path / "a.tif", ramp(1, 20, 30), crs=None, transform=None, gcps=(points, "EPSG:32614"))
    scene = open_scene(path, warp=True)
    assert scene.georeference.is_north_up
    assert not scene.georeference.needs_warp
    assert scene.georeference.crs.to_epsg() == 32614
    values, valid = read(scene)
    assert valid.mean() > 0.95
    assert values[0][valid].min() == 1


def test_rpcs(tmp_path):
    path = write(tmp_path / "a.tif", ramp(1, 40, 60), crs=None, transform=None, rpcs=simple_rpc((40, 60)))
    scene = open_scene(path, warp=True)
    assert scene.georeference.crs.to_epsg() == 4326
    assert scene.georeference.is_north_up
    lon, lat = scene.georeference.centre(scene.shape)
    assert (lon, lat) == pytest.approx((10, 45), abs=0.002)
    assert read(scene)[1].mean() > 0.9


@pytest.mark.parametrize("kind", ["nodata", "alpha"])
def test_windows_never_change_values(tmp_path, kind):
    """With GDAL's approximate transformer this fails: pixels would depend on how the scene is cut up."""
    points = [
        GroundControlPoint(r, c, 5e5 + 30 * c + 0.006 * r * r, 5e6 - 30 * r + 9 * c + 0.003 * c * r)
        for r in (0, 350, 700)
        for c in (0, 400, 800)
    ]
    values = ramp(2, 700, 800, "int32")
    values[1] = 255
    more = {"colours": ["gray", "alpha"]} if kind == "alpha" else {"nodata": 0}
    path = tmp_path / "bent.tif"
    write(path, values, crs=None, transform=None, gcps=(points, "EPSG:32614"), **more)
    scene = open_scene(path, warp=True)
    whole, whole_valid = read(scene)
    assert 0.3 < whole_valid.mean() < 1
    scene.close()
    windows = [
        (0, 0, 300, 300),
        (217, 203, 377, 455),
        (400, 1, 1, 600),
        (100, 600, 400, 100),
        (531, 317, 7, 9),
    ]
    for window in (Window(*numbers) for numbers in windows):
        values, valid = scene.read(window)
        np.testing.assert_array_equal(values, whole[:, *window.slices()])
        np.testing.assert_array_equal(valid, whole_valid[window.slices()])


def test_a_nodata_override_that_only_some_files_can_store(tmp_path):
    a = write(tmp_path / "a.tif", ramp(1, 40, 50, "uint8"), transform=ROTATED)
    b = write(tmp_path / "b.tif", np.full((1, 40, 50), -9999, "int16"), transform=ROTATED)
    values, valid = read(open_scene([a, b], warp=True, nodata=-9999))
    assert valid.sum() == pytest.approx(40 * 50, rel=0.06)
    assert np.isnan(values[1]).all()


class TestSeveralResolutions:
    def test_coarser_bands_are_brought_to_the_finest_grid(self, tmp_path):
        fine, coarse = ramp(1, 40, 60), ramp(1, 20, 30, start=5000)
        a = write(tmp_path / "B11.tif", coarse, transform=NORTH_UP * Affine.scale(2))
        b = write(tmp_path / "B04.tif", fine)
        scene = open_scene([a, b], warp=True)
        assert scene.shape == (40, 60)
        assert scene.georeference.transform == NORTH_UP
        values, valid = read(scene)
        np.testing.assert_array_equal(values[1], fine[0])
        np.testing.assert_array_equal(values[0], np.kron(coarse[0], np.ones((2, 2))))
        assert valid.all()

    def test_pixels_without_a_coarse_value_are_missing_in_that_band(self, tmp_path):
        a = write(tmp_path / "a.tif", ramp(1, 40, 60))
        b = write(tmp_path / "b.tif", ramp(1, 15, 30), transform=NORTH_UP * Affine.scale(2))
        scene = open_scene([a, b], warp=True)
        values, valid = read(scene)
        assert np.isnan(values[1, 30:]).all()
        assert not np.isnan(values[0]).any()
        assert valid.all()
        valid = read(scene.select([1, 2], invalid_where="any"))[1]
        assert not valid[30:].any()
        assert valid[:30].all()

    def test_tiles_that_fit_together_stay_a_mosaic(self, tmp_path):
        a = write(tmp_path / "a.tif", ramp(1, 40, 60))
        b = write(tmp_path / "b.tif", ramp(1, 40, 60), transform=NORTH_UP * Affine.translation(60, 0))
        assert open_scene([a, b], warp=True) == open_scene([a, b])
        assert open_scene([a, b], warp=True).shape == (40, 120)

    def test_a_file_elsewhere_is_refused(self, tmp_path):
        a = write(tmp_path / "a.tif", ramp(1, 40, 60))
        b = write(
            tmp_path / "b.tif",
            ramp(1, 20, 30),
            transform=NORTH_UP * Affine.translation(0, 35) * Affine.scale(2),
        )
        with pytest.raises(SceneError, match=r"b\.tif covers 12% of the area of .*a\.tif"):
            open_scene([a, b], warp=True)
