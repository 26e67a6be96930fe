"""Augmentations by sensor and processing: noise, blur, brightness, contrast, gamma, hue, missing bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.models.card import ModelBand
from geoseg.training.chips.augment.augmentation import TrainingChip, per_band
from geoseg.training.recipe.tables import setting

RGB = ("red", "green", "blue")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Adds independent Gaussian noise to every value."""

    chance: float = setting(0.5, "how often", least=0, most=1)
    amount: float = setting(0.1, "largest standard deviation, in those of the band", least=0, most=10)

    def apply(self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator) -> TrainingChip:
        """See ``Augmentation``."""
        sigma = per_band([band.std for band in bands]) * np.float32(rng.uniform(0, self.amount))
        noise = rng.standard_normal(chip.values.shape, np.float32)
        return replace(chip, values=chip.values + noise * sigma)


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Smooths with a Gaussian; nodata stays where it is and does not bleed."""

    chance: float = setting(0.2, "how often", least=0, most=1)
    sigma: float = setting(1.0, "largest standard deviation of the Gaussian in pixels", above=0, most=20)

    def apply(
        self, chip: TrainingChip, _bands: Sequence[ModelBand], rng: np.random.Generator
    ) -> TrainingChip:
        """See ``Augmentation``."""
        sigma = rng.uniform(0.1, max(0.1, self.sigma))
        known = np.isfinite(chip.values) & chip.valid
        smooth = _gaussian(np.where(known, chip.values, 0), sigma)
        weights = _gaussian(known, sigma)
        values = np.where(known, smooth / np.maximum(weights, 1e-6), chip.values)
        return replace(chip, values=values.astype(np.float32))


def _gaussian(array: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    import torch
    from torchvision.transforms.v2.functional import gaussian_blur

    largest = min(array.shape[-2:])  # reflecting padding needs a kernel of less than two chips
    size = min(2 * int(np.ceil(3 * sigma)) + 1, largest - (largest + 1) % 2)
    source = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    result: NDArray[np.float32] = gaussian_blur(source, [size, size], [sigma, sigma]).numpy()
    return result


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """Multiplies all bands by one factor, and every band by one of its own."""

    chance: float = setting(0.5, "how often", least=0, most=1)
    amount: float = setting(0.05, "standard deviation of the logarithm of both factors", least=0, most=2)

    def apply(self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator) -> TrainingChip:
        """See ``Augmentation``."""
        gains = np.exp(rng.normal(0, self.amount) + rng.normal(0, self.amount, len(bands)))
        return replace(chip, values=chip.values * per_band(gains))


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Moves the values of every band away from its mean, or towards it."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    amount: float = setting(0.2, "largest change of the distance to the mean", least=0, most=0.95)

    def apply(self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator) -> TrainingChip:
        """See ``Augmentation``."""
        gains = per_band(rng.uniform(1 - self.amount, 1 + self.amount, len(bands)))
        means = per_band([band.mean for band in bands])
        return replace(chip, values=means + (chip.values - means) * gains)


@dataclass(frozen=True, kw_only=True)
class Gamma:
    """Applies a gamma curve to every band between its 1st and 99th percentile; values outside are shifted."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    amount: float = setting(0.2, "largest logarithm of the exponent", least=0, most=2)

    def apply(self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator) -> TrainingChip:
        """See ``Augmentation``."""
        exponents = per_band(np.exp(rng.uniform(-self.amount, self.amount, len(bands))))
        share = to_unit(chip.values, bands)
        inside = np.clip(share, 0, 1)
        return replace(chip, values=from_unit(inside**exponents + (share - inside), bands))


@dataclass(frozen=True, kw_only=True)
class Hue:
    """Changes hue and saturation of red, green and blue; scenes without these bands stay as they are."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    hue: float = setting(0.03, "largest turn, in full turns", least=0, most=0.5)
    saturation: float = setting(0.2, "largest change of the saturation", least=0, most=1)

    def apply(self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator) -> TrainingChip:
        """See ``Augmentation``."""
        import torch
        from torchvision.transforms.v2.functional import adjust_hue, adjust_saturation

        turn, factor = rng.uniform(-self.hue, self.hue), rng.uniform(1 - self.saturation, 1 + self.saturation)
        names = [band.name for band in bands]
        if not set(RGB) <= set(names):
            return chip
        order = [names.index(name) for name in RGB]
        chosen = [bands[i] for i in order]
        share = to_unit(chip.values[order], chosen)
        known = np.isfinite(share).all(axis=0)
        inside = np.where(known, np.clip(share, 0, 1), 0).astype(np.float32)
        turned = adjust_hue(adjust_saturation(torch.from_numpy(inside), factor), turn).numpy()
        values = chip.values.copy()
        values[order] = np.where(known, from_unit(turned + (share - inside), chosen), chip.values[order])
        return replace(chip, values=values)


@dataclass(frozen=True, kw_only=True)
class BandDropout:
    """Sets bands to nodata; at least one stays."""

    chance: float = setting(0.2, "how often", least=0, most=1)
    most: int = setting(1, "largest number of bands taken", least=1)

    def apply(self, chip: TrainingChip, bands: Sequence[ModelBand], rng: np.random.Generator) -> TrainingChip:
        """See ``Augmentation``."""
        count = min(int(rng.integers(1, self.most + 1)), len(bands) - 1)
        lost = rng.permutation(len(bands))[:count]
        values = chip.values.copy()
        values[lost] = np.nan
        return replace(chip, values=values)


def to_unit(values: NDArray[np.float32], bands: Sequence[ModelBand]) -> NDArray[np.float32]:
    """Turn physical values into shares of each band's range: 0 at its 1st percentile, 1 at its 99th."""
    return (values - per_band([band.low for band in bands])) / _ranges(bands)


def from_unit(share: NDArray[np.float32], bands: Sequence[ModelBand]) -> NDArray[np.float32]:
    """Turn shares of each band's range into physical values."""
    return (share * _ranges(bands) + per_band([band.low for band in bands])).astype(np.float32)


def _ranges(bands: Sequence[ModelBand]) -> NDArray[np.float32]:
    return per_band([max(band.high - band.low, 1e-6 * band.std) for band in bands])
