"""Sums over runs, packed three to a number, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.polygons.trace import sums as run_sums
from geoseg.polygons.trace.sums import sum_runs
from geoseg.raster.components import find_runs


def plainly(plane, runs):
    flat = np.where(plane == 255, 0, plane).astype(np.int64).ravel()
    ends = np.append(runs.starts[1:], flat.size)
    return [flat[start:end].sum() for start, end in zip(runs.starts, ends, strict=True)]


@given(st.integers(0, 9), st.integers(1, 70), st.integers(1, 30), st.integers(0, 99))
def test_every_plane_is_added_up_over_every_run(count, rows, cols, seed):
    rng = np.random.default_rng(seed)
    runs = find_runs(rng.integers(0, 3, (rows, cols), np.uint8))
    planes = [rng.choice(np.array([0, 1, 200, 254, 255], np.uint8), (rows, cols)) for _ in range(count)]
    found = sum_runs(planes, runs)
    assert len(found) == count
    for plane, sums in zip(planes, found, strict=True):
        assert sums.dtype == np.int64
        assert sums.tolist() == plainly(plane, runs)


@pytest.mark.parametrize("width", [8192, 8256, 8257, 20_000])
def test_the_longest_runs_do_not_spill_into_their_neighbours(width):
    runs = find_runs(np.zeros((2, width), np.uint8))
    planes = np.stack([np.full((2, width), value, np.uint8) for value in (254, 253, 254)])
    assert [sums.tolist() for sums in sum_runs(planes, runs)] == [
        [value * width] * len(runs.starts) for value in (254, 253, 254)
    ]


def test_three_sums_of_the_longest_run_fit_into_a_number():
    assert run_sums._FIELDS * run_sums._BITS <= 63
