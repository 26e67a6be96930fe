"""Chips of real scenes as a network sees them, to set the scales of its int8 twin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.inference.reading import Normalisation
from geoseg.scene import Scene

_ENOUGH = 0.5
"""Least share of valid pixels of a chip that is drawn."""
_TRIES = 8
"""Places looked at for each chip."""


def draw_chips(
    scenes: Sequence[Scene], normalisation: Normalisation, side: int, count: int, seed: int = 0
) -> list[NDArray[np.float32]]:
    """Draw chips at random places, the same number of each scene; the same seed draws the same.

    Args:
        scenes: Their bands in the model's order.
        normalisation: The package's.
        side: Rows and columns of a chip.
        count: How many in all.
        seed: Of the places.

    Returns:
        float32 (1, bands, side, side) each, normalised, 0 where there is nothing.

    Raises:
        SceneError: If no scene has a valid pixel.
    """
    rng = np.random.default_rng(seed)
    each = -(-count // len(scenes))
    drawn = [chip for scene in scenes for chip in islice(_chips(scene, normalisation, side, each, rng), each)]
    if not drawn:
        raise SceneError(
            f"{scenes[0].name}: there is no valid pixel to calibrate with in {len(scenes)} scenes"
        )
    return drawn[:count]


def _chips(
    scene: Scene, normalisation: Normalisation, side: int, count: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """Chips that are valid enough first, then whatever has a valid pixel."""
    sparse = []
    for _ in range(count * _TRIES):
        chip, valid = _read(scene, normalisation, side, rng)
        if valid >= _ENOUGH:
            yield chip
        elif valid > 0:
            sparse.append(chip)
    yield from sparse


def _read(
    scene: Scene, normalisation: Normalisation, side: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """One chip and the share of it that is valid; a scene smaller than the chip lies in its corner."""
    rows, cols = scene.shape
    top, left = (int(rng.integers(0, max(1, size - side + 1))) for size in (rows, cols))
    window = Window(top, left, min(side, rows), min(side, cols))
    values, valid = scene.read(window)
    chip = np.zeros((1, values.shape[0], side, side), np.float32)
    chip[0, :, : window.height, : window.width] = normalisation.apply(values, valid)
    return chip, float(valid.mean())
