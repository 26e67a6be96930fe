"""Which augmentations are applied, in which order, and from which random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from geoseg.models.card import ModelBand
from geoseg.training.chips.augment.augmentation import Augmentation, TrainingChip
from geoseg.training.chips.augment.geometry import Crop, Flips, QuarterTurns, Rotation, Scaling
from geoseg.training.chips.augment.outdoors import Haze, Season, Shadow
from geoseg.training.chips.augment.sensor import (
    BandDropout,
    Blur,
    Brightness,
    Contrast,
    Gamma,
    Hue,
    Noise,
)
from geoseg.training.recipe.tables import setting


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """The augmentations of a recipe: true (defaults), false (never), or a table; applied in this order."""

    flips: Flips | None = setting(Flips(), "mirror rows and columns")
    turns: QuarterTurns | None = setting(QuarterTurns(), "turn by quarters")
    rotation: Rotation | None = setting(None, "turn by any angle")
    scaling: Scaling | None = setting(None, "enlarge or shrink")
    crop: Crop | None = setting(None, "cut out a part and enlarge it")
    season: Season | None = setting(None, "plants ahead or behind")
    shadow: Shadow | None = setting(None, "darken one side")
    haze: Haze | None = setting(None, "mix in haze")
    hue: Hue | None = setting(None, "turn the colours of red, green and blue")
    brightness: Brightness | None = setting(Brightness(), "multiply bands")
    contrast: Contrast | None = setting(None, "stretch bands about their means")
    gamma: Gamma | None = setting(None, "bend the curves of bands")
    blur: Blur | None = setting(None, "smooth")
    noise: Noise | None = setting(Noise(), "add noise")
    band_dropout: BandDropout | None = setting(None, "take bands away")

    def __iter__(self) -> Iterator[Augmentation]:
        """The augmentations that are on."""
        for field in fields(self):
            augmentation = getattr(self, field.name)
            if augmentation is not None:
                yield augmentation


def augment(
    chip: TrainingChip, bands: Sequence[ModelBand], settings: AugmentSettings, rng: np.random.Generator
) -> TrainingChip:
    """Apply every augmentation that is on, each as often as its chance says.

    Args:
        chip: A chip in physical units; not changed.
        bands: What its bands are, with the statistics of the training ground.
        settings: The augmentations.
        rng: All randomness; the same state gives the same chip.

    Returns:
        The chip, its arrays contiguous.
    """
    for augmentation in settings:
        if rng.random() < augmentation.chance:
            chip = augmentation.apply(chip, bands, rng)
    values, valid, labels = chip.values, chip.valid, chip.labels
    return TrainingChip(
        np.ascontiguousarray(values), np.ascontiguousarray(valid), np.ascontiguousarray(labels)
    )
