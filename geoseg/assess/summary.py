"""The content of an evaluation report as JSON values: scores and areas with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.area import AreaEstimate, Z, estimate
from geoseg.assess.bootstrap import FEW_BLOCKS, LEVEL, REPLICATES, BlockSums, bootstrap
from geoseg.assess.boundary import Tolerance, boundary_scores
from geoseg.assess.calibration import BINS, calibration_errors, reliability_table
from geoseg.assess.compare import IDS, JOINT, Counts
from geoseg.assess.scores import Floats, Scores, number, score
from geoseg.classes import LandClass
from geoseg.errors import InputError

Interval = list[float | None] | None


def summarise_labels(
    counts: Counts,
    classes: Sequence[LandClass],
    tolerances: Sequence[Tolerance],
    *,
    area_unit: float | None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Summarise the comparison of a map with labels.

    Args:
        counts: The counts of the comparison.
        classes: All classes that occur or have a name, by ascending id.
        tolerances: Tolerances of the boundary counts.
        area_unit: Hectares of one unit of the mapped areas; None without a CRS.
        replicates: Replicates of the bootstrap.
        seed: Seed of the bootstrap.

    Returns:
        The keys ``pixels``, ``summary``, ``classes``, ``confusion``, ``boundary``, ``calibration``,
        ``bootstrap``, ``areas`` and ``warnings`` of the report. Scores are 0-1, None where there is nothing
        to score; intervals are [low, high] at 95 %.

    Raises:
        InputError: If no labelled pixel has a class in the map.
    """
    ids = np.array([item.id for item in classes], np.intp)
    matrix = counts.confusion()[np.ix_(ids, ids)]
    compared = int(matrix.sum())
    if compared == 0:
        raise InputError("no pixel has both a label and a class in the map; check that the two overlap")
    chosen = np.concatenate([(ids[:, None] * IDS + ids).ravel(), np.arange(JOINT, JOINT + 3 * BINS)])
    blocks = counts.sums.select(chosen)
    mapped = counts.mapped_pixels[ids] if counts.mapped_area is None else counts.mapped_area[ids]
    bounds = bootstrap(blocks, _measure(ids.size, mapped), replicates=replicates, seed=seed)
    scores = score(matrix)
    sums = counts.calibration()
    return {
        "pixels": _pixels(counts, compared),
        "summary": _summary(scores, sums, bounds),
        "classes": _class_rows(classes, scores, matrix, bounds),
        "confusion": {"ids": ids.tolist(), "rows": "labels", "columns": "map", "pixels": matrix.tolist()},
        "boundary": [_boundary(t, counts.boundary[i][:, ids], classes) for i, t in enumerate(tolerances)],
        "calibration": _calibration(sums),
        "bootstrap": {
            "block_pixels": blocks.size,
            "blocks": len(blocks.blocks()),
            "replicates": replicates,
            "seed": seed,
            "level": LEVEL,
        },
        "areas": _areas_from_labels(classes, matrix, mapped, area_unit, bounds),
        "warnings": [*_warnings(blocks), *_unseen(classes, matrix, mapped)],
    }


def _interval(bounds: Floats) -> Interval:
    low, high = (number(value) for value in bounds)
    return None if low is None else [low, high]


def _measure(count: int, mapped: NDArray[np.int64]) -> Any:
    """Make the function that computes scores with an interval from the sums of resampled blocks."""

    def measure(sums: Floats) -> Mapping[str, Floats]:
        matrix = sums[:, : count * count].reshape(-1, count, count)
        scores = score(matrix)
        expected, _ = calibration_errors(sums[:, count * count :].reshape(-1, 3, BINS))
        return {
            "accuracy": scores.accuracy,
            "miou": scores.miou,
            "fwiou": scores.fwiou,
            "mean_f1": scores.mean_f1,
            "ece": expected,
            "iou": scores.iou,
            "precision": scores.precision,
            "recall": scores.recall,
            "f1": scores.f1,
            "area": _adjusted(matrix, mapped),
        }

    return measure


def _adjusted(matrix: Floats, mapped: NDArray[np.int64]) -> Floats:
    """Adjust areas for the errors of each mapped class, (..., classes); NaN if one of them has no label."""
    drawn = matrix.sum(axis=-2)
    shares = matrix / np.where(drawn > 0, drawn, np.nan)[..., None, :]
    areas: Floats = np.where(mapped > 0, shares * mapped, 0.0).sum(axis=-1)
    return areas


