"""Small scenes with labels for tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from geoseg.classes import LandClass
from geoseg.labels.labels import open_labels
from geoseg.scene import open_scene
from geoseg.training.ground.labelled_scene import LabelledScene

CLASSES = (
    LandClass(2, "corn", "#ffd300"),
    LandClass(5, "grass", "#e8ffbf"),
    LandClass(7, "water", "#4b70a3"),
)
PLACE = Affine(10, 0, 500000, 0, -10, 5200000)


def write(path: Path, array: np.ndarray, **profile) -> Path:
    array = array if array.ndim == 3 else array[None]
    settings = {
        "driver": "GTiff",
        "dtype": array.dtype,
        "count": len(array),
        "crs": "EPSG:32614",
        "transform": PLACE,
    }
    settings |= {"height": array.shape[1], "width": array.shape[2]} | profile
    with rasterio.open(path, "w", **settings) as raster:
        raster.write(array)
    return path


def name_bands(path: Path, names: tuple[str, ...], scale: float = 1.0) -> None:
    with rasterio.open(path, "r+") as raster:
        raster.descriptions = names
        raster.scales = (scale,) * len(names)


def field_map(shape, seed=0, patch=13) -> np.ndarray:
    """Labels in patches, uint8, 0 = none."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([2, 5, 7, 0], (shape[0] // patch + 1, shape[1] // patch + 1), p=[0.4, 0.3, 0.2, 0.1])
    return np.kron(coarse, np.ones((patch, patch)))[: shape[0], : shape[1]].astype(np.uint8)


def make_files(folder: Path, shape=(150, 130), seed=0, name="scene", holes=True) -> tuple[Path, Path]:
    """A scene whose two bands tell its three classes apart, with a nodata corner, and its labels."""
    rng = np.random.default_rng(seed + 100)
    labels = field_map(shape, seed)
    red = np.select([labels == 2, labels == 5, labels == 7], [1000, 2500, 500], 1500)
    nir = np.select([labels == 2, labels == 5, labels == 7], [4000, 2500, 300], 2000)
    values = (np.stack([red, nir]) + rng.normal(0, 150, (2, *shape))).clip(1, 10000).astype(np.int16)
    if holes:
        values[:, : shape[0] // 6, : shape[1] // 5] = -9999
    scene = write(folder / f"{name}.tif", values, nodata=-9999)
    name_bands(scene, ("red", "nir"), 0.0001)
    return scene, write(folder / f"{name}_labels.tif", labels, nodata=0)


def make_labelled_scene(
    folder: Path, shape=(150, 130), seed=0, name="scene", rim=0, holes=True
) -> LabelledScene:
    scene_path, label_path = make_files(folder, shape, seed, name, holes)
    scene = open_scene(scene_path)
    return LabelledScene(scene, open_labels(label_path, scene, CLASSES), (2, 5, 7), rim)
