"""Ragged arrays: every function gives what a loop in plain Python gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoseg.raster.ragged import group_starts, index_ranges, repeat_each

groups = st.lists(st.tuples(st.integers(0, 10**12), st.integers(1, 9)), max_size=20)
with_empty_groups = st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 3)), max_size=20)


@given(groups)
def test_indices_of_groups(found):
    starts, sizes = (np.array([group[i] for group in found], np.int64) for i in (0, 1))
    assert index_ranges(starts, sizes).tolist() == [
        at for first, size in found for at in range(first, first + size)
    ]
    closed = [at for first, size in found for at in (*range(first, first + size - 1), first)]
    assert index_ranges(starts, sizes, close=True).tolist() == closed
    assert group_starts(sizes).tolist() == np.cumsum([0, *sizes.tolist()])[:-1].tolist()


@given(with_empty_groups)
def test_empty_groups_have_no_indices(found):
    starts, sizes = (np.array([group[i] for group in found], np.int64) for i in (0, 1))
    expected = [at for first, size in found for at in range(first, first + size)]
    assert index_ranges(starts, sizes).tolist() == expected


@given(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(1, 9)), max_size=20))
def test_values_repeated(found):
    values = np.array([value for value, _ in found], np.int32)
    sizes = np.array([size for _, size in found], np.int64)
    repeated = repeat_each(values, sizes)
    assert repeated.dtype == np.int32
    assert repeated.tolist() == np.repeat(values, sizes).tolist()
