"""The content of an evaluation report that rests on a stratified random sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.area import AreaEstimate, Z, estimate
from geoseg.assess.scores import Floats, number, score
from geoseg.classes import LandClass


def summarise_sample(
    matrix: NDArray[np.int64], mapped: Floats, classes: Sequence[LandClass], *, in_hectares: bool
) -> dict[str, Any]:
    """Everything estimated from a labelled stratified random sample.

    Args:
        matrix: Sampled units by label (row) and map class (column).
        mapped: Mapped area of each class, hectares or pixels.
        classes: The classes, in the order of both.
        in_hectares: Whether ``mapped`` is hectares.

    Returns:
        The keys ``summary``, ``classes``, ``confusion``, ``areas`` and ``warnings`` of the report.

    Raises:
        InputError: If a mapped class has no labelled unit.
    """
    found = estimate(matrix, mapped, [item.name for item in classes])
    scores = score(found.proportions)
    single = [
        item.name for item, n, area in zip(classes, matrix.sum(axis=0), mapped, strict=True) if area and n < 2
    ]
    rows = [
        {
            "id": item.id,
            "name": item.name,
            "color": item.color,
            "samples": int(matrix[:, i].sum()),
            "labelled_samples": int(matrix[i].sum()),
            "iou": number(scores.iou[i]),
            "precision": number(found.users[i]),
            "precision_interval": _normal(found.users[i], found.users_se[i], 1.0),
            "recall": number(found.producers[i]),
            "recall_interval": _normal(found.producers[i], found.producers_se[i], 1.0),
            "f1": number(scores.f1[i]),
        }
        for i, item in enumerate(classes)
    ]
    return {
        "summary": {
            "accuracy": number(found.accuracy),
            "accuracy_se": number(found.accuracy_se),
            "accuracy_interval": _normal(found.accuracy, found.accuracy_se, 1.0),
            "miou": number(scores.miou),
            "fwiou": number(scores.fwiou),
            "mean_f1": number(scores.mean_f1),
        },
        "classes": rows,
        "confusion": {
            "ids": [item.id for item in classes],
            "rows": "labels",
            "columns": "map",
            "samples": matrix.tolist(),
            "area_shares": found.proportions.tolist(),
        },
        "areas": _areas_from_sample(classes, mapped, found, in_hectares),
        "warnings": [
            f"mapped class {name} has a single labelled sample, so standard errors cannot be computed"
            for name in single
        ],
    }


def _normal(value: float, error: float, most: float) -> list[float | None] | None:
    """A 95 % interval of a normal estimate, cut to what is possible."""
    if math.isnan(value) or math.isnan(error):
        return None
    return [max(0.0, float(value - Z * error)), min(most, float(value + Z * error))]


def _areas_from_sample(
    classes: Sequence[LandClass], mapped: Floats, found: AreaEstimate, in_hectares: bool
) -> dict[str, Any]:
    total = float(mapped.sum())
    return {
        "unit": "ha" if in_hectares else "pixels",
        "method": "stratified estimator of Olofsson et al. 2014",
        "classes": [
            {
                "id": item.id,
                "mapped": float(mapped[i]),
                "estimated": number(found.area[i]),
                "standard_error": number(found.area_se[i]),
                "interval": _normal(float(found.area[i]), float(found.area_se[i]), total),
            }
            for i, item in enumerate(classes)
        ],
    }
