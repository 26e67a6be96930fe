"""``--stats``: what is understood, and what is refused with which words."""

from __future__ import annotations

import re

import geopandas
import numpy as np
import pytest
from affine import Affine

from geoseg.errors import InputError, SceneError, SettingsError
from geoseg.maps.class_map_file import open_class_map
from geoseg.polygons.zonal.request import named_as, zonal_of_map, zonal_of_scene
from geoseg.scene import open_scene
from geoseg.verbs.polygonize import polygonize
from tests.polygons.conftest import UTM, small_map, write_raster  # noqa: F401 - a fixture


@pytest.fixture
def scene(small_map, tmp_path):  # noqa: F811
    shape = small_map.classes.shape
    bands = np.random.default_rng(1).integers(1, 5000, (3, *shape)).astype(np.uint16)
    return write_raster(tmp_path / "scene.tif", bands, nodata=0, names=["red", "nir", "Band 7 - odd"])


def test_columns_of_a_file(small_map, scene, tmp_path):  # noqa: F811
    result = polygonize(
        small_map.class_map, tmp_path / "out.gpkg", stats=["ndvi", "nir:std", "3:max"], stats_from=scene
    )
    rows = geopandas.read_file(tmp_path / "out.gpkg", layer="polygons")
    assert [*rows.columns[-4:]] == ["ndvi_mean", "nir_std", "band3_max", "geometry"]
    assert rows["ndvi_mean"].between(-1, 1).all()
    assert result.report["settings"]["stats"] == ["ndvi_mean", "nir_std", "band3_max"]
    assert result.report["settings"]["stats_from"] == [str(scene)]
    assert str(scene) in result.report["inputs"]


def test_statistics_stay_those_of_the_pixels(small_map, scene, tmp_path):  # noqa: F811
    asked = {"stats": ["ndvi", "red:std"], "stats_from": [scene]}
    polygonize(small_map.class_map, tmp_path / "a.parquet", **asked)
    polygonize(small_map.class_map, tmp_path / "b.parquet", simplify="2px", min_area="3px", **asked)
    before = geopandas.read_parquet(tmp_path / "a.parquet").set_index("id")
    after = geopandas.read_parquet(tmp_path / "b.parquet").set_index("id")
    assert 0 < len(after) < len(before)
    assert after["ndvi_mean"].equals(before.loc[after.index, "ndvi_mean"])
    assert after["red_std"].equals(before.loc[after.index, "red_std"])


def test_a_part_of_a_scene_is_found_by_its_place(small_map, tmp_path):  # noqa: F811
    shape = small_map.classes.shape
    big = np.arange((shape[0] + 9) * (shape[1] + 8), dtype=np.uint16).reshape(shape[0] + 9, shape[1] + 8)
    moved = UTM * Affine.translation(-3, -5)
    path = write_raster(tmp_path / "big.tif", big, nodata=None, names=["red"], transform=moved)
    assert zonal_of_map(["red"], path, open_class_map(small_map.class_map)).corner == (5, 3)


@pytest.mark.parametrize(
    ("stats", "message"),
    [
        (["ndvi:median"], '"median" is no statistic; write BAND:STATISTIC with one of mean, std'),
        ([":mean"], "write BAND:STATISTIC"),
        (["ndvi", "NDVI:mean"], "there is a column ndvi_mean already"),
    ],
)
def test_what_cannot_be_understood(scene, stats, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        zonal_of_scene(stats, open_scene(scene), (0, 0))


@pytest.mark.parametrize(
    ("stats", "message"),
    [
        (["evi"], "evi needs nir, red, blue, and there is no blue among its bands 1 (red)"),
        (["bsi"], "there is no swir16 and no blue"),
        (["thermal"], "--stats thermal is neither a band nor an index; the bands are 1 (red), 2 (nir)"),
        (["9"], "--stats 9 is neither a band nor an index"),
        (["savi"], "savi needs reflectance (0-1), and band 1 (red) holds whole numbers without a scale"),
    ],
)
def test_what_a_scene_lacks(scene, stats, message):
    with pytest.raises(SceneError, match=re.escape(message)):
        zonal_of_scene(stats, open_scene(scene), (0, 0))


def test_a_scale_makes_reflectance(scene):
    assert zonal_of_scene(["savi"], open_scene(scene, scale=1e-4), (0, 0)).columns[0].name == "savi_mean"


@pytest.mark.parametrize(("stats", "given"), [(["ndvi"], False), (None, True), ([], True)])
def test_one_without_the_other_is_refused(small_map, scene, tmp_path, stats, given):  # noqa: F811
    with pytest.raises(SettingsError, match="give both"):
        polygonize(small_map.class_map, tmp_path / "o.gpkg", stats=stats, stats_from=scene if given else None)


@pytest.mark.parametrize(
    "profile",
    [
        {"transform": UTM * Affine.translation(0.5, 0)},
        {"transform": UTM * Affine.scale(2)},
        {"crs": "EPSG:32615"},
        {"transform": Affine.identity(), "crs": None},
    ],
)
def test_another_grid_is_refused(small_map, tmp_path, profile):  # noqa: F811
    bands = np.ones((1, *small_map.classes.shape), np.uint8)
    path = write_raster(tmp_path / "other.tif", bands, nodata=None, names=["red"], **profile)
    with pytest.raises(InputError, match=r"does not lie on the grid of .*map\.tif.*rio warp .*--like"):
        zonal_of_map(["red"], path, open_class_map(small_map.class_map))


def test_a_scene_elsewhere_is_refused(small_map, tmp_path):  # noqa: F811
    bands = np.ones((1, *small_map.classes.shape), np.uint8)
    far = UTM * Affine.translation(1000, 0)
    path = write_raster(tmp_path / "other.tif", bands, nodata=None, names=["red"], transform=far)
    with pytest.raises(InputError, match="no pixel in common"):
        zonal_of_map(["red"], path, open_class_map(small_map.class_map))


def test_bands_without_names_take_the_networks(small_map, tmp_path):  # noqa: F811
    bands = np.ones((5, *small_map.classes.shape), np.uint16)
    path = write_raster(tmp_path / "plain.tif", bands, nodata=None, photometric="minisblack")
    named = named_as(open_scene(path).select([4, 3]), ["nir", "red"])
    assert [band.common_name for band in named.bands] == [None, None, "red", "nir", None]
    assert zonal_of_scene(["ndvi"], named, (0, 0)).measures[0].numbers == (4, 3)
