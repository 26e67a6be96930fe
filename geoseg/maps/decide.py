"""From blended sums to the bytes of a map; whole-number arithmetic, so every run rounds alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.inference.blend import SUM_ONE
from geoseg.inference.decision import Decision, decide

__all__ = ["CONFIDENCE_ONE", "PROBABILITY_BYTE_ONE", "Decision", "decide", "to_bytes"]

CONFIDENCE_ONE = 100
"""The stored confidence that stands for 1."""

PROBABILITY_BYTE_ONE = 250
"""The stored 8-bit probability that stands for 1."""

_ROWS = 32
"""Rows rounded at once: they stay in the processor's cache."""


def to_bytes(sums: NDArray[np.int32], one: int, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Round blended sums half up to bytes.

    Args:
        sums: int32 (..., rows, columns) in units of ``SUM_ONE``.
        one: The byte that stands for 1.
        valid: bool (rows, columns).

    Returns:
        uint8, the shape of ``sums``; ``NODATA`` where not valid.
    """
    rounded = np.empty(sums.shape, np.uint8)
    # With 1/2 added, what is cut off to whole numbers is a multiple of 1 / (2 * SUM_ONE). Half of that more
    # keeps every value as far from being taken for its neighbour, and float64 errs by a thousandth of it.
    step, half = one / SUM_ONE, 0.5 + 0.25 / SUM_ONE
    planes = sums.reshape(-1, *valid.shape)
    for plane, target in zip(planes, rounded.reshape(planes.shape), strict=True):
        for first in range(0, len(plane), _ROWS):
            rows = slice(first, first + _ROWS)
            wide = plane[rows] * step
            wide += half
            np.copyto(target[rows], wide, casting="unsafe")
        np.copyto(target, NODATA, where=~valid)
    return rounded
