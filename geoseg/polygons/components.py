"""Connected components of one block of a class map, found on its runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NODATA = 255
"""The value of pixels that hold no class in every array of class values of this stage."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a block: pixels of one row that follow each other and have one value.

    Attributes:
        starts: Index of each run's first pixel in the flattened block, int64.
        lengths: Pixels in each run, int64.
        values: Class of each run, uint8.
        component: 4-connected component of each run, int32, 0 .. ``n_components - 1``.
        n_components: How many components the block has, those of nodata included.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    values: NDArray[np.uint8]
    component: NDArray[np.int32]
    n_components: int


def find_runs(values: NDArray[np.uint8]) -> Runs:
    """Split a block into runs and say which 4-connected component each belongs to.

    Args:
        values: Class values, uint8 (rows, columns), at least one pixel.

    Returns:
        The runs in row order.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = values.shape
    begins = np.ones((rows, columns), dtype=bool)
    np.not_equal(values[:, 1:], values[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=values.size)
    run_of_pixel = np.repeat(np.arange(starts.size, dtype=np.int32), lengths)

    # Two runs that lie above each other and share a value are linked once, where their overlap begins.
    linked = values[1:] == values[:-1]
    linked &= begins[1:] | begins[:-1]
    above = np.flatnonzero(linked)
    upper = run_of_pixel[above]
    lower = run_of_pixel[above + columns]
    pointers = np.zeros(starts.size + 1, dtype=np.int32)
    np.cumsum(np.bincount(upper, minlength=starts.size), out=pointers[1:])
    links = csr_array((np.ones(lower.size), lower, pointers), shape=(starts.size, starts.size))
    n_components, component = connected_components(links, directed=False)
    return Runs(starts, lengths, values.ravel()[starts], component, int(n_components))


def sum_by_group(group: NDArray[np.int32], amounts: NDArray[np.int64], n_groups: int) -> NDArray[np.int64]:
    """Add up integers by group, exactly.

    Args:
        group: Group of each amount, 0 .. ``n_groups - 1``.
        amounts: int64, same length.
        n_groups: How many groups there are.

    Returns:
        int64 (n_groups,).
    """
    if amounts.size and int(np.abs(amounts).max()) * amounts.size >= 2**53:
        total = np.zeros(n_groups, dtype=np.int64)
        np.add.at(total, group, amounts)
        return total
    # Below 2^53 every partial sum is a whole number that float64 holds exactly, whatever the order.
    return np.bincount(group, weights=amounts, minlength=n_groups).astype(np.int64)
