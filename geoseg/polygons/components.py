"""Connected components of one block of a class map, and sums over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.refine.runs import Runs, find_runs
from geoseg.refine.step import NODATA

__all__ = ["NODATA", "Runs", "find_runs", "sum_by_group"]


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
