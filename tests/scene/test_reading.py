"""What ``Scene.read`` returns: physical values, NaN where a band is nodata, and the valid mask."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import RunError, SceneError
from geoseg.grid import Window
from geoseg.scene import open_scene
from tests.scene.rasters import ramp, write


def read(scene):
    return scene.read(Window.from_shape(scene.shape))


class TestValues:
    def test_scale_and_offset_tags_are_applied_band_by_band(self, tmp_path):
        stored = ramp(2, 4, 5)
        path = write(tmp_path / "a.tif", stored, scales=(0.1, 2), offsets=(-1, 3))
        values, valid = read(open_scene(path))
        assert values.dtype == np.float32
        np.testing.assert_allclose(values[0], stored[0] * 0.1 - 1, rtol=1e-6)
        np.testing.assert_allclose(values[1], stored[1] * 2 + 3, rtol=1e-6)
        assert valid.dtype == bool
        assert valid.all()

    def test_overrides_replace_the_tags(self, tmp_path):
        stored = ramp(1, 4, 5)
        path = write(tmp_path / "a.tif", stored, scales=(0.1,), offsets=(-1,), nodata=3)
        values, valid = read(open_scene(path, scale=0.5, offset=10, nodata=7))
        np.testing.assert_allclose(values[0][valid], (stored[0] * 0.5 + 10)[valid])
        assert (valid == (stored[0] != 7)).all()

    @pytest.mark.parametrize(
        "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
    )
    def test_every_dtype_is_read_exactly(self, tmp_path, dtype):
        stored = ramp(1, 9, 7, dtype)
        values, _ = read(open_scene(write(tmp_path / "a.tif", stored)))
        np.testing.assert_array_equal(values, stored.astype(np.float32))

    def test_large_integers_are_scaled_before_they_are_rounded_to_float32(self, tmp_path):
        stored = np.array([[[2**30 + 1, 2**30 + 2]]], "int32")
        path = write(tmp_path / "a.tif", stored, scales=(1.0,), offsets=(-(2.0**30),))
        values, _ = read(open_scene(path))
        assert values.ravel().tolist() == [1, 2]

    def test_bands_come_in_the_order_selected_and_may_repeat(self, tmp_path):
        stored = ramp(3, 4, 5)
        scene = open_scene(write(tmp_path / "a.tif", stored)).select([3, 1, 3])
        assert [band.number for band in scene.bands] == [3, 1, 3]
        np.testing.assert_array_equal(read(scene)[0], stored[[2, 0, 2]])

    def test_bands_of_different_dtypes_in_one_file(self, tmp_path):
        write(tmp_path / "a.tif", ramp(1, 4, 5, "uint8"))
        write(tmp_path / "b.tif", ramp(1, 4, 5, "float32", start=1000))
        bands = "".join(
            f'<VRTRasterBand dataType="{dtype}" band="{i}"><SimpleSource><SourceFilename relativeToVRT="1">{name}'
            "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
            for i, (dtype, name) in enumerate([("Byte", "a.tif"), ("Float32", "b.tif")], 1)
        )
        path = tmp_path / "mixed.vrt"
        path.write_text(f'<VRTDataset rasterXSize="5" rasterYSize="4">{bands}</VRTDataset>')
        scene = open_scene(path)
        assert [band.dtype for band in scene.bands] == ["uint8", "float32"]
        np.testing.assert_array_equal(read(scene.select([2, 1]))[0][:, 0, 0], [1000, 1])

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_a_window_is_a_slice_of_the_whole(self, tmp_path_factory, data):
        path = tmp_path_factory.getbasetemp() / "slices.tif"
        if not path.exists():
            write(path, ramp(2, 50, 70), nodata=17, tiled=True, blockxsize=16, blockysize=16)
        scene = open_scene(path)
        whole, whole_valid = read(scene)
        row, col = data.draw(st.integers(0, 49)), data.draw(st.integers(0, 69))
        window = Window(row, col, data.draw(st.integers(1, 50 - row)), data.draw(st.integers(1, 70 - col)))
        values, valid = scene.read(window)
        np.testing.assert_array_equal(values, whole[:, *window.slices()])
        np.testing.assert_array_equal(valid, whole_valid[window.slices()])

    @pytest.mark.parametrize(
        "window", [Window(-1, 0, 2, 2), Window(3, 0, 2, 2), Window(0, 4, 1, 2), Window(9, 9, 1, 1)]
    )
    def test_a_window_beyond_the_scene_is_refused(self, tmp_path, window):
        scene = open_scene(write(tmp_path / "a.tif", ramp(1, 4, 5)))
        with pytest.raises(SceneError, match="not inside the scene of 4 rows x 5 columns"):
            scene.read(window)


class TestValidMask:
    stored = np.array([[[9, 1, 9, 4]], [[9, 9, 3, 5]]], "int16")

    @pytest.mark.parametrize(
        ("rule", "valid"), [("all", [False, True, True, True]), ("any", [False, False, False, True])]
    )
    def test_the_two_rules(self, tmp_path, rule, valid):
        scene = open_scene(write(tmp_path / "a.tif", self.stored, nodata=9))
        values, mask = read(scene.select([1, 2], invalid_where=rule))
        assert mask[0].tolist() == valid
        np.testing.assert_array_equal(np.isnan(values), self.stored == 9)

    def test_only_the_selected_bands_count(self, tmp_path):
        scene = open_scene(write(tmp_path / "a.tif", self.stored, nodata=9))
        assert read(scene.select([1]))[1][0].tolist() == [False, True, False, True]

    @pytest.mark.parametrize("nodata", [None, float("nan"), -1.0])
    def test_nan_and_infinity_are_never_valid(self, tmp_path, nodata):
        stored = np.array([[[np.nan, np.inf, -np.inf, 1, -1]]], "float32")
        values, valid = read(open_scene(write(tmp_path / "a.tif", stored, nodata=nodata)))
        assert valid[0].tolist() == [False, False, False, True, nodata != -1.0]
        assert np.isnan(values[0, 0, :3]).all()

    def test_a_float_nodata_that_float32_rounds(self, tmp_path):
        stored = np.array([[[np.float32(-3.4e38), 1.0]]], "float32")
        assert read(open_scene(write(tmp_path / "a.tif", stored, nodata=-3.4e38)))[1].tolist() == [
            [False, True]
        ]

    def test_values_that_overflow_float32_are_invalid(self, tmp_path):
        stored = np.array([[[1e300, 1.0]]], "float64")
        values, _ = read(open_scene(write(tmp_path / "a.tif", stored)))
        assert np.isnan(values[0, 0]).tolist() == [True, False]

    def test_nodata_outside_the_dtype_hides_nothing(self, tmp_path):
        write(tmp_path / "a.tif", ramp(1, 4, 5, "uint8"))
        path = tmp_path / "a.vrt"
        path.write_text(
            '<VRTDataset rasterXSize="5" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1">'
            "<NoDataValue>-9999</NoDataValue><SimpleSource>"
            '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
            "</VRTRasterBand></VRTDataset>"
        )
        assert read(open_scene(path))[1].all()

    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    def test_alpha_hides_pixels_and_is_no_band(self, tmp_path, dtype):
        stored = ramp(4, 3, 4, dtype)
        stored[3] = 200
        stored[3, 1, :2] = 0
        path = write(tmp_path / "a.tif", stored, colours=["red", "green", "blue", "alpha"])
        scene = open_scene(path)
        values, valid = read(scene)
        assert [band.common_name for band in scene.bands] == ["red", "green", "blue"]
        assert (valid == (stored[3] != 0)).all()
        assert np.isnan(values[:, ~valid]).all()
        assert not np.isnan(values[:, valid]).any()

    def test_alpha_asked_for_by_number_is_a_band_and_hides_nothing(self, tmp_path):
        stored = ramp(4, 3, 4, "uint8")
        stored[3, 1] = 0
        path = write(tmp_path / "a.tif", stored, colours=["red", "green", "blue", "alpha"])
        values, valid = read(open_scene(path).select([4, 1]))
        np.testing.assert_array_equal(values, stored[[3, 0]])
        assert valid.all()

    def test_alpha_counts_beside_a_nodata_value(self, tmp_path):
        stored = ramp(2, 3, 4, "uint8")
        stored[1] = 255
        stored[1, 0] = 0
        path = write(tmp_path / "a.tif", stored, colours=["gray", "alpha"], nodata=7)
        assert (read(open_scene(path))[1] == ((stored[1] != 0) & (stored[0] != 7))).all()

    @pytest.mark.parametrize("internal", ["YES", "NO"])
    @pytest.mark.parametrize("nodata", [None, 6])
    def test_a_mask_inside_or_beside_the_file(self, tmp_path, internal, nodata):
        mask = np.full((3, 4), 255, "uint8")
        mask[2] = 0
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
            path = write(tmp_path / "a.tif", ramp(2, 3, 4), mask=mask, nodata=nodata)
        assert (tmp_path / "a.tif.msk").exists() == (internal == "NO")
        expected = mask > 0
        values, valid = read(open_scene(path).select([1]))
        if nodata:
            expected = expected & (ramp(2, 3, 4)[0] != nodata)
        assert (valid == expected).all()
        assert (np.isnan(values[0]) == ~expected).all()

    def test_a_band_with_a_mask_of_its_own(self, tmp_path):
        mask = np.full((1, 3, 4), 255, "uint8")
        mask[0, 1] = 0
        write(tmp_path / "mask.tif", mask)
        write(tmp_path / "a.tif", ramp(2, 3, 4))
        source = '<SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename><SourceBand>{}</SourceBand></SimpleSource>'
        own = f'<MaskBand><VRTRasterBand dataType="Byte">{source.format("mask.tif", 1)}</VRTRasterBand></MaskBand>'
        bands = "".join(
            f'<VRTRasterBand dataType="Int16" band="{i}">{source.format("a.tif", i)}{more}</VRTRasterBand>'
            for i, more in ((1, ""), (2, own))
        )
        path = tmp_path / "a.vrt"
        path.write_text(f'<VRTDataset rasterXSize="4" rasterYSize="3">{bands}</VRTDataset>')
        values, valid = read(open_scene(path))
        assert valid.all()
        assert np.isnan(values[:, 1]).tolist() == [[False] * 4, [True] * 4]
        assert not np.isnan(values[:, [0, 2]]).any()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
    def test_the_smallest_scenes(self, tmp_path, shape):
        stored = ramp(2, *shape)
        values, valid = read(open_scene(write(tmp_path / "a.tif", stored, nodata=1)))
        np.testing.assert_array_equal(values[1], stored[1])
        assert valid.shape == shape
        assert valid.all()


def test_a_truncated_file_is_a_failed_run_with_one_clear_line(tmp_path):
    path = write(tmp_path / "a.tif", ramp(1, 1100, 600), driver="COG")  # its header comes first
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 9 // 10])
    scene = open_scene(path)
    assert scene.read(Window(0, 0, 5, 5))[1].all()
    with pytest.raises(RunError, match=r"a\.tif: rows .* damaged or incomplete") as caught:
        read(scene)
    assert "\n" not in str(caught.value)


class TestStrips:
    @pytest.mark.parametrize(
        ("profile", "rows"),
        [
            ({"tiled": True, "blockxsize": 256, "blockysize": 256}, 512),
            ({"tiled": True, "blockxsize": 16, "blockysize": 400}, 800),
            ({"blockysize": 1}, 512),
            ({"blockysize": 900, "compress": "deflate"}, 900),
        ],
    )
    def test_a_strip_is_whole_blocks_of_the_file(self, tmp_path, profile, rows):
        scene = open_scene(write(tmp_path / "a.tif", ramp(1, 900, 20), **profile))
        assert scene.strip_rows == rows
        assert rows % scene.storage_block_shape[0] == 0
