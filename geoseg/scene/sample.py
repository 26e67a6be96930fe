"""A look at a scene's values without reading the scene: stored values from windows scattered over it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.scene.scene import Scene
from geoseg.scene.source import is_remote

_WINDOWS = 64
_WINDOWS_REMOTE = 16
"""Fewer requests over the network."""

_READ_WHOLE = 4
"""A scene of up to this many times the wanted pixels is read as a whole."""


@dataclass(frozen=True)
class Sample:
    """Valid pixels of a scene.

    Attributes:
        stored: For each of the scene's bands its stored values, (pixels,) in the file's dtype.
        missing: bool (bands, pixels): where a band of a valid pixel is nodata.
        looked_at: Pixels read to find these.
        is_whole: Whether that was the whole scene.
    """

    stored: tuple[NDArray[np.generic], ...]
    missing: NDArray[np.bool_]
    looked_at: int
    is_whole: bool

    @property
    def pixels(self) -> int:
        """Number of valid pixels."""
        return int(self.missing.shape[1])


def sample_scene(scene: Scene, n_pixels: int = 200_000, seed: int = 0) -> Sample:
    """Read about ``n_pixels`` pixels in windows spread over the scene, and keep the valid ones.

    Where none is valid, four times as many windows are tried once more.

    Args:
        scene: The scene; its selected bands are read.
        n_pixels: Pixels to look at.
        seed: Decides where the windows lie within their cells of a regular lattice.

    Raises:
        RunError: If a file cannot be read.
    """
    rows, cols = scene.shape
    if rows * cols <= _READ_WHOLE * n_pixels:
        return _read(scene, [Window.from_shape(scene.shape)], is_whole=True)
    wanted = _WINDOWS_REMOTE if any(is_remote(path) for path in scene.paths) else _WINDOWS
    side = max(1, round(math.sqrt(n_pixels / wanted)))
    rng = np.random.default_rng(seed)
    sample = _read(scene, _windows(scene, wanted, side, rng))
    return sample if sample.pixels else _read(scene, _windows(scene, 4 * wanted, side, rng))


def _windows(scene: Scene, wanted: int, side: int, rng: np.random.Generator) -> Iterator[Window]:
    """One window in each cell of a lattice over the scene, in row order, in one stored block if it fits."""
    rows, cols = scene.shape
    height, width = min(side, rows), min(side, cols)
    down = min(max(1, round(math.sqrt(wanted * rows / cols))), wanted, math.ceil(rows / height))
    across = min(max(1, wanted // down), math.ceil(cols / width))
    for i in range(down):
        for j in range(across):
            row = _start(i, down, rows, height, scene.storage_block_shape[0], rng)
            col = _start(j, across, cols, width, scene.storage_block_shape[1], rng)
            yield Window(row, col, height, width)


def _start(cell: int, cells: int, length: int, size: int, block: int, rng: np.random.Generator) -> int:
    """Where a window of ``size`` starts along one axis: somewhere in its cell, off the borders of blocks."""
    first, last = cell * length // cells, (cell + 1) * length // cells - size
    start = int(rng.integers(first, max(first, last) + 1))
    if block >= size:
        start -= max(0, start % block + size - block)
    return min(max(start, 0), length - size)


def _read(scene: Scene, windows: Iterator[Window] | list[Window], *, is_whole: bool = False) -> Sample:
    stored: list[list[NDArray[np.generic]]] = [[] for _ in scene.bands]
    missing: list[NDArray[np.bool_]] = []
    looked_at = 0
    for window in windows:
        raw = scene.read_raw(window)
        valid = raw.valid(scene.invalid_where)
        looked_at += window.pixels
        missing.append(raw.missing[:, valid])
        for values, band in zip(stored, raw.stored, strict=True):
            values.append(band[valid])
    return Sample(
        tuple(np.concatenate(values) for values in stored),
        np.concatenate(missing, axis=1),
        looked_at,
        is_whole,
    )
