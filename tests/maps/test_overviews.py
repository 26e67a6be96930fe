"""Overviews: two by two pixels to one, against a slow count of each four and against GDAL."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from geoseg.maps.cog.pyramid import HALVE, shapes

FEW = st.sampled_from([0, 1, 2, 254, 255])
RASTERS = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda n: arrays(np.uint8, (n[0], 2 * n[1], 2 * n[2]), elements=FEW)
)


def most_frequent(values):
    """The value that is first to be seen as often as the most frequent one; nodata is not counted."""
    seen, best = {}, 255
    for value in values:
        if value != 255:
            seen[value] = seen.get(value, 0) + 1
            if best == 255 or seen[value] > seen[best]:
                best = value
    return best


def mean(values):
    valid = [int(value) for value in values if value != 255]
    return int(sum(valid) / len(valid) + 0.5) if valid else 255


@pytest.mark.parametrize(("name", "slow"), [("MODE", most_frequent), ("AVERAGE", mean)])
@given(pixels=RASTERS)
def test_every_four_pixels_make_one(name, slow, pixels):
    half = HALVE[name](pixels)
    assert half.dtype == np.uint8
    assert half.shape == (pixels.shape[0], pixels.shape[1] // 2, pixels.shape[2] // 2)
    for band, row, col in np.ndindex(half.shape):
        four = pixels[band, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
        assert half[band, row, col] == slow(four.ravel().tolist()), four


@pytest.mark.parametrize("name", ["MODE", "AVERAGE"])
@pytest.mark.parametrize("values", [(0, 1, 2, 3), (7, 9, 255), (3, 90, 100)])
def test_gdal_makes_the_same(name, values):
    pixels = np.random.default_rng(len(values)).choice(np.array(values, np.uint8), (1, 128, 96))
    profile = {"driver": "GTiff", "width": 96, "height": 128, "count": 1, "dtype": "uint8", "nodata": 255}
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(pixels)
            raster.build_overviews([2], Resampling[name.lower()])
        with rasterio.open(memory.name, overview_level=0) as overview:
            assert np.array_equal(overview.read(), HALVE[name](pixels))


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([16, 512]))
def test_levels_halve_until_one_tile_holds_all(rows, cols, tile):
    found = shapes((rows, cols), tile)
    assert found[0] == (rows, cols)
    assert all(max(shape) > tile for shape in found[:-1])
    assert max(found[-1]) <= tile
    for (h, w), half in pairwise(found):
        assert half == (-(-h // 2), -(-w // 2))
