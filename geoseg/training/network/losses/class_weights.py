"""Compute class weights from class frequencies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def class_weights(
    method: str,
    counts: NDArray[np.int64],
    shares: NDArray[np.float64],
    *,
    beta: float = 0.9999,
    manual: Mapping[int, float] | None = None,
) -> NDArray[np.float32] | None:
    """Compute weights of classes for pixel-wise losses.

    Args:
        method: "none", "inverse" (1 / frequency), "median" (median frequency / frequency, Eigen and Fergus
            2015), "effective" ((1 - beta) / (1 - beta^n), Cui et al. 2019), or "manual".
        counts: Labelled training pixels of each class.
        shares: Frequency of each class in the cells where it occurs, for "median".
        beta: Parameter of "effective".
        manual: Weights of "manual" by class index; other classes have 1.

    Returns:
        float32 (classes,), 0 for classes without a pixel, scaled so that the mean weight of a labelled pixel
        is 1 (manual weights are kept as they are); None for "none".
    """
    if method == "none":
        return None
    if method == "manual":
        return np.array([(manual or {}).get(i, 1.0) for i in range(len(counts))], np.float32)
    present = counts > 0
    weights = np.zeros(len(counts))
    if method == "inverse":
        weights[present] = counts.sum() / counts[present]
    elif method == "median":
        weights[present] = np.median(shares[present]) / shares[present]
    else:
        weights[present] = (1 - beta) / -np.expm1(counts[present] * np.log(beta)) if beta > 0 else 1.0
    mean = (weights * counts).sum() / max(counts.sum(), 1)
    scaled: NDArray[np.float32] = (weights / (mean or 1.0)).astype(np.float32)
    return scaled
