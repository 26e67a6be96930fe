"""Measure how the land covers of the real Dakota scene look, and write `spectra.json`.

    GEOSEG_DATA=... python sample_tiles/measure.py

Only needed to renew the constants; the generator reads `spectra.json`. Needs scipy.

A *field* is a connected patch of one class, one pixel eroded (so that mixed border pixels stay out), of at
least `MIN_PIXELS` pixels. Fields of a class are grouped into a few *covers* (k-means on their mean spectra),
because one class looks different in different states: ripe or green soybeans, stubble or tilled wheat, open
water or marsh. For every cover: its share of the class, the mean of the field means, the covariance of the
field means (between fields) and of pixels around their field's mean (within fields). Units: stored values,
reflectance x 10000, bands blue, green, red, nir, swir16, swir22.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from scipy import ndimage
from scipy.cluster.vq import kmeans2

MIN_PIXELS = 60
COVERS = {1: 1, 2: 3, 3: 3, 4: 2, 5: 3, 6: 3, 7: 1, 8: 4, 9: 1}
SOURCE = (
    "Measured on Landsat 8 OLI (USGS), North Dakota, 2015-09-02, with labels of the Cropland Data Layer "
    "(USDA NASS), both by way of Ziheng Sun (2019), Ag-Net Sample Training Dataset, "
    "github.com/ZihengSun/Ag-Net-Dataset, MIT."
)


def fields_of(labels: np.ndarray, class_id: int, min_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Field number of every pixel (0: none) and the pixels of every field, one pixel eroded."""
    patches, count = ndimage.label(ndimage.binary_erosion(labels == class_id))
    sizes = np.bincount(patches.ravel(), minlength=count + 1)
    keep = sizes >= min_pixels
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0)
    return numbers[patches], sizes[keep]


def covers_of(values: np.ndarray, owner: np.ndarray, sizes: np.ndarray, covers: int) -> list[dict[str, Any]]:
    """The covers of one class, most common first.

    Args:
        values: (bands, pixels) stored values of pixels inside fields.
        owner: (pixels,) field index of each pixel, from 0.
        sizes: (fields,) pixels of each field.
        covers: How many groups to make.
    """
    means = np.stack([np.bincount(owner, band) / sizes for band in values], axis=1)
    scaled = (means - means.mean(0)) / means.std(0)
    group = kmeans2(scaled, covers, seed=1, minit="++")[1] if covers > 1 else np.zeros(len(means), int)
    rows = []
    for number in range(covers):
        mine = group == number
        pixels = mine[owner]
        rest = values[:, pixels] - means[owner[pixels]].T
        rows.append(
            {
                "share": round(float(sizes[mine].sum() / sizes.sum()), 3),
                "fields": int(mine.sum()),
                "mean": np.round(np.average(means[mine], axis=0)).astype(int).tolist(),
                "between": np.round(np.cov(means[mine].T)).astype(int).tolist(),
                "within": np.round(np.cov(rest)).astype(int).tolist(),
                "between_factors": factors(np.cov(means[mine].T), 3),
                "within_factors": factors(np.cov(rest), 2),
            }
        )
    return sorted(rows, key=lambda row: -row["share"])


def factors(covariance: np.ndarray, count: int) -> list[list[int]]:
    """The `count` strongest principal components, each scaled by its standard deviation, rounded.

    Kept in the file so that the generator needs no linear algebra, whose last bits differ between machines.
    """
    variances, vectors = np.linalg.eigh(covariance)
    rows = []
    for index in range(1, count + 1):
        vector = vectors[:, -index] * np.sqrt(variances[-index])
        rows.append(np.round(vector * np.sign(vector[np.abs(vector).argmax()])).astype(int).tolist())
    return rows


def measure(folder: Path) -> dict[str, Any]:
    """Read the real scene and labels in `folder` and return what goes into `spectra.json`."""
    with rasterio.open(folder / "scene.tif") as scene, rasterio.open(folder / "classes.tif") as classes:
        values, labels = scene.read(), classes.read(1)
    result: dict[str, Any] = {"source": SOURCE, "classes": {}}
    for class_id, covers in COVERS.items():
        fields, sizes = fields_of(labels, class_id, MIN_PIXELS if class_id not in (7, 9) else 25)
        inside = fields > 0
        result["classes"][class_id] = covers_of(
            values[:, inside].astype(np.float64), fields[inside] - 1, sizes, covers
        )
    return result


if __name__ == "__main__":
    found = measure(Path(os.environ["GEOSEG_DATA"]) / "dakota")
    text = re.sub(r"\[[-\d,\s]+\]", lambda row: " ".join(row.group().split()), json.dumps(found, indent=1))
    Path(__file__).with_name("spectra.json").write_text(text + "\n")
