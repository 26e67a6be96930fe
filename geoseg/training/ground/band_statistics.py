"""Measure the constants of the normalisation in one pass over the training pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.models.card import ModelBand
from geoseg.training.ground.folds import Split
from geoseg.training.ground.labelled_scene import LabelledScene, band_names

_PERCENTILE_PIXELS = 2_000_000


class Moments:
    """Mean and variance of values that come in parts, merged in float64 (Chan, Golub and LeVeque 1983)."""

    def __init__(self, bands: int) -> None:
        self.count = np.zeros(bands, np.int64)
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)

    def add(self, values: NDArray[np.float32]) -> None:
        """Add values (bands, pixels); NaN are left out."""
        known = np.isfinite(values)
        count = known.sum(axis=1)
        exact = np.where(known, values, 0).astype(np.float64)
        mean = exact.sum(axis=1) / np.maximum(count, 1)
        squares = (np.where(known, exact - mean[:, None], 0) ** 2).sum(axis=1)
        total = np.maximum(self.count + count, 1)
        gap = mean - self.mean
        self.squares += np.where(count > 0, squares + gap**2 * self.count * count / total, 0)
        self.mean += np.where(count > 0, gap * count / total, 0)
        self.count += count

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation over all values (population)."""
        deviation: NDArray[np.float64] = np.sqrt(self.squares / np.maximum(self.count, 1))
        return deviation


def measure_bands(scenes: Sequence[LabelledScene], split: Split) -> tuple[ModelBand, ...]:
    """Measure mean, standard deviation and percentiles of every band over the valid pixels that train.

    Scenes are read window by window; percentiles come from about two million pixels taken at equal steps.

    Raises:
        SceneError: If no pixel that trains is valid.
        RunError: If a file cannot be read.
    """
    names = band_names(scenes[0].image)
    moments = Moments(len(names))
    step = max(1, sum(rows * cols for rows, cols in (g.shape for g in scenes)) // _PERCENTILE_PIXELS)
    kept: list[NDArray[np.float32]] = []
    for number, scene in enumerate(scenes):
        for window in scene.windows():
            wanted = split.trains(number, window)
            if not wanted.any():
                continue
            values, valid = scene.image.read(window)
            inside = values[:, valid & wanted]
            moments.add(inside)
            kept.append(inside[:, ::step])
    if not moments.count.all():
        empty = [name for name, count in zip(names, moments.count, strict=True) if not count]
        raise SceneError(f"{scenes[0].image.name}: no valid pixel to train on in band {', '.join(empty)}")
    low, high = np.nanpercentile(np.concatenate(kept, axis=1), [1, 99], axis=1)
    stds = np.where(moments.std > 0, moments.std, 1.0)  # a constant band becomes 0 instead of NaN
    return tuple(
        ModelBand(name, *(float(np.float32(x)) for x in numbers))
        for name, *numbers in zip(names, moments.mean, stds, low, high, strict=True)
    )
