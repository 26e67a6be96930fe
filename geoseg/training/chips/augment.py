"""Augmentations of training chips: the same for values and labels, any number of bands, seeded.

To add an augmentation: write a class like those below, and give it a line in
``geoseg.training.recipe.settings.AugmentSettings``, which also fixes the order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.models.card import ModelBand
from geoseg.training.recipe.tables import setting

Bands = Sequence[ModelBand]
"""The bands of a chip, with the statistics of the training pixels."""
Rng = np.random.Generator


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

    def apply(self, chip: TrainingChip, bands: Bands, rng: Rng, /) -> TrainingChip:
        """Return a changed copy; the arrays of the given chip are not written to."""


def augment(
    chip: TrainingChip,
    bands: Bands,
    augmentations: Iterable[Augmentation],
    rng: Rng,
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


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Mirrors rows and columns, each half of the time."""

    chance: float = setting(1.0, "how often", least=0, most=1)

    def apply(self, chip: TrainingChip, _bands: Bands, rng: Rng) -> TrainingChip:
        """See ``Augmentation``."""
        for axis in (-2, -1):
            if rng.random() < 0.5:
                chip = _each(chip, lambda array, axis=axis: np.flip(array, axis))
        return chip


@dataclass(frozen=True, kw_only=True)
class QuarterTurns:
    """Turns square chips by 0, 90, 180 or 270 degrees, others by 0 or 180."""

    chance: float = setting(1.0, "how often", least=0, most=1)

    def apply(self, chip: TrainingChip, _bands: Bands, rng: Rng) -> TrainingChip:
        """See ``Augmentation``."""
        is_square = chip.labels.shape[0] == chip.labels.shape[1]
        turns = int(rng.integers(4)) if is_square else 2 * int(rng.integers(2))
        return _each(chip, lambda array: np.rot90(array, turns, (-2, -1)))


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Rotates a chip about its centre by any angle; pixels from outside are invalid and without a label."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    degrees: float = setting(30.0, "largest angle", least=0, most=180)

    def apply(self, chip: TrainingChip, _bands: Bands, rng: Rng) -> TrainingChip:
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

    def apply(self, chip: TrainingChip, _bands: Bands, rng: Rng) -> TrainingChip:
        """See ``Augmentation``."""
        factor = math.exp(rng.uniform(math.log(self.smallest), math.log(self.largest)))
        return warp(chip, np.array([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]]))


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Cuts out a part of the chip and enlarges it to the chip's size."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    least: float = setting(0.6, "smallest side of the part, as a share of the chip's", least=0.1, most=1)

    def apply(self, chip: TrainingChip, _bands: Bands, rng: Rng) -> TrainingChip:
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

    def apply(self, chip: TrainingChip, bands: Bands, rng: Rng) -> TrainingChip:
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

    def apply(self, chip: TrainingChip, _bands: Bands, rng: Rng) -> TrainingChip:
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

    def apply(self, chip: TrainingChip, bands: Bands, rng: Rng) -> TrainingChip:
        """See ``Augmentation``."""
        greener = rng.uniform(-self.amount, self.amount)
        shifts = per_band([greener * GREENING.get(band.name, 0.0) * band.std for band in bands])
        return replace(chip, values=chip.values + shifts)


def smooth_field(shape: tuple[int, int], rng: Rng) -> NDArray[np.float32]:
    """Draw random float32 (rows, columns) from 0 to 1 that vary bilinearly between 3 x 3 values."""
    nodes = rng.random((3, 3))
    rows, cols = (np.linspace(0, 2, n) for n in shape)
    lower, upper = (np.maximum(0, 1 - np.abs(axis[:, None] - np.arange(3))) for axis in (rows, cols))
    field: NDArray[np.float32] = (lower @ nodes @ upper.T).astype(np.float32)
    return field


RGB = ("red", "green", "blue")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Adds independent Gaussian noise to every value."""

    chance: float = setting(0.5, "how often", least=0, most=1)
    amount: float = setting(0.1, "largest standard deviation, in those of the band", least=0, most=10)

    def apply(self, chip: TrainingChip, bands: Bands, rng: Rng) -> TrainingChip:
        """See ``Augmentation``."""
        sigma = per_band([band.std for band in bands]) * np.float32(rng.uniform(0, self.amount))
        noise = rng.standard_normal(chip.values.shape, np.float32)
        return replace(chip, values=chip.values + noise * sigma)


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Smooths with a Gaussian; nodata stays where it is and does not bleed."""

    chance: float = setting(0.2, "how often", least=0, most=1)
    sigma: float = setting(1.0, "largest standard deviation of the Gaussian in pixels", above=0, most=20)

    def apply(self, chip: TrainingChip, _bands: Bands, rng: Rng) -> TrainingChip:
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

    def apply(self, chip: TrainingChip, bands: Bands, rng: Rng) -> TrainingChip:
        """See ``Augmentation``."""
        gains = np.exp(rng.normal(0, self.amount) + rng.normal(0, self.amount, len(bands)))
        return replace(chip, values=chip.values * per_band(gains))


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Moves the values of every band away from its mean, or towards it."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    amount: float = setting(0.2, "largest change of the distance to the mean", least=0, most=0.95)

    def apply(self, chip: TrainingChip, bands: Bands, rng: Rng) -> TrainingChip:
        """See ``Augmentation``."""
        gains = per_band(rng.uniform(1 - self.amount, 1 + self.amount, len(bands)))
        means = per_band([band.typical for band in bands])
        return replace(chip, values=means + (chip.values - means) * gains)


@dataclass(frozen=True, kw_only=True)
class Gamma:
    """Applies a gamma curve to every band between its 1st and 99th percentile; values outside are shifted."""

    chance: float = setting(0.3, "how often", least=0, most=1)
    amount: float = setting(0.2, "largest logarithm of the exponent", least=0, most=2)

    def apply(self, chip: TrainingChip, bands: Bands, rng: Rng) -> TrainingChip:
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

    def apply(self, chip: TrainingChip, bands: Bands, rng: Rng) -> TrainingChip:
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

    def apply(self, chip: TrainingChip, bands: Bands, rng: Rng) -> TrainingChip:
        """See ``Augmentation``."""
        count = min(int(rng.integers(1, self.most + 1)), len(bands) - 1)
        lost = rng.permutation(len(bands))[:count]
        values = chip.values.copy()
        values[lost] = np.nan
        return replace(chip, values=values)


def to_unit(values: NDArray[np.float32], bands: Bands) -> NDArray[np.float32]:
    """Turn physical values into shares of each band's range: 0 at its 1st percentile, 1 at its 99th."""
    return (values - per_band([band.low for band in bands])) / _ranges(bands)


def from_unit(share: NDArray[np.float32], bands: Bands) -> NDArray[np.float32]:
    """Turn shares of each band's range into physical values."""
    return (share * _ranges(bands) + per_band([band.low for band in bands])).astype(np.float32)


def _ranges(bands: Bands) -> NDArray[np.float32]:
    return per_band([max(band.high - band.low, 1e-6 * band.std) for band in bands])
