"""Patches against scipy's labelling, however they are cut into windows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from geoseg.raster.patches import find_patches


def reading(values):
    return lambda window: values[window.slices()]


def by_scipy(values):
    """Patches of each value, and the size of the patch at every pixel."""
    counts, sizes = np.zeros(256, np.int64), np.zeros(values.shape, np.int64)
    for value in set(np.unique(values).tolist()) - {255}:
        named, counts[value] = ndimage.label(values == value)
        inside = named > 0
        sizes[inside] = np.bincount(named.ravel())[named[inside]]
    return counts, sizes


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 4, 255])
    ),
    st.integers(1, 15),
)
def test_patches_are_what_scipy_finds_whatever_the_window(values, size):
    rows, cols = (axis.ravel() for axis in np.indices(values.shape))
    found = find_patches(reading(values), values.shape, rows, cols, window_size=size)
    counts, sizes = by_scipy(values)
    assert (found.counts == counts).all()
    assert (found.sizes.reshape(values.shape) == sizes).all()


def test_a_patch_that_winds_through_many_windows_is_one():
    values = np.full((40, 40), 255, np.uint8)
    values[::4] = 3
    for row in range(0, 36, 4):  # a snake: from row to row at alternating ends
        values[row : row + 5, -1 if row % 8 == 0 else 0] = 3
    found = find_patches(
        reading(values), values.shape, np.array([0, 36, 1]), np.array([0, 20, 5]), window_size=7
    )
    assert found.counts[3] == 1
    assert found.sizes.tolist() == [(values == 3).sum(), (values == 3).sum(), 0]
