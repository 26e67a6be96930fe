from __future__ import annotations

import os
from pathlib import Path

import covers
import numpy as np
import pytest
import rasterio
from rasterio.windows import Window


def test_fields_are_eroded_and_large_enough():
    measure = pytest.importorskip("measure")
    labels = np.zeros((40, 40), np.uint8)
    labels[2:14, 2:14] = 3  # 10 x 10 after erosion
    labels[20:25, 20:25] = 3  # 3 x 3 after erosion: too small
    labels[20:40, 2:14] = 5
    fields, sizes = measure.fields_of(labels, 3, min_pixels=60)
    assert sizes.tolist() == [100]
    assert np.array_equal(np.nonzero(fields == 1)[0][[0, -1]], [3, 12])
    assert fields.max() == 1


def test_covariances_are_told_apart():
    """Two fields that differ by a known step, each with known texture."""
    measure = pytest.importorskip("measure")
    dice = np.random.default_rng(2)
    owner = np.repeat(np.arange(200), 100)
    steps = dice.normal(0, 50, (200, 1)) * np.ones(6)
    values = (1000 + steps[owner] + dice.normal(0, 10, (owner.size, 6))).T
    row = measure.covers_of(values, owner, np.full(200, 100), 1)[0]
    assert np.abs(np.array(row["mean"]) - 1000).max() < 12
    assert 1800 < np.array(row["between"])[0, 1] < 3300
    assert abs(np.diag(row["within"]).mean() - 100) < 5
    first = np.array(row["between_factors"])[0]
    assert np.ptp(first) <= 2


@pytest.mark.realdata
@pytest.mark.skipif(
    "GEOSEG_DATA" not in os.environ, reason="GEOSEG_DATA names no folder with the real scenes"
)
def test_the_constants_are_those_of_the_real_scene():
    """Corn in a quarter of the scene is about what the constants say of the whole."""
    measure = pytest.importorskip("measure")
    folder, window = Path(os.environ["GEOSEG_DATA"]) / "dakota", Window(0, 4608, 7424, 2048)
    with rasterio.open(folder / "scene.tif") as scene, rasterio.open(folder / "classes.tif") as classes:
        values, labels = scene.read(window=window), classes.read(1, window=window)
    fields, sizes = measure.fields_of(labels, 1, measure.MIN_PIXELS)
    inside = fields > 0
    row = measure.covers_of(values[:, inside].astype(float), fields[inside] - 1, sizes, 1)[0]
    spread = np.sqrt(np.diag(covers.MEASURED["1"][0]["between"]))
    assert (np.abs(np.array(row["mean"]) - covers.MEASURED["1"][0]["mean"]) < 0.5 * spread).all()
