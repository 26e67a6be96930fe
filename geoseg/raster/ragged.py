"""Ragged arrays: groups of unequal size, one after the other in one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def group_starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the index at which each group begins.

    Args:
        sizes: Size of each group.

    Returns:
        int64 (groups,).
    """
    starts = np.zeros(sizes.size, dtype=np.int64)
    np.cumsum(sizes[:-1], out=starts[1:])
    return starts


def index_ranges(
    starts: NDArray[np.integer], sizes: NDArray[np.integer], *, close: bool = False
) -> NDArray[np.int64]:
    """Concatenate the ranges ``start, start + 1, ..., start + size - 1`` of all groups.

    Args:
        starts: First index of each group.
        sizes: Number of indices in each group.
        close: Replace the last index of every group by its first one, which closes a ring.

    Returns:
        int64 (sum of sizes,).
    """
    if not sizes.all():
        starts, sizes = starts[sizes > 0], sizes[sizes > 0]
    if sizes.size == 0:
        return np.zeros(0, dtype=np.int64)
    ends = np.cumsum(sizes, dtype=np.int64)
    # A cumulative sum of ones that jumps where a group begins is much faster than repeating the starts.
    index = np.ones(int(ends[-1]), dtype=np.int64)
    index[0] = starts[0]
    index[ends[:-1]] += starts[1:] - starts[:-1] - sizes[:-1]
    np.cumsum(index, out=index)
    if close:
        index[ends - 1] = starts
    return index


def repeat_each(values: NDArray[np.int32], sizes: NDArray[np.int64]) -> NDArray[np.int32]:
    """Repeat values as ``numpy.repeat`` does, much faster for many short groups.

    Args:
        values: One value for each group, int32.
        sizes: How often to repeat each value, at least once.

    Returns:
        int32 (sum of sizes,).
    """
    repeated: NDArray[np.int32] = np.zeros(int(sizes.sum()), dtype=np.int32)
    if sizes.size:
        # A cumulative sum of the differences; they may overflow, because addition wraps around.
        repeated[group_starts(sizes)] = np.diff(values, prepend=np.int32(0))
        np.cumsum(repeated, out=repeated)
    return repeated
