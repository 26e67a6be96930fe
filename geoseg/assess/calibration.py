"""Calibration of the confidence: reliability table, expected and maximum calibration error.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599), equations 3 to 5, with bins of
equal width. Confidence is the stored whole percent, so sums are integers and do not depend on their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
PERCENT = 100


def bin_sums(
    confidence: NDArray[np.uint8], correct: NDArray[np.bool_], bins: int = BINS
) -> NDArray[np.int64]:
    """Sum up the pixels of each confidence bin.

    Args:
        confidence: Whole percent, 0 to 100, any shape.
        correct: Whether the mapped class is the label, same shape.
        bins: Number of bins of equal width; each holds its lower bound, the last also 100.

    Returns:
        int64 (3, bins): pixels, correct pixels, sum of percent.
    """
    percent = np.arange(PERCENT + 1)
    which = np.minimum(percent * bins // PERCENT, bins - 1)
    joint = np.bincount(
        confidence.ravel().astype(np.intp) * 2 + correct.ravel(), minlength=2 * (PERCENT + 1)
    ).reshape(PERCENT + 1, 2)
    pixels = joint.sum(axis=1)
    sums = np.zeros((3, bins), np.int64)
    for row, values in enumerate((pixels, joint[:, 1], pixels * percent)):
        np.add.at(sums[row], which, values)
    return sums


def calibration_errors(
    sums: NDArray[np.number],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the expected and the maximum calibration error.

    Args:
        sums: (..., 3, bins) as ``bin_sums`` returns them.

    Returns:
        Expected calibration error: mean gap between confidence and accuracy, weighted by pixels; and the
        largest gap of any bin with pixels. Both (...), 0-1, NaN without pixels.
    """
    pixels, correct, percent = (np.asarray(sums[..., row, :], np.float64) for row in range(3))
    gaps = np.abs(percent / PERCENT - correct)
    total = pixels.sum(axis=-1)
    expected = np.divide(gaps.sum(axis=-1), total, out=np.full(np.shape(total), np.nan), where=total > 0)
    each = np.divide(gaps, pixels, out=np.full(np.shape(pixels), -1.0), where=pixels > 0)
    worst = each.max(axis=-1)
    return expected, np.where(worst < 0, np.nan, worst)


def reliability_table(sums: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Tabulate bins: bounds, pixels, mean confidence and accuracy (None without pixels).

    Args:
        sums: int64 (3, bins) as ``bin_sums`` returns them.
    """
    bins = sums.shape[-1]
    return [
        {
            "low": i / bins,
            "high": (i + 1) / bins,
            "pixels": int(pixels),
            "confidence": float(percent) / PERCENT / pixels if pixels else None,
            "accuracy": float(correct) / pixels if pixels else None,
        }
        for i, (pixels, correct, percent) in enumerate(sums.T)
    ]
