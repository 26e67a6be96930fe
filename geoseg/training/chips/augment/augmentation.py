"""Training chips, the interface of augmentations, and how augmentations are applied.

To add an augmentation: write a class like those in ``geometry``, ``outdoors`` or ``sensor``, and give it a
line in ``geoseg.training.recipe.settings.AugmentSettings``, which also fixes the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.models.card import ModelBand


@dataclass(frozen=True, eq=False)
class TrainingChip:
    """Pixels and labels of a chip before normalisation.

    Augmentations work on physical values, so that a gain, haze or shadow is a physical effect. Normalisation
    follows them and turns every NaN and every invalid pixel into 0.

    Attributes:
        values: float32 (bands, rows, columns) in physical units; NaN where a band is nodata.
        valid: bool (rows, columns); False pixels enter the network as 0.
        labels: uint8 (rows, columns): the class's index, or ``IGNORE``.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    labels: NDArray[np.uint8]


class Augmentation(Protocol):
    """Changes the values of a chip, never its shape or dtypes; everything random comes from ``rng``."""

    @property
    def chance(self) -> float:
        """How often it is applied, 0-1."""

    def apply(
        self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator, /
    ) -> TrainingChip:
        """Return a changed copy; the arrays of the given chip are not written to."""


def augment(
    chip: TrainingChip,
    bands: Sequence[ModelBand],
    augmentations: Iterable[Augmentation],
    rng: np.random.Generator,
) -> TrainingChip:
    """Apply every augmentation with the probability of its ``chance``.

    Args:
        chip: A chip in physical units; not changed.
        bands: Its bands, with the statistics of the training pixels.
        augmentations: The augmentations, in the order in which they are applied.
        rng: Source of all randomness; the same state gives the same chip.

    Returns:
        The chip, its arrays contiguous.
    """
    for augmentation in augmentations:
        if rng.random() < augmentation.chance:
            chip = augmentation.apply(chip, bands, rng)
    return TrainingChip(
        np.ascontiguousarray(chip.values), np.ascontiguousarray(chip.valid), np.ascontiguousarray(chip.labels)
    )


def per_band(numbers: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float32]:
    """Shape one number a band to go with (bands, rows, columns)."""
    return np.asarray(numbers, np.float32)[:, None, None]
