"""From blended sums to the most probable class, in whole numbers, so that every run decides alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS = 32
"""Rows decided at once: what is compared again and again stays in the processor's cache."""


@dataclass(frozen=True)
class Decision:
    """What the network says about one window of the scene.

    Attributes:
        winner: uint8 (rows, columns): index of the most probable class; ties go to the lowest.
        top: int32 (rows, columns): its sum, in units of ``blend.SUM_ONE``.
        valid: bool (rows, columns): pixels to be mapped.
        sums: int32 (classes, rows, columns), blended probabilities in the same units; None where nobody
            asked for them.
    """

    winner: NDArray[np.uint8]
    top: NDArray[np.int32]
    valid: NDArray[np.bool_]
    sums: NDArray[np.int32] | None


def decide(sums: NDArray[np.int32], valid: NDArray[np.bool_]) -> Decision:
    """Pick the most probable class of every pixel from the unrounded sums.

    Args:
        sums: int32 (classes, rows, columns) in units of ``blend.SUM_ONE``.
        valid: bool (rows, columns).
    """
    top, winner = np.empty(valid.shape, np.int32), np.empty(valid.shape, np.uint8)
    for first in range(0, len(top), _ROWS):
        rows = slice(first, first + _ROWS)
        _pick(sums[:, rows], top[rows], winner[rows])
    return Decision(winner, top, valid, sums)


def _pick(sums: NDArray[np.int32], top: NDArray[np.int32], winner: NDArray[np.uint8]) -> None:
    np.copyto(top, sums[0])
    winner[...] = 0
    better = np.empty(top.shape, bool)
    index = better.view(np.uint8)
    for number, plane in enumerate(sums[1:], 1):
        np.greater(plane, top, out=better)
        np.maximum(top, plane, out=top)
        # Of the classes that were better than all before them the last is the best: no masked copy is needed.
        np.multiply(index, np.uint8(number), out=index)
        np.maximum(winner, index, out=winner)
