"""Files of a plain run in real QGIS: named classes, the model's colours, nodata transparent, all in place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

import geoseg
from geoseg.models import load_card
from tests.conftest import SAMPLES, TINY_CLASSES, make_scene

pytestmark = pytest.mark.qgis

BACKGROUND = (255, 0, 255)  # what look.py draws behind the layers
SCALE = 5  # pixels of a picture for one of the map: the middle one is no border
PERCENT = ((0, "#d7191c"), (25, "#fdae61"), (50, "#ffffbf"), (75, "#a6d96a"), (100, "#1a9641"))
COLUMNS = {
    "id": "String",
    "class_id": "Integer",
    "class_name": "String",
    "area_ha": "Real",
    "perimeter_m": "Real",
    "pixel_count": "Integer64",
    "confidence": "Real",
    "confidence_min": "Real",
    "runner_up": "String",
    "touches_edge": "Boolean",
    "date": "Date",
}


@dataclass(frozen=True)
class Shown:
    """The files of one run and what QGIS made of them."""

    files: dict[str, Path]
    seen: dict

    def layer(self, name):
        """The one layer that QGIS finds in a file."""
        (layer,) = self.seen["layers"][str(self.files[name])]
        assert layer["valid"]
        return layer

    def pixels(self, name):
        """What QGIS drew at the middle of every pixel of the map: uint8 (rows, columns, 3)."""
        with rasterio.open(f"{self.files[name]}.png") as picture:
            return np.moveaxis(picture.read((1, 2, 3)), 0, -1)[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE]

    def read(self, name):
        with rasterio.open(self.files[name]) as raster:
            return raster.read(1)


def show(qgis, scene, folder, **options):
    """Predict with every output, and drop all of them into QGIS."""
    files = {name: folder / f"{name}.tif" for name in ("classes", "confidence", "probabilities")}
    files |= {name: folder / f"fields.{name}" for name in ("gpkg", "fgb", "parquet")}
    rasters = {name: files[name] for name in ("confidence", "probabilities")}
    geoseg.predict(scene, output=files["classes"], polygons=files["gpkg"], **rasters, **options)
    for name in ("fgb", "parquet"):
        geoseg.polygonize(files["classes"], output=files[name], **rasters)
    return Shown(files, qgis.run("look.py", str(SCALE), given=[str(path) for path in files.values()]))


@pytest.fixture(scope="module")
def farmland(qgis, tmp_path_factory):
    """A sample scene with a corner of nodata, mapped by the bundled model; no style is named anywhere."""
    with rasterio.open(SAMPLES / "farmland.tif") as source:
        window = rasterio.windows.Window(0, 0, 160, 130)
        profile = source.profile | {"width": 160, "height": 130, "transform": source.window_transform(window)}
        folder = tmp_path_factory.mktemp("farmland")
        with rasterio.open(folder / "scene.tif", "w", **profile | {"tiled": False}) as scene:
            scene.write(source.read(window=window))
            scene.descriptions, scene.scales = source.descriptions, source.scales
    return show(qgis, folder / "scene.tif", folder, date="2024-09-01", backend="torch")


@pytest.fixture(scope="module")
def picture(qgis, tmp_path_factory, tiny_model):
    """A scene without any georeferencing."""
    folder = tmp_path_factory.mktemp("picture")
    scene = make_scene(folder / "scene.tif", (60, 90), crs=None, transform=Affine.identity())
    return show(qgis, scene, folder, model=tiny_model, force=True)


def rgb(color):
    return tuple(bytes.fromhex(color[1:]))


def painted(ids, classes):
    """A map in the colours of its classes, background where there is none."""
    table = np.full((256, 3), BACKGROUND, np.uint8)
    for item in classes:
        table[item.id] = rgb(item.color)
    return table[ids]


BUNDLED = load_card("dakota-crops").classes
LEGEND = [[item.id, item.name, item.color] for item in BUNDLED]


def test_the_class_map_has_the_models_nine_names_and_colours(farmland):
    layer = farmland.layer("classes")
    assert len(LEGEND) == 9
    assert (layer["renderer"], layer["classes"], layer["nodata"]) == ("paletted", LEGEND, 255)
    assert layer["legend"][1:] == [item.name for item in BUNDLED]


def test_the_polygons_have_them_too(farmland):
    layer = farmland.layer("gpkg")
    assert (layer["renderer"], layer["column"], layer["classes"]) == ("categorizedSymbol", "class_id", LEGEND)
    assert layer["name"] == "polygons"  # one layer: the table of styles is not offered as another
    colours = {item.name: item.color for item in BUNDLED}
    assert len(layer["drawn"]) > 4
    assert layer["drawn"] == {name: colours[name] for name in layer["drawn"]}


@pytest.mark.parametrize("name", ["classes", "gpkg"])
def test_what_is_drawn_is_the_class_of_every_pixel(farmland, name):
    ids = farmland.read("classes")
    assert 0 < np.mean(ids == 255) < 0.5
    np.testing.assert_array_equal(farmland.pixels(name), painted(ids, BUNDLED))


@pytest.mark.parametrize("name", ["confidence", "probabilities"])
def test_confidence_is_a_ramp_in_percent(farmland, name):
    layer = farmland.layer(name)
    assert (layer["renderer"], layer["nodata"]) == ("singlebandpseudocolor", 255)
    assert layer["ramp"] == [[percent / 100, f"{percent} %", color] for percent, color in PERCENT]
    assert layer["legend"][1:] == ["0 %", "25 %", "50 %", "75 %", "100 %"]


@pytest.mark.parametrize(("name", "one"), [("confidence", 100), ("probabilities", 250)])
def test_what_is_drawn_is_the_confidence_of_every_pixel(farmland, name, one):
    values = farmland.read(name)
    stops = np.array([rgb(color) for _, color in PERCENT], float)
    shares = np.array([percent for percent, _ in PERCENT]) / 100
    expected = np.stack([np.interp(values / one, shares, channel) for channel in stops.T], axis=-1)
    expected[values == 255] = BACKGROUND
    assert np.unique(values).size > 20
    assert np.abs(farmland.pixels(name) - expected).max() < 1.01


@pytest.mark.parametrize("name", ["classes", "confidence", "probabilities", "gpkg", "fgb"])
def test_every_layer_lies_where_the_scene_lies(farmland, name):
    layer = farmland.layer(name)
    assert layer["crs"] == "EPSG:32614"
    west, north, east, south = layer["extent"]
    assert (west, north, east, south) == pytest.approx((500_000, 5_200_000, 504_800, 5_196_100))


@pytest.mark.parametrize("name", ["gpkg", "fgb", "parquet"])
def test_columns_and_rows_are_the_tables(farmland, name):
    if name == "parquet" and not farmland.seen["parquet"]:
        pytest.skip("this QGIS was built without GDAL's Parquet driver")
    layer = farmland.layer(name)
    expected = COLUMNS | ({"date": "DateTime"} if name == "fgb" else {})  # FlatGeobuf has no type for days
    columns = {key: kind for key, kind in layer["columns"].items() if key not in ("fid", "bbox")}
    assert list(columns.items()) == list(expected.items())
    assert layer["rows"] == len(geopandas.read_parquet(farmland.files["parquet"]))


@pytest.mark.parametrize("name", ["classes", "gpkg"])
def test_without_georeferencing_map_and_polygons_lie_on_each_other(picture, name):
    layer = picture.layer(name)
    assert (layer["crs"], layer["extent"]) == ("", [0, 0, 90, -60])
    np.testing.assert_array_equal(picture.pixels(name), painted(picture.read("classes"), TINY_CLASSES))
