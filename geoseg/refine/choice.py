"""Which of the classes around takes what is removed: one rule for all steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def choose(likely: NDArray[Any], around: NDArray[Any]) -> NDArray[np.int64]:
    """Pick one class a row: the most likely that is around; ties: the one most around; ties: the first.

    Args:
        likely: (rows, classes), at least 0.
        around: (rows, classes): how much of each class is around; 0 is not around. Every row has one.

    Returns:
        Index of the class, int64 (rows,).
    """
    likely = np.where(around > 0, likely, -1)
    best = likely == likely.max(axis=1, keepdims=True)
    chosen: NDArray[np.int64] = np.where(best, around, -1).argmax(axis=1)
    return chosen
