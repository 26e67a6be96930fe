"""A training chip before it is normalised, and what every augmentation does with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.models.card import ModelBand


@dataclass(frozen=True, eq=False)
class TrainingChip:
    """Pixels and labels of one place.

    Augmentations work on physical values, where a gain, a haze or a shadow means what it means outdoors;
    normalisation comes after them and turns every NaN and every invalid pixel into 0.

    Attributes:
        values: float32 (bands, rows, columns) in physical units; NaN where a band is nodata.
        valid: bool (rows, columns); False pixels enter the network as 0.
        labels: uint8 (rows, columns): the class's index, or ``IGNORE``.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    labels: NDArray[np.uint8]


class Augmentation(Protocol):
    """Changes a chip and never its shape or dtypes; everything random comes from ``rng``."""

    @property
    def chance(self) -> float:
        """How often it is applied, 0-1."""

    def apply(
        self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator, /
    ) -> TrainingChip:
        """A changed copy; arrays of the given chip are not written to."""


def column(numbers: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float32]:
    """One number a band, shaped to go with (bands, rows, columns)."""
    return np.asarray(numbers, np.float32)[:, None, None]
