"""From blended sums to the most probable class, in whole numbers, so that every run decides alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
    top = sums[0].copy()
    winner = np.zeros(top.shape, np.uint8)
    for index in range(1, len(sums)):
        np.copyto(winner, index, where=sums[index] > top)
        np.maximum(top, sums[index], out=top)
    return Decision(winner, top, valid, sums)
