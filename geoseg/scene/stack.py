"""Reading bands out of one file, or out of tiles that lie side by side: stored values and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.scene.band import Band
from geoseg.scene.file import SceneFile


@dataclass(frozen=True, slots=True)
class Layer:
    """Where a band of the scene is stored.

    Attributes:
        band: What is known of it.
        stack: Which of the scene's stacks of files holds it.
        index: Its 1-based number in each file of that stack.
        is_alpha: Whether the files mark it as alpha; it masks pixels unless it is asked for by number.
    """

    band: Band
    stack: int
    index: int
    is_alpha: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """Stored values of a window, before scale and offset.

    Attributes:
        stored: One array (rows, columns) a band, each in its file's dtype.
        missing: bool (bands, rows, columns), True where a band is nodata, not finite, or masked on its own.
        hidden: bool (rows, columns), True where a mask or alpha is 0, or where no tile lies.
    """

    stored: list[NDArray[np.generic]]
    missing: NDArray[np.bool_]
    hidden: NDArray[np.bool_]

    def valid(self, invalid_where: str) -> NDArray[np.bool_]:
        """The valid pixels, bool (rows, columns), under the rule "all" or "any"."""
        empty = self.missing.all(axis=0) if invalid_where == "all" else self.missing.any(axis=0)
        valid: NDArray[np.bool_] = ~(self.hidden | empty)
        return valid


def read_stack(files: Sequence[SceneFile], layers: Sequence[Layer], window: Window) -> Raw:
    """Read layers of one stack in a window of the scene.

    Where tiles overlap, the first one named that has any data there gives the pixel, all its bands together.

    Args:
        files: One file that covers the scene, or the tiles of a mosaic.
        layers: Layers of that stack; repeats are allowed.
        window: A window inside the scene.

    Raises:
        RunError: If a file cannot be read.
    """
    if len(files) == 1:
        return _read_file(files[0], layers, window)
    raw = Raw(
        stored=[np.zeros(window.shape, layer.band.dtype) for layer in layers],
        missing=np.ones((len(layers), *window.shape), bool),
        hidden=np.ones(window.shape, bool),
    )
    for file in files:
        part = window.intersection(file.window)
        if part is None:
            continue
        rows, cols = part.slices(window)
        open_pixels = raw.hidden[rows, cols]
        if not open_pixels.any():
            continue
        tile = _read_file(file, layers, part)
        take = open_pixels & tile.valid("all")
        for target, stored in zip(raw.stored, tile.stored, strict=True):
            target[rows, cols][take] = stored[take]
        raw.missing[:, rows, cols][:, take] = tile.missing[:, take]
        open_pixels[take] = False
    return raw


def _read_file(file: SceneFile, layers: Sequence[Layer], window: Window) -> Raw:
    """Read layers from one file, each band once, bands of one dtype together."""
    use_alpha = not any(layer.is_alpha for layer in layers)
    stored: dict[int, NDArray[np.generic]] = {}
    own_mask: dict[int, NDArray[np.bool_]] = {}
    hidden = np.zeros(window.shape, bool)
    for dtype in dict.fromkeys(layer.band.dtype for layer in layers):
        indexes = sorted({layer.index for layer in layers if layer.band.dtype == dtype})
        pixels = file.read(indexes, window, use_alpha=use_alpha)
        stored.update(zip(indexes, pixels.stored, strict=True))
        if pixels.hidden is not None:
            hidden = pixels.hidden
        if pixels.hidden_cells is not None:
            own_mask.update(zip(indexes, pixels.hidden_cells, strict=True))
    missing = np.empty((len(layers), *window.shape), bool)
    if file.alpha_is_coverage:
        absent, hidden = hidden, np.zeros(window.shape, bool)
    for i, layer in enumerate(layers):
        missing[i] = layer.band.missing(stored[layer.index])
        if file.alpha_is_coverage:
            missing[i] |= absent
        if layer.index in own_mask:
            missing[i] |= own_mask[layer.index]
    return Raw([stored[layer.index] for layer in layers], missing, hidden)
