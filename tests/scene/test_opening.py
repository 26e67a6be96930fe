"""``open_scene``: formats, sizes, overrides, and one clear line for whatever is no scene."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError

import geoseg.raster.source
from geoseg.errors import SceneError, SettingsError
from geoseg.grid import Window
from geoseg.scene import open_scene
from geoseg.scene.file import split_dataset_name, stem
from geoseg.scene.sample import sample_scene
from tests.scene.rasters import NORTH_UP, ramp, write


def test_a_huge_scene_is_never_read_whole(tmp_path):
    side, path = 100_000, tmp_path / "huge.tif"
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": 6,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
    }
    with rasterio.open(path, "w", width=side, height=side, sparse_ok=True, bigtiff="yes", **profile) as file:
        file.write(ramp(6, 600, 600, "uint16"), window=rasterio.windows.Window(90_000, 90_000, 600, 600))
    scene = open_scene(path, nodata=0)
    values, valid = scene.read(Window(90_100, 90_100, 300, 300))
    sample = sample_scene(scene)
    assert scene.shape == (side, side)
    assert scene.storage_block_shape == (512, 512)
    assert valid.all()
    np.testing.assert_array_equal(values, ramp(6, 600, 600, "uint16")[:, 100:400, 100:400])
    assert sample.looked_at < 2_000_000
    assert not sample.is_whole


@pytest.mark.parametrize(
    ("name", "driver", "options"),
    [
        ("a.jpg", "JPEG", {"quality": 100}),
        ("a.png", "PNG", {}),
        ("a.jp2", "JP2OpenJPEG", {"quality": 100, "reversible": True}),
        ("a.tif", "COG", {}),
        ("a.img", "HFA", {}),
        ("a.vrt.tif", "GTiff", {"compress": "zstd"}),
    ],
)
def test_formats(tmp_path, name, driver, options):
    values = np.repeat(ramp(1, 40, 30, "uint8"), 3, axis=0)
    path = write(tmp_path / name, values, driver=driver, crs=None, transform=None, **options)
    scene = open_scene(path)
    assert scene.shape == (40, 30)
    assert len(scene.bands) == 3
    read, valid = scene.read(Window(0, 0, 40, 30))
    assert valid.all()
    assert np.abs(read - values).max() <= (40 if driver == "JPEG" else 0)


def test_name_and_paths(tmp_path, monkeypatch):
    path = write(tmp_path / "my scene.v2.tif", ramp(1, 3, 3))
    assert open_scene(path).name == "my scene.v2"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_scene("~/my scene.v2.tif").shape == (3, 3)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Address of a web server on the test's folder."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    command = [sys.executable, str(Path(__file__).with_name("range_server.py")), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


@pytest.mark.parametrize("prefix", ["", "/vsicurl/"])
def test_over_http(tmp_path, server, prefix):
    """A scene on a web server, its mask file beside it."""
    mask = np.full((600, 600), 255, "uint8")
    mask[:100] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="NO"):
        write(tmp_path / "a.tif", ramp(2, 600, 600), mask=mask, tiled=True, blockxsize=256, blockysize=256)
    scene = open_scene(f"{prefix}{server}/a.tif")
    assert scene.name == "a"
    values, valid = scene.read(Window(50, 0, 100, 600))
    assert valid.sum() == 50 * 600
    np.testing.assert_array_equal(values[:, valid], ramp(2, 600, 600)[:, 50:150][:, valid])


def test_missing_on_the_server(server):
    with pytest.raises(SceneError, match=r"gone\.tif: cannot be opened .*check the address"):
        open_scene(f"{server}/gone.tif")


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("scene.tif", False),
        ("C:\\scenes\\a.tif", False),
        ("file:///a.tif", False),
        ("zip://a.zip!b.tif", False),
        ("/vsizip/a.zip/b.tif", False),
        ("https://host/a.tif", True),
        ("s3://bucket/a.tif", True),
        ("/vsicurl/https://host/a.tif", True),
        ("/vsis3/bucket/a.tif", True),
    ],
)
def test_what_counts_as_remote(path, remote):
    assert geoseg.raster.source.is_remote(path) == remote


class TestRefusals:
    """Each names the file, says what is wrong and what to do, in one line."""

    def refuse(self, path, *parts, **options):
        with pytest.raises(SceneError) as caught:
            open_scene(path, **options)
        message = str(caught.value)
        assert "\n" not in message
        for part in (os.path.basename(str(path)), *parts):
            assert part in message
        return message

    def test_missing(self, tmp_path):
        self.refuse(tmp_path / "none.tif", "no such file; check the path")

    def test_missing_with_a_near_name(self, tmp_path):
        write(tmp_path / "scene_2024.tif", ramp(1, 2, 2))
        self.refuse(tmp_path / "scene-2024.tif", "did you mean", "scene_2024.tif?")

    def test_broken_link(self, tmp_path):
        (tmp_path / "a.tif").symlink_to(tmp_path / "gone.tif")
        self.refuse(tmp_path / "a.tif", "link to a file that does not exist")

    def test_folder(self, tmp_path):
        self.refuse(tmp_path, "is a folder; name the raster file")

    def test_unreadable(self, tmp_path, monkeypatch):
        path = write(tmp_path / "a.tif", ramp(1, 2, 2))
        path.chmod(0)
        if os.access(path, os.R_OK):  # root may read everything: act as if it were somebody else
            path.write_bytes(b"")
            monkeypatch.setattr("geoseg.scene.probe._may_be_read", lambda _: False)
        self.refuse(path, "may not be read; change its permissions")

    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("a.tif", b"", "is empty (0 bytes)"),
            ("a.tif", b"hello", "not a raster that GDAL can read"),
            ("a.tif", b"II*\0\x08\0\0\0", "damaged or incomplete TIFF (a.tif: TIFFReadDirectory"),
            ("a.tif", b"\n<!DOCTYPE html><html>", "web page, not a raster"),
            ("a.tif", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            ("a.zip", b"PK\x03\x04rest", "/vsizip/"),
            ("a.json", b'{"type": "FeatureCollection"}', "name a raster"),
            ("a.geojson", b'{"type": "FeatureCollection", "features": []}', "is a vector file or a table"),
            ("a.csv", b"x,y\n1,2\n", "is a vector file or a table"),
        ],
    )
    def test_no_raster(self, tmp_path, name, content, says):
        path = tmp_path / name
        path.write_bytes(content)
        self.refuse(path, says)

    def test_a_codec_that_gdal_lacks_is_named_and_is_no_damage(self, tmp_path):
        path = write(tmp_path / "a.tif", ramp(1, 2, 2, "uint8"))
        content, tag = path.read_bytes(), struct.pack("<HHI", 259, 3, 1)  # the tag of the compression
        assert tag + b"\1\0" in content
        path.write_bytes(content.replace(tag + b"\1\0", tag + struct.pack("<H", 50002)))
        message = self.refuse(path, "missing codec JXL; the file may be whole", "COMPRESS=DEFLATE")
        assert "damaged" not in message

    def test_what_gdal_says_only_when_the_header_is_read(self, tmp_path, monkeypatch):
        path = write(tmp_path / "a.tif", ramp(1, 2, 2))

        def fail(_dataset):
            raise CPLE_BaseError(1, 1, "a tag is not read")

        monkeypatch.setattr("geoseg.scene.probe.find_bands_marked_alpha", fail)
        self.refuse(path, "a tag is not read")

    def test_a_real_vector_file(self, tmp_path):
        import geopandas
        from shapely.geometry import box

        path = tmp_path / "fields.gpkg"
        geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=4326).to_file(path)
        self.refuse(path, "is a vector file or a table; name a raster")

    def test_complex_numbers(self, tmp_path):
        path = write(tmp_path / "slc.tif", ramp(1, 2, 2, "complex64"))
        self.refuse(path, "complex", "convert them to amplitude")

    def test_only_subdatasets(self, tmp_path):
        path = tmp_path / "tables.gpkg"
        for i, more in enumerate(({}, {"APPEND_SUBDATASET": "YES"})):
            write(
                path, ramp(1, 2, 2, "uint8"), driver="GPKG", crs="EPSG:3857", RASTER_TABLE=f"table{i}", **more
            )
        message = self.refuse(path, "holds 2 datasets; name the one to use")
        inside = message.rsplit("'", 2)[1]
        assert open_scene(inside).shape == (2, 2)

    @pytest.mark.parametrize(
        ("name", "parts", "clean"),
        [
            ("NETCDF:dir/scene.nc:blue", ("dir/scene.nc", "blue"), "scene"),
            ('NETCDF:"a b/scene.nc":blue', ("a b/scene.nc", "blue"), "scene"),
            ('HDF5:"scene.h5"://grid/blue', ("scene.h5", "blue"), "scene"),
            ('ZARR:"scene.zarr":/blue:0', ("scene.zarr", "blue"), "scene"),
            ('HDF4_EOS:EOS_GRID:"a.hdf":grid:sur_refl_b01', ("a.hdf", "sur_refl_b01"), "a"),
            ("SENTINEL2_L2A:MTD.xml:10m:EPSG_32631", ("MTD.xml:10m", "EPSG_32631"), "MTD"),
            ("https://host:80/a.tif?x=1:2", None, "a"),
            ("s3://bucket/a.tif", None, "a"),
            ("/vsizip/a.zip/b.tif", None, "b"),
            ("C:/folder/a.tif", None, "a"),
        ],
    )
    def test_names_of_sub_datasets(self, name, parts, clean):
        assert split_dataset_name(name) == parts
        assert stem(name) == clean

    @pytest.mark.parametrize("path", ["{}", "NETCDF:{}:nir"])
    def test_a_variable_names_its_band(self, tmp_path, path):
        write(tmp_path / "a.vrt.tif", ramp(1, 9, 9))
        with rasterio.open(tmp_path / "a.vrt.tif", "r+") as file:
            file.update_tags(1, NETCDF_VARNAME="nir")
        rasterio.shutil.copy(tmp_path / "a.vrt.tif", tmp_path / "scene.nc", driver="netCDF")
        scene = open_scene(path.format(tmp_path / "scene.nc"))
        assert [band.common_name for band in scene.bands] == ["nir"]
        assert scene.name == "scene"

    def test_no_path(self):
        with pytest.raises(SceneError, match="no scene was named"):
            open_scene([])

    def test_a_scale_tag_of_zero(self, tmp_path):
        path = write(tmp_path / "a.tif", ramp(1, 2, 2), scales=(0,))
        self.refuse(path, "scale tag 0", "--scale")
        assert open_scene(path, scale=2).bands[0].scale == 2

    def test_an_unknown_band(self, tmp_path):
        path = write(tmp_path / "a.tif", ramp(2, 2, 2), descriptions=["red", "nir"])
        self.refuse(path, "no band 7", "1 (red), 2 (nir)", bands=[7])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": 0}, "--scale must be"),
        ({"scale": float("nan")}, "--scale must be"),
        ({"offset": float("inf")}, "--offset must be"),
        ({"nodata": -9999}, "--nodata -9999 cannot occur in .*: it stores uint8"),
        ({"nodata": 0.5}, "--nodata 0.5 cannot occur"),
    ],
)
def test_overrides_that_cannot_work(tmp_path, options, says):
    path = write(tmp_path / "a.tif", ramp(1, 2, 2, "uint8"))
    with pytest.raises(SettingsError, match=says):
        open_scene(path, **options)


def test_nan_as_nodata_is_accepted(tmp_path):
    path = write(tmp_path / "a.tif", ramp(1, 2, 2, "float32"), nodata=1.0)
    assert open_scene(path, nodata=float("nan")).read(Window(0, 0, 2, 2))[1].all()


def test_bands_are_selected_by_number_name_or_common_name(tmp_path):
    stored = ramp(3, 2, 2)
    path = write(tmp_path / "a.tif", stored, descriptions=["B04", "B03", "near infrared"])
    scene = open_scene(path, bands=["nir", "B04", 2])
    assert [band.number for band in scene.bands] == [3, 1, 2]
    np.testing.assert_array_equal(scene.read(Window(0, 0, 2, 2))[0], stored[[2, 0, 1]])


def test_the_georeference_is_kept_as_it_is(tmp_path):
    scene = open_scene(write(tmp_path / "a.tif", ramp(1, 2, 2), tags={"AREA_OR_POINT": "Point"}))
    assert scene.georeference.transform == NORTH_UP
    assert scene.georeference.crs.to_epsg() == 32614
    assert scene.georeference.area_or_point == "Point"
