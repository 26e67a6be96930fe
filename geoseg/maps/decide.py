"""From blended sums to what a map shows; whole-number arithmetic, so every run rounds alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.blend import SUM_ONE

NODATA = 255
"""Nodata in every raster that geoseg writes; never a class, a confidence or a probability."""

CONFIDENCE_ONE = 100
"""The stored confidence that stands for 1."""

PROBABILITY_BYTE_ONE = 250
"""The stored 8-bit probability that stands for 1."""


@dataclass(frozen=True)
class Decision:
    """What the network says about one window of the scene.

    Attributes:
        sums: int32 (classes, rows, columns), blended probabilities in units of ``SUM_ONE``.
        winner: uint8 (rows, columns): index of the most probable class; ties go to the lowest.
        top: int32 (rows, columns): its sum.
        valid: bool (rows, columns): pixels to be mapped.
    """

    sums: NDArray[np.int32]
    winner: NDArray[np.uint8]
    top: NDArray[np.int32]
    valid: NDArray[np.bool_]


def decide(sums: NDArray[np.int32], valid: NDArray[np.bool_]) -> Decision:
    """Pick the most probable class of every pixel from the unrounded sums.

    Args:
        sums: int32 (classes, rows, columns) in units of ``SUM_ONE``.
        valid: bool (rows, columns).
    """
    top = sums[0].copy()
    winner = np.zeros(top.shape, np.uint8)
    for index in range(1, len(sums)):
        np.copyto(winner, index, where=sums[index] > top)
        np.maximum(top, sums[index], out=top)
    return Decision(sums, winner, top, valid)


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
