"""Scores of a confusion matrix; rows are labels, columns are the map.

A class enters a mean if it occurs in the labels or in the map. A class that occurs in neither has no score
(NaN); one that occurs in only one of them has IoU 0. So a map that is background everywhere scores almost
nothing, and a class that does not occur lowers no score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of one confusion matrix, or of many at once.

    Attributes:
        accuracy: Share of correct pixels, (...).
        miou: Mean IoU over the classes that occur, (...).
        fwiou: IoU weighted by the labelled pixels of each class (frequency-weighted IoU), (...).
        mean_f1: Mean F1 over the classes that occur, (...).
        iou: Intersection over union, (..., classes); NaN for a class that occurs in neither.
        precision: Share of the mapped pixels that are correct (user's accuracy), (..., classes); NaN where
            none is mapped.
        recall: Share of the labelled pixels that are found (producer's accuracy), (..., classes); NaN where
            none is labelled.
        f1: Harmonic mean of precision and recall (dice), (..., classes); NaN as for ``iou``.
    """

    accuracy: Floats
    miou: Floats
    fwiou: Floats
    mean_f1: Floats
    iou: Floats
    precision: Floats
    recall: Floats
    f1: Floats


def score(matrix: NDArray[np.number]) -> Scores:
    """Compute the scores of confusion matrices.

    Args:
        matrix: (..., classes, classes) pixels or weights, label by map class.

    Returns:
        The scores; NaN where there is nothing to score.
    """
    counts = np.asarray(matrix, np.float64)
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    labelled, mapped = counts.sum(axis=-1), counts.sum(axis=-2)
    total = labelled.sum(axis=-1)
    iou = _ratio(hit, labelled + mapped - hit)
    f1 = _ratio(2 * hit, labelled + mapped)
    return Scores(
        accuracy=_ratio(hit.sum(axis=-1), total),
        miou=_mean_of_present(iou),
        fwiou=_ratio((np.nan_to_num(iou) * labelled).sum(axis=-1), total),
        mean_f1=_mean_of_present(f1),
        iou=iou,
        precision=_ratio(hit, mapped),
        recall=_ratio(hit, labelled),
        f1=f1,
    )


def number(value: Any) -> float | None:
    """Convert a number for JSON: NaN becomes None."""
    return None if value is None or math.isnan(float(value)) else float(value)


def _ratio(part: Floats, whole: Floats) -> Floats:
    answer = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=answer, where=np.asarray(whole) > 0)
    return answer


def _mean_of_present(values: Floats) -> Floats:
    present = ~np.isnan(values)
    return _ratio(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1).astype(np.float64))
