"""Small class maps, labels and confidences for the tests of assessment."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.transform import Affine

from geoseg.maps.sidecar import class_table_xml

NAMES = [(1, "corn", (255, 211, 0)), (2, "soybeans", (38, 112, 0)), (7, "water", (75, 112, 163))]
PLACE = {"crs": "EPSG:32614", "transform": Affine(30, 0, 500_000, 0, -30, 5_000_000)}


def write(path, values, *, nodata=255, names=None, **profile):
    """Write (rows, columns) as a raster; with ``names`` as a class map that names its classes."""
    options = PLACE | {"driver": "GTiff", "nodata": nodata} | profile
    options = {key: value for key, value in options.items() if value is not None}
    height, width = values.shape
    with rasterio.open(path, "w", count=1, height=height, width=width, dtype=values.dtype, **options) as file:
        file.write(values, 1)
    if names is not None:
        path.with_name(path.name + ".aux.xml").write_text(class_table_xml(names))
    return path


def patches(rng, shape, side, values):
    """A random class raster of square patches."""
    rows, cols = (-(-n // side) for n in shape)
    coarse = rng.choice(np.array(values, np.uint8), (rows, cols))
    return np.kron(coarse, np.ones((side, side), np.uint8))[: shape[0], : shape[1]]


def random_pair(seed, shape=(90, 120), noise=0.25, empty=0.1):
    """Labels and a map that mostly agree, both with nodata, and a confidence."""
    rng = np.random.default_rng(seed)
    labels = patches(rng, shape, 7, [1, 2, 7])
    mapped = np.where(rng.random(shape) < noise, rng.choice(np.array([1, 2, 7], np.uint8), shape), labels)
    confidence = rng.integers(0, 101, shape).astype(np.uint8)
    labels = np.where(patches(rng, shape, 11, [0, 1]) * (rng.random(shape) < empty), 255, labels)
    gone = rng.random(shape) < empty / 2
    return (
        labels.astype(np.uint8),
        np.where(gone, 255, mapped).astype(np.uint8),
        np.where(gone, 255, confidence).astype(np.uint8),
    )
