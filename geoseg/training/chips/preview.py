"""A contact sheet of augmented training chips beside their labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE, LandClass
from geoseg.models.card import ModelBand
from geoseg.training.chips.augment import TrainingChip, to_unit
from geoseg.training.chips.chips import TrainingChips

_CHIPS, _COLUMNS, _SIDE, _GAP = 24, 4, 192, 6
_INVALID, _NO_LABEL = (255, 0, 255), (0, 0, 0)
_COMPOSITES = (("red", "green", "blue"), ("nir", "red", "green"), ("swir16", "nir", "red"))


def write_preview(path: str | os.PathLike[str], chips: TrainingChips, classes: Sequence[LandClass]) -> Path:
    """Write the first training chips of a run as pairs of image and labels.

    Args:
        path: The PNG.
        chips: Training chips.
        classes: For the colours of the labels; no label is black, invalid pixels are magenta.

    Returns:
        The path.
    """
    from PIL import Image, ImageDraw

    shown, title = _shown_bands(chips.reader.bands)
    rows = -(-_CHIPS // _COLUMNS)
    cell = (2 * _SIDE + 2 * _GAP, _SIDE + _GAP)
    legend = 24 * -(-len(classes) // 4) + 30
    sheet = Image.new("RGB", (_COLUMNS * cell[0] + _GAP, rows * cell[1] + _GAP + legend), "white")
    for number in range(_CHIPS):
        chip = chips.chip(number)
        left = _GAP + number % _COLUMNS * cell[0]
        top = _GAP + number // _COLUMNS * cell[1]
        for offset, pixels in ((0, _image(chip, chips.reader.bands, shown)), (_SIDE, _labels(chip, classes))):
            picture = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
            sheet.paste(picture, (left + offset, top))
    _draw_legend(ImageDraw.Draw(sheet), sheet.size, rows * cell[1] + 2 * _GAP, classes, title)
    sheet.save(path, format="PNG")
    return Path(path)


def _shown_bands(bands: Sequence[ModelBand]) -> tuple[list[int], str]:
    """Choose the bands shown as red, green and blue: natural colours, else a false-colour composite."""
    names = [band.name for band in bands]
    for composite in _COMPOSITES:
        if set(composite) <= set(names):
            return [names.index(name) for name in composite], ", ".join(composite)
    shown = [min(i, len(names) - 1) for i in range(3)] if len(names) > 2 else [0, 0, 0]
    return shown, ", ".join(dict.fromkeys(names[i] for i in shown))


def _image(chip: TrainingChip, bands: Sequence[ModelBand], shown: Sequence[int]) -> NDArray[np.uint8]:
    share = to_unit(chip.values[list(shown)], [bands[i] for i in shown])
    pixels = (np.nan_to_num(share).clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).copy()
    pixels[~chip.valid] = _INVALID
    return pixels


def _labels(chip: TrainingChip, classes: Sequence[LandClass]) -> NDArray[np.uint8]:
    palette = np.full((256, 3), _NO_LABEL, np.uint8)
    for index, land_class in enumerate(classes):
        palette[index] = _rgb(land_class.color)
    palette[IGNORE] = _NO_LABEL
    painted: NDArray[np.uint8] = palette[chip.labels]
    return painted


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _draw_legend(
    draw: Any, size: tuple[int, int], top: int, classes: Sequence[LandClass], title: str
) -> None:
    for number, land_class in enumerate(classes):
        x = _GAP + number % 4 * (size[0] // 4)
        y = top + number // 4 * 24
        draw.rectangle((x, y, x + 16, y + 16), fill=_rgb(land_class.color), outline="black")
        draw.text((x + 22, y + 3), f"{land_class.id} {land_class.name}", fill="black")
    words = f"image ({title}; magenta: invalid) beside labels (black: none)"
    draw.text((_GAP, size[1] - 20), words, fill="black")
