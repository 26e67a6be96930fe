"""Augmentations by atmosphere and season: haze, shadow, growth of plants; simple models of their effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.models.card import ModelBand
from geoseg.training.chips.augment.augmentation import TrainingChip, per_band
from geoseg.training.recipe.tables import setting

SCATTERING = {
    "coastal": 1.0, "blue": 0.9, "green": 0.7, "red": 0.55, "rededge": 0.45, "rededge071": 0.45,
    "rededge075": 0.4, "rededge078": 0.4, "nir": 0.3, "nir08": 0.3, "nir09": 0.25, "swir16": 0.1,
    "swir22": 0.05,
}  # fmt: skip
"""Strength of haze in a band, which falls with the wavelength; unknown bands get 0.5."""

GREENING = {
    "coastal": -0.4, "blue": -0.5, "green": -0.2, "red": -1.0, "rededge": 0.3, "rededge071": 0.1,
    "rededge075": 0.6, "rededge078": 0.8, "nir": 0.8, "nir08": 0.8, "nir09": 0.7, "swir16": -0.5,
    "swir22": -0.7,
}  # fmt: skip
"""Direction of a band as vegetation gets greener: red and SWIR down, near infrared up; unknown bands stay."""


@dataclass(frozen=True, kw_only=True)
class Haze:
    """Mixes in bright haze that varies smoothly over the chip, most in the short wavelengths."""

    chance: float = setting(0.2, "how often", least=0, most=1)
    amount: float = setting(0.3, "largest share of haze", least=0, most=0.95)

    def apply(self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator) -> TrainingChip:
        """See ``Augmentation``."""
        field = smooth_field(chip.labels.shape, rng) * np.float32(rng.uniform(0, self.amount))
        share = field[None] * per_band([SCATTERING.get(band.name, 0.5) for band in bands])
        bright = per_band([band.high for band in bands])
        return replace(chip, values=(chip.values * (1 - share) + bright * share).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """Darkens one side of a soft line, as the shadow of a cloud or a hill does."""

    chance: float = setting(0.2, "how often", least=0, most=1)
    depth: float = setting(0.4, "largest share of light lost", least=0, most=0.95)

    def apply(
        self, chip: TrainingChip, _bands: Sequence[ModelBand], rng: np.random.Generator
    ) -> TrainingChip:
        """See ``Augmentation``."""
        rows, cols = chip.labels.shape
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
        y, x = np.mgrid[-0.5 : 0.5 : rows * 1j, -0.5 : 0.5 : cols * 1j]
        distance = x * np.cos(angle) + y * np.sin(angle) - offset
        shade = 1 / (1 + np.exp(-distance * 30)) * rng.uniform(0, self.depth)
        return replace(chip, values=(chip.values * (1 - shade)).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Season:
    """Shifts spectra as if plants were some weeks ahead or behind: greener, or riper."""

    chance: float = setting(0.2, "how often", least=0, most=1)
    amount: float = setting(0.3, "largest shift, in standard deviations of a band", least=0, most=5)

    def apply(self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator) -> TrainingChip:
        """See ``Augmentation``."""
        greener = rng.uniform(-self.amount, self.amount)
        shifts = per_band([greener * GREENING.get(band.name, 0.0) * band.std for band in bands])
        return replace(chip, values=chip.values + shifts)


def smooth_field(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw random float32 (rows, columns) from 0 to 1 that vary bilinearly between 3 x 3 values."""
    nodes = rng.random((3, 3))
    rows, cols = (np.linspace(0, 2, n) for n in shape)
    lower, upper = (np.maximum(0, 1 - np.abs(axis[:, None] - np.arange(3))) for axis in (rows, cols))
    field: NDArray[np.float32] = (lower @ nodes @ upper.T).astype(np.float32)
    return field
