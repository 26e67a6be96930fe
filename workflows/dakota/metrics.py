"""Accuracy figures of a class map, all from one confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from dakota import CLASSES
from numpy.typing import NDArray


def confusion(labels: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Counts (9, 9) of pixels by label (row) and prediction (column); pixels with label 0 do not count."""
    count = len(CLASSES)
    where = labels > 0
    joint = (labels[where].astype(np.int64) - 1) * count + (predicted[where].astype(np.int64) - 1)
    return np.bincount(joint, minlength=count * count).reshape(count, count)


def summarise(matrix: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy, mIoU and, class by class, IoU, precision and recall of a confusion matrix."""
    hit, labelled, mapped = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    iou = hit / np.maximum(labelled + mapped - hit, 1)
    precision, recall = hit / np.maximum(mapped, 1), hit / np.maximum(labelled, 1)
    return {
        "accuracy": round(float(hit.sum() / matrix.sum()), 4),
        "miou": round(float(iou.mean()), 4),
        "classes": {
            name: {
                "iou": round(float(iou[i]), 4),
                "precision": round(float(precision[i]), 4),
                "recall": round(float(recall[i]), 4),
                "labelled_pixels": int(labelled[i]),
            }
            for i, name in enumerate(CLASSES.values())
        },
        "confusion": matrix.tolist(),
    }


def calibration_error(confidence: NDArray[np.float32], correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error with equally wide bins (Guo et al. 2017, arXiv:1706.04599).

    Args:
        confidence: probability of the class chosen, one value a pixel.
        correct: whether that class is the label.
        bins: number of bins between 0 and 1.
    """
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    total = np.bincount(index, weights=confidence.astype(np.float64), minlength=bins)
    hits = np.bincount(index, weights=correct.astype(np.float64), minlength=bins)
    return float(np.abs(total - hits).sum() / confidence.size)
