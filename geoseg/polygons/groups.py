"""Groups of unequal size that follow each other in one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def group_starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each group begins.

    Args:
        sizes: Size of each group.

    Returns:
        int64, as many.
    """
    starts = np.zeros(sizes.size, dtype=np.int64)
    np.cumsum(sizes[:-1], out=starts[1:])
    return starts


def spread(starts: NDArray[np.int64], sizes: NDArray[np.int64], *, close: bool = False) -> NDArray[np.int64]:
    """The indices ``start, start + 1, ...`` of every group, one group after the other.

    Args:
        starts: First index of each group.
        sizes: How many indices each group gets, at least one.
        close: Let every group end with its first index again.

    Returns:
        int64 (sum of sizes,).
    """
    within = np.arange(int(sizes.sum()), dtype=np.int64) - np.repeat(group_starts(sizes), sizes)
    if close:
        within[np.cumsum(sizes) - 1] = 0
    return within + np.repeat(starts, sizes)
