"""Several files as one scene: stacks, mosaics, and what fits together in neither way."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.scene import open_scene
from tests.scene.rasters import NORTH_UP, ramp, write


def read(scene):
    return scene.read(Window.from_shape(scene.shape))


def moved(rows, cols):
    return NORTH_UP * Affine.translation(cols, rows)


class TestStack:
    def test_files_on_one_grid_are_stacked_in_the_order_given(self, tmp_path):
        stored = ramp(3, 4, 5)
        two = write(tmp_path / "two.tif", stored[:2], nodata=1)
        one = write(tmp_path / "one.tif", stored[2:].astype("float32"), scales=(0.5,))
        scene = open_scene([one, two])
        assert [band.number for band in scene.bands] == [1, 2, 3]
        assert [band.dtype for band in scene.bands] == ["float32", "int16", "int16"]
        assert scene.name == "one"
        values, valid = read(scene.select([3, 1, 2]))
        np.testing.assert_array_equal(values[0], stored[1])
        np.testing.assert_array_equal(values[1], stored[2] * 0.5)
        assert np.isnan(values[2, 0, 0])
        assert valid.all()
        assert pickle.loads(pickle.dumps(scene)) == scene

    def test_per_band_files_of_landsat(self, tmp_path):
        stem = "LC08_L2SP_033027_20150902_20200908_02_T1_SR_B"
        paths = [write(tmp_path / f"{stem}{i}.TIF", ramp(1, 4, 5, start=i)) for i in (5, 4, 3)]
        scene = open_scene(paths)
        assert [band.common_name for band in scene.bands] == ["nir08", "red", "green"]
        assert [band.name for band in scene.bands] == ["SR_B5", "SR_B4", "SR_B3"]
        assert scene.sensor == "landsat-8-9"

    def test_a_file_may_be_named_twice(self, tmp_path):
        path = write(tmp_path / "a.tif", ramp(1, 4, 5))
        np.testing.assert_array_equal(read(open_scene([path, path]))[0][0], read(open_scene(path))[0][0])

    def test_a_mask_of_any_file_counts(self, tmp_path):
        mask = np.full((4, 5), 255, "uint8")
        mask[0] = 0
        a = write(tmp_path / "a.tif", ramp(1, 4, 5), mask=mask)
        b = write(tmp_path / "b.tif", ramp(1, 4, 5))
        for files in ([a, b], [b, a]):
            assert (read(open_scene(files))[1] == (mask > 0)).all()
        assert read(open_scene([b, a]).select([1]))[1].all()

    def test_header_rounding_is_borne(self, tmp_path):
        a = write(tmp_path / "a.tif", ramp(1, 40, 50))
        b = write(
            tmp_path / "b.tif", ramp(1, 40, 50), transform=Affine(30.000001, 0, 500_000.01, 0, -30, 5e6)
        )
        assert len(open_scene([a, b]).bands) == 2

    def test_without_georeferencing_equal_shapes_are_stacked(self, tmp_path):
        bare = {"crs": None, "transform": None}
        paths = [write(tmp_path / f"{name}.tif", ramp(1, 4, 5), **bare) for name in ("red", "nir")]
        assert [band.common_name for band in open_scene(paths).bands] == ["red", "nir"]


class TestMosaic:
    def tiles(self, tmp_path, **options):
        """A 40 x 60 scene cut into four tiles, written in disorder; the lower right one is missing."""
        whole = ramp(2, 40, 60)
        corners = {"b": (0, 30), "c": (20, 0), "a": (0, 0)}
        paths = []
        for name, (row, col) in corners.items():
            part = whole[:, row : row + 20, col : col + 30]
            paths.append(write(tmp_path / f"{name}.tif", part, transform=moved(row, col), **options))
        return whole, paths

    def test_aligned_tiles_become_one_scene(self, tmp_path):
        whole, paths = self.tiles(tmp_path)
        scene = open_scene(paths)
        assert scene.shape == (40, 60)
        assert scene.georeference.transform == NORTH_UP
        assert len(scene.bands) == 2
        values, valid = read(scene)
        expected = np.ones((40, 60), bool)
        expected[20:, 30:] = False
        assert (valid == expected).all()
        np.testing.assert_array_equal(values[:, valid], whole[:, valid])
        assert np.isnan(values[:, ~valid]).all()

    def test_the_order_of_tiles_does_not_matter(self, tmp_path):
        _, paths = self.tiles(tmp_path)
        for other in (paths[::-1], [paths[2], paths[0], paths[1]]):
            assert open_scene(other).shape == (40, 60)
            np.testing.assert_array_equal(read(open_scene(other))[0], read(open_scene(paths))[0])

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_a_window_is_a_slice_of_the_whole(self, tmp_path_factory, data):
        folder = tmp_path_factory.getbasetemp() / "mosaic"
        if not folder.exists():
            folder.mkdir()
            self.tiles(folder, nodata=100)
        scene = open_scene([folder / f"{name}.tif" for name in "abc"])
        whole, whole_valid = read(scene)
        row, col = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 59))
        window = Window(row, col, data.draw(st.integers(1, 40 - row)), data.draw(st.integers(1, 60 - col)))
        values, valid = scene.read(window)
        np.testing.assert_array_equal(values, whole[:, *window.slices()])
        np.testing.assert_array_equal(valid, whole_valid[window.slices()])

    def test_where_tiles_overlap_the_first_with_data_counts(self, tmp_path):
        a, b = ramp(2, 4, 6), ramp(2, 4, 6, start=1000)
        a[:, 0, 4] = -9999
        a[0, 1, 4] = -9999
        first = write(tmp_path / "a.tif", a, nodata=-9999)
        second = write(tmp_path / "b.tif", b, nodata=-9999, transform=moved(0, 4))
        values, valid = read(open_scene([first, second]))
        assert valid.all()
        np.testing.assert_array_equal(values[:, 0, 4], b[:, 0, 0])  # nodata in all bands of the first
        assert np.isnan(values[0, 1, 4])  # nodata in one band: the first tile's pixel is taken as it is
        assert values[1, 1, 4] == a[1, 1, 4]
        np.testing.assert_array_equal(values[:, 2:, 4:6], a[:, 2:, 4:6])
        reverse = read(open_scene([second, first]))[0]
        np.testing.assert_array_equal(reverse[:, :, 4:6], b[:, :, :2])

    def test_masks_of_tiles_count(self, tmp_path):
        mask = np.full((4, 5), 255, "uint8")
        mask[0] = 0
        a = write(tmp_path / "a.tif", ramp(1, 4, 5), mask=mask)
        b = write(tmp_path / "b.tif", ramp(1, 4, 5), mask=mask[::-1].copy(), transform=moved(4, 0))
        valid = read(open_scene([b, a]))[1]
        assert valid[:, 0].tolist() == [False, True, True, True, True, True, True, False]

    def test_nan_as_nodata_in_all_tiles(self, tmp_path):
        a = write(tmp_path / "a.tif", ramp(1, 4, 5, "float32"), nodata=float("nan"))
        b = write(tmp_path / "b.tif", ramp(1, 4, 5, "float32"), nodata=float("nan"), transform=moved(4, 0))
        assert open_scene([a, b]).shape == (8, 5)


class TestRefusals:
    def refuse(self, paths, *parts):
        with pytest.raises(SceneError) as caught:
            open_scene(paths)
        message = str(caught.value)
        assert "\n" not in message
        for part in ("a.tif and ", "b.tif do not fit together", *parts):
            assert part in message

    @pytest.fixture
    def first(self, tmp_path):
        return write(tmp_path / "a.tif", ramp(1, 8, 8))

    def other(self, tmp_path, values=None, **options):
        return write(tmp_path / "b.tif", ramp(1, 8, 8) if values is None else values, **options)

    def test_coarser_pixels(self, tmp_path, first):
        half = self.other(tmp_path, ramp(1, 4, 4), transform=Affine(60, 0, 500_000, 0, -60, 5_000_000))
        self.refuse([first, half], "30 x 30", "60 x 60", "--warp", "gdalbuildvrt -separate")

    def test_another_crs(self, tmp_path, first):
        self.refuse(
            [first, self.other(tmp_path, crs="EPSG:32615")], "EPSG:32614", "EPSG:32615", "gdalwarp -t_srs"
        )

    def test_a_grid_shifted_by_part_of_a_pixel(self, tmp_path, first):
        self.refuse(
            [first, self.other(tmp_path, transform=moved(0.4, 8))], "0.40 rows", "--warp", "gdalwarp -tap"
        )

    def test_tiles_with_other_bands(self, tmp_path, first):
        self.refuse([first, self.other(tmp_path, ramp(2, 8, 8), transform=moved(8, 0))], "same bands")

    def test_tiles_whose_file_names_name_different_bands(self, tmp_path):
        red = write(tmp_path / "x_B04.tif", ramp(1, 8, 8))
        blue = write(tmp_path / "y_B02.tif", ramp(1, 8, 8), transform=moved(8, 0))
        with pytest.raises(SceneError, match="same bands"):
            open_scene([red, blue])

    def test_tiles_with_another_scale(self, tmp_path, first):
        self.refuse(
            [first, self.other(tmp_path, scales=(0.1,), transform=moved(8, 0))], "scale 0.1", "gdalbuildvrt"
        )

    def test_different_sizes_without_georeferencing(self, tmp_path):
        bare = {"crs": None, "transform": None}
        a = write(tmp_path / "a.tif", ramp(1, 8, 8), **bare)
        self.refuse([a, self.other(tmp_path, ramp(1, 8, 7), **bare)], "8 x 8 pixels and 8 x 7 pixels")

    def test_different_ground_control_points(self, tmp_path):
        for name, shift in (("a", 0), ("b", 500)):
            points = [GroundControlPoint(r, c, 5e5 + shift + c, 5e6 - r) for r in (0, 8) for c in (0, 8)]
            write(
                tmp_path / f"{name}.tif", ramp(1, 8, 8), crs=None, transform=None, gcps=(points, "EPSG:32614")
            )
        self.refuse([tmp_path / "a.tif", tmp_path / "b.tif"], "without a transform")
