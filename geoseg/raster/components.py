"""Connected components of a block of a class map, by run-length encoding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a block: adjacent pixels of one row that have the same value.

    Attributes:
        starts: Index of each run's first pixel in the flattened block, int64.
        lengths: Pixels in each run, int64.
        values: Class of each run, uint8.
        component: 4-connected component of each run, int32, 0 .. ``n_components - 1``.
        n_components: Number of components of the block, those of nodata included.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    values: NDArray[np.uint8]
    component: NDArray[np.int32]
    n_components: int


@dataclass(frozen=True, slots=True)
class Contacts:
    """Borders between runs of different values.

    Attributes:
        first: One run of each pair, int32.
        second: The other run, int32.
        sides: Length of their border in pixel sides, int64. Two runs have at most one contact.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    sides: NDArray[np.int64]


def find_runs(values: NDArray[np.uint8]) -> Runs:
    """Split a block into runs, and find the 4-connected component of each.

    Args:
        values: Class values, uint8 (rows, columns), at least one pixel.

    Returns:
        The runs in row order.
    """
    begins, starts, run_of_pixel = _split(values)
    return _connect(values, begins, starts, run_of_pixel)


def find_runs_and_contacts(values: NDArray[np.uint8]) -> tuple[Runs, Contacts]:
    """Split a block into runs, and find the borders between runs of different values.

    Args:
        values: Class values, uint8 (rows, columns), at least one pixel.

    Returns:
        The runs in row order; contacts between rows, then those inside rows.
    """
    begins, starts, run_of_pixel = _split(values)
    runs = _connect(values, begins, starts, run_of_pixel)
    rows, columns = values.shape
    # Between two rows, a contact begins wherever a run begins in one of them.
    at = np.flatnonzero(begins[1:] | begins[:-1])
    sides = np.diff(at, append=(rows - 1) * columns)
    differ = np.flatnonzero(values.ravel()[at] != values.ravel()[at + columns])
    at = at[differ]
    right = np.flatnonzero(runs.starts % columns).astype(np.int32)  # runs with another run on their left
    return runs, Contacts(
        np.concatenate([run_of_pixel[at], right - 1]),
        np.concatenate([run_of_pixel[at + columns], right]),
        np.concatenate([sides[differ], np.ones(right.size, dtype=np.int64)]),
    )


def _split(values: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int32]]:
    """Find where runs begin, as bool (rows, columns) and as indices; and the run of each pixel, int32."""
    begins = np.ones(values.shape, dtype=bool)
    np.not_equal(values[:, 1:], values[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    runs = np.cumsum(begins.ravel(), dtype=np.int32)  # faster than repeating
    runs -= 1
    return begins, starts, runs


def _connect(
    values: NDArray[np.uint8],
    begins: NDArray[np.bool_],
    starts: NDArray[np.int64],
    run_of_pixel: NDArray[np.int32],
) -> Runs:
    """Find the components: link runs of the same value that overlap in adjacent rows."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    linked = values[1:] == values[:-1]
    linked &= begins[1:] | begins[:-1]
    above = np.flatnonzero(linked)
    upper = run_of_pixel.take(above)
    lower = run_of_pixel.take(above + values.shape[1])
    pointers = np.zeros(starts.size + 1, dtype=np.int32)
    np.cumsum(np.bincount(upper, minlength=starts.size), out=pointers[1:])
    links = csr_array((np.ones(lower.size), lower, pointers), shape=(starts.size, starts.size))
    n_components, component = connected_components(links, directed=False)
    lengths = np.diff(starts, append=values.size)
    return Runs(starts, lengths, values.ravel()[starts], component, int(n_components))


def sum_by_group(group: NDArray[np.int32], amounts: NDArray[np.int64], n_groups: int) -> NDArray[np.int64]:
    """Sum integers by group, exactly.

    Args:
        group: Group of each amount, 0 .. ``n_groups - 1``.
        amounts: int64, same length.
        n_groups: Number of groups.

    Returns:
        int64 (n_groups,).
    """
    if amounts.size and int(np.abs(amounts).max()) * amounts.size >= 2**53:
        total = np.zeros(n_groups, dtype=np.int64)
        np.add.at(total, group, amounts)
        return total
    # Below 2^53 every partial sum is an integer that float64 holds exactly.
    return np.bincount(group, weights=amounts, minlength=n_groups).astype(np.int64)