def _pixels(counts: Counts, compared: int) -> dict[str, int]:
    return {
        "compared": compared,
        "labelled": counts.labelled,
        "labelled_but_nodata_in_map": counts.labelled - compared,
        "mapped": int(counts.mapped_pixels[:-1].sum()),
    }


def _summary(scores: Scores, sums: NDArray[np.int64], bounds: Mapping[str, Floats]) -> dict[str, Any]:
    expected, worst = calibration_errors(sums)
    values: dict[str, Any] = {}
    for name in ("accuracy", "miou", "fwiou", "mean_f1"):
        values[name] = number(getattr(scores, name))
        values[f"{name}_interval"] = _interval(bounds[name])
    values["ece"] = number(expected)
    values["ece_interval"] = _interval(bounds["ece"])
    values["mce"] = number(worst)
    return values


def _class_rows(
    classes: Sequence[LandClass], scores: Scores, matrix: NDArray[np.int64], bounds: Mapping[str, Floats]
) -> list[dict[str, Any]]:
    rows = []
    for i, item in enumerate(classes):
        row: dict[str, Any] = {"id": item.id, "name": item.name, "color": item.color}
        row |= {"labelled_pixels": int(matrix[i].sum()), "mapped_pixels": int(matrix[:, i].sum())}
        for name in ("iou", "precision", "recall", "f1"):
            row[name] = number(getattr(scores, name)[i])
            row[f"{name}_interval"] = _interval(bounds[name][:, i])
        rows.append(row)
    return rows


def _boundary(
    tolerance: Tolerance, counts: NDArray[np.int64], classes: Sequence[LandClass]
) -> dict[str, Any]:
    precision, recall, f1 = boundary_scores(counts)
    known = f1[~np.isnan(f1)]
    return {
        "tolerance": str(tolerance),
        "f1": float(known.mean()) if known.size else None,
        "classes": [
            {
                "id": item.id,
                "f1": number(f1[i]),
                "precision": number(precision[i]),
                "recall": number(recall[i]),
            }
            for i, item in enumerate(classes)
        ],
    }


def _calibration(sums: NDArray[np.int64]) -> dict[str, Any] | None:
    if not sums[0].any():
        return None
    pixels, correct, percent = (int(row.sum()) for row in sums)
    return {
        "pixels": pixels,
        "mean_confidence": percent / 100 / pixels,
        "accuracy": correct / pixels,
        "bins": reliability_table(sums),
    }


def _areas_from_labels(
    classes: Sequence[LandClass],
    matrix: NDArray[np.int64],
    mapped: NDArray[np.int64],
    unit: float | None,
    bounds: Mapping[str, Floats],
) -> dict[str, Any]:
    adjusted = _adjusted(matrix.astype(np.float64), mapped)
    scale = 1.0 if unit is None else unit
    return {
        "unit": "pixels" if unit is None else "ha",
        "method": "confusion matrix of the labelled pixels, intervals by block bootstrap; holds if the "
        "labelled part is like the rest of the map",
        "classes": [
            {
                "id": item.id,
                "mapped": float(mapped[i]) * scale,
                "estimated": number(adjusted[i] * scale),
                "interval": _interval(bounds["area"][:, i] * scale),
            }
            for i, item in enumerate(classes)
        ],
    }


def _unseen(classes: Sequence[LandClass], matrix: NDArray[np.int64], mapped: NDArray[np.int64]) -> list[str]:
    """Warn of mapped classes without a label, because areas cannot be estimated then."""
    drawn = matrix.sum(axis=0)
    names = [item.name for i, item in enumerate(classes) if mapped[i] and not drawn[i]]
    return (
        [f"no label lies where {', '.join(names)} is mapped, so class areas are not estimated"]
        if names
        else []
    )


def _warnings(blocks: BlockSums) -> list[str]:
    count = len(blocks.blocks())
    if count >= FEW_BLOCKS:
        return []
    if count < 2:
        return [
            f"all labels lie in one block of {blocks.size} pixels, so there are no intervals; give smaller "
            "--blocks, but intervals are too narrow if errors are correlated over longer distances"
        ]
    return [
        f"intervals rest on only {count} blocks of {blocks.size} pixels: they are rough, likely too narrow"
    ]


def summarise_sample(
    matrix: NDArray[np.int64], mapped: Floats, classes: Sequence[LandClass], *, in_hectares: bool
) -> dict[str, Any]:
    """Summarise the estimates from a labelled stratified random sample.

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
    """Compute the 95 % interval of a normal estimate, clipped to 0 and ``most``."""
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
