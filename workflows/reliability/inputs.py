"""Small inputs of every kind that geoseg reads: a scene, a model, labels, areas, maps, recipes."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import rasterio.shutil
import torch
from rasterio.transform import Affine
from shapely.geometry import Polygon, box

from geoseg.classes import LandClass
from geoseg.models import build_network, save_model
from geoseg.models.card import ModelBand, ModelCard

CRS, PLACE, SHAPE = "EPSG:32614", Affine(10, 0, 500000, 0, -10, 5200000), (150, 130)
CLASSES = (
    LandClass(2, "corn", "#ffd300"),
    LandClass(5, "grass", "#e8ffbf"),
    LandClass(7, "water", "#4b70a3"),
)
RECIPE = """
scenes = "scene.tif"
labels = "labels.tif"
[classes]
2 = "corn"
5 = { name = "grass", color = "#e8ffbf" }
7 = "water"
[reading]
scale = 0.0001
[split]
block_size = "40px"
folds = 3
[chips]
size = 32
per_epoch = 32
[model]
architecture = "unet-classic"
options = { depth = 2, width = 8 }
chip_size = 64
[[loss.terms]]
name = "cross_entropy"
smoothing = 0.1
[augment]
flips = true
[run]
epochs = 1
rate = 0.01
"""


def make_scene(path: Path, shape: tuple[int, int] = SHAPE, seed: int = 0, **profile: object) -> Path:
    """Write a scene of two bands with holes, reflectance x 10000."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, shape[0] // 8 + 2, shape[1] // 8 + 2)) * 4000
    values = np.kron(coarse, np.ones((8, 8)))[:, : shape[0], : shape[1]] + rng.normal(0, 150, (2, *shape))
    values = values.clip(1, 10000).astype(np.int16)
    values[:, : shape[0] // 5, : shape[1] // 4] = -9999
    write(path, values, nodata=-9999, **profile)
    with rasterio.open(path, "r+") as raster:
        raster.descriptions, raster.scales = ("red", "nir"), (0.0001, 0.0001)
    return path


def write(path: Path, values: np.ndarray, **profile: object) -> Path:
    """Write (bands, rows, columns) as a GeoTIFF."""
    count, height, width = values.shape
    settings = {"driver": "GTiff", "dtype": values.dtype, "crs": CRS, "transform": PLACE} | profile
    with rasterio.open(path, "w", count=count, height=height, width=width, **settings) as raster:
        raster.write(values)
    return path


def make_model(folder: Path, seed: int = 0) -> Path:
    """Write a package of a tiny network with random weights."""
    card = ModelCard(
        name="tiny",
        bands=tuple(ModelBand(name, 0.2, 0.1, 0.0, 0.5) for name in ("red", "nir")),
        classes=CLASSES,
        architecture="unet-classic",
        network={"depth": 2, "width": 4},
        chip_size=64,
        overlap=16,
        units="reflectance",
        value_scale=0.0001,
        gsd=10.0,
        license="Apache-2.0",
        trained_on="nothing: random weights",
    )
    torch.manual_seed(seed)
    network = build_network("unet-classic", bands=2, classes=3, encoder=None, depth=2, width=4).eval()
    return save_model(folder, card, network)


def make_all(folder: Path) -> Path:
    """Fill a folder with all of it."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = make_scene(folder / "scene.tif")
    make_scene(
        folder / "tiled.tif", tiled=True, blockxsize=64, blockysize=64, compress="deflate", predictor=2
    )
    rasterio.shutil.copy(scene, folder / "scene.vrt", driver="VRT")
    rng = np.random.default_rng(1)
    classes = np.kron(rng.choice([2, 5, 7, 255], (12, 11)), np.ones((13, 13)))[None, : SHAPE[0], : SHAPE[1]]
    write(folder / "map.tif", classes.astype(np.uint8), nodata=255, compress="lzw")
    with rasterio.open(folder / "map.tif", "r+") as raster:
        raster.write_colormap(1, {2: (255, 211, 0, 255), 5: (232, 255, 191, 255), 7: (75, 112, 163, 255)})
    write(folder / "labels.tif", np.where(classes == 255, 0, classes).astype(np.uint8), nodata=0)
    write(folder / "sure.tif", rng.integers(0, 101, (1, *SHAPE)).astype(np.uint8), nodata=255)
    fields = [box(500100, 5198700, 500500, 5199400), box(500600, 5199000, 501000, 5199600)]
    fields.append(
        Polygon(
            [(500200, 5199500), (500800, 5199900), (500300, 5199900)],
            [[(500350, 5199700), (500400, 5199800), (500340, 5199800)]],
        )
    )
    table = geopandas.GeoDataFrame(
        {"name": ["corn", "grass", "water"], "n": [2, 5, 7]}, geometry=fields, crs=CRS
    )
    table.to_file(folder / "fields.gpkg")
    table.to_file(folder / "fields.fgb")
    table.to_crs(4326).to_file(folder / "fields.geojson")
    model = make_model(folder / "model")
    shutil.make_archive(str(folder / "model"), "zip", model)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder
