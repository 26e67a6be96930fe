"""From blended sums to the bytes of a map; whole-number arithmetic, so every run rounds alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.blend import SUM_ONE
from geoseg.inference.decision import Decision, decide

__all__ = ["CONFIDENCE_ONE", "NODATA", "PROBABILITY_BYTE_ONE", "Decision", "decide", "to_bytes"]

NODATA = 255
"""Nodata in every raster that geoseg writes; never a class, a confidence or a probability."""

CONFIDENCE_ONE = 100
"""The stored confidence that stands for 1."""

PROBABILITY_BYTE_ONE = 250
"""The stored 8-bit probability that stands for 1."""


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
    # Band by band: the products need 64 bits, and eight times the memory of the result.
    planes = sums.reshape(-1, *valid.shape)
    for plane, target in zip(planes, rounded.reshape(planes.shape), strict=True):
        wide = plane.astype(np.int64)
        wide *= 2 * one
        wide += SUM_ONE
        wide //= 2 * SUM_ONE
        target[...] = wide
        target[~valid] = NODATA
    return rounded
