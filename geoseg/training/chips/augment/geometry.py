"""Geometric augmentations: values are resampled bilinearly, labels and validity by nearest neighbour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.models.card import ModelBand
from geoseg.training.chips.augment.augmentation import TrainingChip
from geoseg.training.recipe.tables import setting


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Mirrors rows and columns, each half of the time."""

    chance: float = setting(1.0, "how often", least=0, most=1)

    def apply(
        self, chip: TrainingChip, _bands: Sequence[ModelBand], rng: np.random.Generator
    ) -> TrainingChip:
        """See ``Augmentation``."""
        for axis in (-2, -1):
            if rng.random() < 0.5:
                chip = _each(chip, lambda array, axis=axis: np.flip(array, axis))
        return chip


@dataclass(frozen=True, kw_only=True)
class QuarterTurns:
    """Turns square chips by 0, 90, 180 or 270 degrees, others by 0 or 180."""

    chance: float = setting(1.0, "how often", least=0, most=1)

    def apply(
        self, chip: TrainingChip, _bands: Sequence[ModelBand], rng: np.random.Generator
    ) -> TrainingChip:
        """See ``Augmentation``."""
        is_square = chip.labels.shape[0] == chip.labels.shape[1]
        turns = int(rng.integers(4)) if is_square else 2 * int(rng.integers(2))
        return _each(chip, lambda array: np.rot90(array, turns, (-2, -1)))


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Rotates a chip about its centre by any angle; pixels from outside are invalid and without a label."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    degrees: float = setting(30.0, "largest angle", least=0, most=180)

    def apply(
        self, chip: TrainingChip, _bands: Sequence[ModelBand], rng: np.random.Generator
    ) -> TrainingChip:
        """See ``Augmentation``."""
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        cosine, sine = math.cos(angle), math.sin(angle)
        return warp(chip, np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0]]))


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Enlarges or shrinks a chip about its centre, which changes its pixel size."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    smallest: float = setting(0.8, "smallest factor", least=0.1, most=1)
    largest: float = setting(1.25, "largest factor", least=1, most=10)

    def apply(
        self, chip: TrainingChip, _bands: Sequence[ModelBand], rng: np.random.Generator
    ) -> TrainingChip:
        """See ``Augmentation``."""
        factor = math.exp(rng.uniform(math.log(self.smallest), math.log(self.largest)))
        return warp(chip, np.array([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]]))


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Cuts out a part of the chip and enlarges it to the chip's size."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    least: float = setting(0.6, "smallest side of the part, as a share of the chip's", least=0.1, most=1)

    def apply(
        self, chip: TrainingChip, _bands: Sequence[ModelBand], rng: np.random.Generator
    ) -> TrainingChip:
        """See ``Augmentation``."""
        share = rng.uniform(self.least, 1.0)
        x, y = rng.uniform(share - 1, 1 - share, 2)
        return warp(chip, np.array([[share, 0.0, x], [0.0, share, y]]))


def warp(chip: TrainingChip, matrix: NDArray[np.float64]) -> TrainingChip:
    """Resample a chip.

    Bilinear values are means over the valid neighbours alone, so nodata never mixes into them.

    Args:
        chip: The chip.
        matrix: (2, 3): maps positions of the result to positions of the chip, x and y from -1 to 1.
    """
    import torch
    from torch.nn.functional import affine_grid

    shape = [1, 1, *chip.labels.shape]
    grid = affine_grid(torch.tensor(matrix, dtype=torch.float32)[None], shape, align_corners=False)
    known = np.isfinite(chip.values) & chip.valid
    values = _sample(np.where(known, chip.values, 0), grid, "bilinear")
    weights = _sample(known.astype(np.float32), grid, "bilinear")
    # Counted from 1, so that 0 is what lies outside the chip.
    nearest = _sample(np.stack([chip.valid + 1.0, chip.labels + 1.0]).astype(np.float32), grid, "nearest")
    labels = np.where(nearest[1] == 0, IGNORE, nearest[1] - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(weights >= 0.5, values / weights, np.nan).astype(np.float32)
    return TrainingChip(values, nearest[0] == 2, labels.astype(np.uint8))


def _sample(array: NDArray[Any], grid: Any, mode: str) -> NDArray[np.float32]:
    import torch
    from torch.nn.functional import grid_sample

    source = torch.from_numpy(np.ascontiguousarray(array, np.float32))[None]
    sampled = grid_sample(source, grid, mode=mode, padding_mode="zeros", align_corners=False)
    result: NDArray[np.float32] = sampled[0].numpy()
    return result


def _each(chip: TrainingChip, change: Any) -> TrainingChip:
    return replace(chip, values=change(chip.values), valid=change(chip.valid), labels=change(chip.labels))
