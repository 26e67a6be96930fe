"""Intervals of forecasts: CV+ for a field, two sources of error for a district."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_ROWS = 2000


def cv_plus(
    forecasts: NDArray[np.float64], folds: NDArray[np.intp], errors: NDArray[np.float64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intervals of new fields by CV+, the K-fold jackknife+ of Barber et al. 2021 (Annals of Statistics 49).

    With a = 1 - level and n known fields: from the floor(a (n + 1))-th smallest of forecast - |error| to the
    ceil((1 - a) (n + 1))-th smallest of forecast + |error|, where each known field brings its own error and
    the forecast of the model that was fitted without it. No assumption on the shape of errors; about
    ``level`` of new fields are inside if they are like the known ones (guaranteed: 1 - 2a, less a little).

    Args:
        forecasts: (new fields, folds), of the model of each fold.
        folds: (known fields,) the fold that held each out.
        errors: (known fields,) held-out forecast - known yield.
        level: As 0.9.

    Returns:
        Low and high, (new fields,); infinite where there are too few known fields for the level.
    """
    count, miss = len(errors), 1 - level
    lower, upper = math.floor(miss * (count + 1) + 1e-9), math.ceil(level * (count + 1) - 1e-9)
    low, high = np.full(len(forecasts), -np.inf), np.full(len(forecasts), np.inf)
    for start in range(0, len(forecasts), _ROWS):
        part = slice(start, start + _ROWS)
        centres = forecasts[part][:, folds]
        if lower >= 1:
            low[part] = np.partition(centres - np.abs(errors), lower - 1, axis=1)[:, lower - 1]
        if upper <= count:
            high[part] = np.partition(centres + np.abs(errors), upper - 1, axis=1)[:, upper - 1]
    return low, high


def half_width(errors: NDArray[np.float64], level: float) -> float:
    """The split-conformal quantile of absolute errors: the ceil(level (n + 1))-th smallest, or infinite."""
    place = math.ceil(level * (len(errors) + 1) - 1e-9)
    return float(np.partition(np.abs(errors), place - 1)[place - 1]) if place <= len(errors) else math.inf


def held_out_half_widths(
    errors: NDArray[np.float64], folds: NDArray[np.intp], level: float
) -> NDArray[np.float64]:
    """For each known field the half width that the errors of all other folds give, (fields,)."""
    widths = np.empty(len(errors))
    for number in range(folds.max() + 1):
        widths[folds == number] = half_width(errors[folds != number], level)
    return widths


@dataclass(frozen=True)
class ErrorParts:
    """Errors of fields of one district have something in common, so they do not average out.

    Attributes:
        district: Standard deviation of what a district's errors share.
        field: Standard deviation of the rest.
        districts: From how many districts this was learnt.
    """

    district: float
    field: float
    districts: int

    def half_width(self, weights: NDArray[np.float64], level: float) -> float:
        """Half an interval of a district's mean yield.

        Args:
            weights: Share of the district's area of every field whose yield is not known, summing to at most
                1.
            level: As 0.9.

        Returns:
            t quantile x standard error: the shared error and the uncertainty of the mean of all districts'
            errors for the unknown area, and every field's own. Assumes errors near normal.
        """
        shared = self.district * weights.sum() * math.sqrt(1 + 1 / self.districts)
        own = self.field * math.sqrt(float((weights**2).sum()))
        return float(stats.t.ppf((1 + level) / 2, self.districts - 1) * math.hypot(shared, own))


def error_parts(errors: NDArray[np.float64], groups: NDArray[np.object_]) -> ErrorParts:
    """Split held-out errors into what districts share and the rest.

    One-way analysis of variance with unequal groups (Searle, Casella & McCulloch 1992, section 3.6); a
    negative variance is 0.

    Args:
        errors: (fields,).
        groups: (fields,) at least two districts.
    """
    names, place = np.unique(groups, return_inverse=True)
    sizes = np.bincount(place)
    means = np.bincount(place, errors) / sizes
    between = float((sizes * (means - errors.mean()) ** 2).sum()) / (len(names) - 1)
    freedom = len(errors) - len(names)
    within = float(((errors - means[place]) ** 2).sum()) / freedom if freedom else 0.0
    typical = (len(errors) - float((sizes**2).sum()) / len(errors)) / (len(names) - 1)
    shared = max(0.0, (between - within) / typical)
    return ErrorParts(math.sqrt(shared), math.sqrt(within), len(names))
