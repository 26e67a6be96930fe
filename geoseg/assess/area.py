"""Accuracy and class areas from a stratified random sample.

Olofsson, Foody, Herold, Stehman, Woodcock and Wulder 2014, "Good practices for estimating area and assessing
accuracy of land change", Remote Sensing of Environment 148, 42-57. Equation numbers are theirs. The strata
are the map's classes. Here rows are labels (the reference) and columns the map; the paper has it transposed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.scores import Floats
from geoseg.errors import InputError, SettingsError

Z = 1.959963984540054
"""Half-width of a 95 % interval in standard errors of a normal estimate."""
LEAST = 50
"""Samples that a rare class gets where the total allows it (section 5.1.2 recommends 50 to 100)."""


@dataclass(frozen=True, slots=True, eq=False)
class AreaEstimate:
    """Estimates and their standard errors; NaN where a stratum has too few samples.

    Attributes:
        proportions: Estimated shares of the total area by label and map class, (classes, classes).
        accuracy: Overall accuracy.
        accuracy_se: Its standard error.
        users: User's accuracy of each class (precision), (classes,).
        users_se: Its standard error.
        producers: Producer's accuracy of each class (recall), (classes,).
        producers_se: Its standard error.
        area: Estimated area of each class, in the unit of the mapped areas, (classes,).
        area_se: Its standard error.
    """

    proportions: Floats
    accuracy: float
    accuracy_se: float
    users: Floats
    users_se: Floats
    producers: Floats
    producers_se: Floats
    area: Floats
    area_se: Floats


def estimate(sample: NDArray[np.integer], mapped: Floats, names: Sequence[str] | None = None) -> AreaEstimate:
    """Estimate accuracy and class areas from a stratified sample.

    Args:
        sample: Sampled units by label (row) and map class (column), (classes, classes).
        mapped: Mapped area of each class, in any unit, (classes,).
        names: Class names, for messages.

    Raises:
        InputError: If a mapped class has no sampled unit, so that its area cannot be estimated.
    """
    counts = np.asarray(sample, np.float64)
    drawn = counts.sum(axis=0)
    empty = np.flatnonzero((drawn == 0) & (mapped > 0))
    if empty.size:
        which = names[empty[0]] if names else f"number {empty[0]}"
        raise InputError(
            f"no labelled sample lies in mapped class {which}, so its area cannot be estimated; label some"
        )
    weights = np.asarray(mapped, np.float64) / mapped.sum()
    shares = counts / np.maximum(drawn, 1)  # of each stratum's units, those with each label
    proportions = weights * shares  # equation 4
    variances = _variances(shares, weights, drawn)
    share = proportions.sum(axis=1)  # equation 9
    users = _where(drawn > 0, np.diag(shares))  # equation 2
    producers = _where(share > 0, np.diag(proportions) / np.where(share > 0, share, 1.0))  # equation 3
    own = np.diag(variances)
    with np.errstate(invalid="ignore", divide="ignore"):
        users_se = np.sqrt(own) / weights  # equation 6
        from_own = (1 - producers) ** 2 * own
        from_others = producers**2 * (variances.sum(axis=1) - own)
        producers_se = np.sqrt(from_own + from_others) / share  # equation 7
    return AreaEstimate(
        proportions=proportions,
        accuracy=float(np.trace(proportions)),  # equation 1
        accuracy_se=float(np.sqrt(own.sum())),  # equation 5
        users=users,
        users_se=_where(weights > 0, users_se),
        producers=producers,
        producers_se=_where(share > 0, producers_se),
        area=share * mapped.sum(),  # equation 11
        area_se=np.sqrt(variances.sum(axis=1)) * mapped.sum(),  # equations 10 and 12
    )


def _variances(shares: Floats, weights: Floats, drawn: Floats) -> Floats:
    """Compute the variance of each cell, W^2 p (1 - p) / (n - 1), by label and stratum; NaN where n is 1."""
    freedom = np.where(drawn > 1, drawn - 1, np.nan)
    variances: Floats = weights**2 * shares * (1 - shares) / freedom
    return np.where(weights == 0, 0.0, variances)


def _where(known: NDArray[np.bool_], values: Floats) -> Floats:
    return np.where(known, values, np.nan)


def sample_size(users: Floats, weights: Floats, standard_error: float) -> int:
    """Compute how many units give a wanted standard error of the overall accuracy (equation 13, large maps).

    Args:
        users: Conjectured user's accuracy of each class, 0-1.
        weights: Share of the map of each class.
        standard_error: The one that is wanted, such as 0.01.
    """
    return math.ceil((float(np.sum(weights * np.sqrt(users * (1 - users)))) / standard_error) ** 2)


def allocate(total: int, pixels: NDArray[np.integer], least: int = LEAST) -> NDArray[np.int64]:
    """Allocate a sample to the strata (section 5.1.2).

    Classes whose proportional share is smaller than ``least`` get ``least``; the others share the rest in
    proportion to their pixels. Where ``total`` does not allow that, ``least`` is half of an equal share. No
    class gets more units than it has pixels.

    Args:
        total: Units to draw.
        pixels: Pixels of each class; 0 for classes that get none.
        least: Units for a rare class.

    Returns:
        int64 (classes,), with the sum ``min(total, pixels.sum())``.

    Raises:
        SettingsError: If there are fewer than two units for each class.
    """
    present = int(np.count_nonzero(pixels))
    if total < 2 * present:
        raise SettingsError(
            f"--draw-sample {total} is too few for {present} classes: a standard error needs two points in "
            f"each, so draw at least {2 * present} (a few hundred are usual)"
        )
    floor = np.minimum(min(least, max(2, total // (2 * max(present, 1)))), pixels)
    total = min(total, int(pixels.sum()))
    share = floor.astype(np.float64)
    raised = np.zeros(pixels.shape, bool)
    while True:
        free = ~raised & (pixels > 0)
        left = total - floor[raised].sum()
        share[free] = left * pixels[free] / max(pixels[free].sum(), 1)
        rare = free & (share < floor)
        if not rare.any():
            break
        raised |= rare
        share[rare] = floor[rare]
    return _round(share, total, pixels)


def _round(share: Floats, total: int, pixels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Round shares to whole numbers with the sum ``total``, the largest remainders up."""
    whole: NDArray[np.int64] = np.minimum(np.floor(share), pixels).astype(np.int64)
    order = np.argsort(-(share - np.floor(share)), kind="stable")
    while whole.sum() < total:
        for i in order:
            if whole.sum() < total and whole[i] < pixels[i]:
                whole[i] += 1
    return whole
