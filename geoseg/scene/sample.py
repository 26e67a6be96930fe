"""Sample stored values of a scene in windows spread over it, instead of reading all of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.raster.source import is_remote
from geoseg.scene.file import Raw
from geoseg.scene.scene import Scene

_WINDOWS = 64
_WINDOWS_REMOTE = 16
"""Fewer, because each is a request over the network."""

_THREADS = 4
"""Windows read at once."""

_LARGE_BLOCK = 4_000_000
"""Pixels of a block of the file, such as a strip that is all of it, that is decoded by one thread only: each
would hold the whole block."""

_READ_WHOLE = 4
"""A scene with up to this many times the wanted pixels is read completely."""


_MOST_COLUMNS = 4096
"""Columns read at once where all of a scene is read."""


@dataclass(frozen=True)
class Sample:
    """Valid pixels of a scene.

    Attributes:
        stored: Stored values of each band, (pixels,) in the file's dtype.
        missing: Whether a band is nodata at a valid pixel, bool (bands, pixels).
        absent: Share of the pixels with data in any of the bands at which a band has none, float64 (bands,).
        looked_at: Number of pixels that were read, valid or not.
        is_whole: Whether these are all pixels of the scene.
    """

    stored: tuple[NDArray[np.generic], ...]
    missing: NDArray[np.bool_]
    absent: NDArray[np.float64]
    looked_at: int
    is_whole: bool

    @property
    def pixels(self) -> int:
        """Number of valid pixels."""
        return int(self.missing.shape[1])


class Sampler:
    """Sample the pixels of a scene once, for any number of selections of its bands.

    Args:
        scene: The scene; all its selected bands are read.
        n_pixels: Number of pixels to read.
        seed: Seed for the places of the windows in the cells of a regular lattice.
    """

    def __init__(self, scene: Scene, n_pixels: int = 200_000, seed: int = 0) -> None:
        self._scene, self._n_pixels = scene, n_pixels
        self._rng = np.random.default_rng(seed)
        self._samples: list[_SampledWindows] = []

    def sample(self, bands: Sequence[int], invalid_where: str = "all") -> Sample:
        """Return the pixels that are valid for a selection of bands.

        If none is valid, read four times as many windows once.

        Args:
            bands: 1-based numbers of some of the scene's selected bands.
            invalid_where: "all": a pixel is invalid where all these bands are nodata; "any": where any is.

        Raises:
            RunError: If a file cannot be read.
        """
        numbers = [band.number for band in self._scene.bands]
        rows = [numbers.index(band) for band in bands]
        for times in range(2):
            if times == len(self._samples):
                self._samples.append(self._read_windows())
            sampled = self._samples[times]
            raw = Raw([sampled.stored[row] for row in rows], sampled.missing[rows], sampled.hidden)
            valid = raw.valid(invalid_where)
            stored = tuple(values[valid] for values in raw.stored)
            seen = raw.missing[:, raw.valid("all")]
            absent = seen.sum(axis=1) / max(seen.shape[1], 1)
            sample = Sample(stored, raw.missing[:, valid], absent, sampled.hidden.size, sampled.is_whole)
            if sample.pixels or sample.is_whole:
                break
        return sample

    def _read_windows(self) -> _SampledWindows:
        """Read the windows of the first sample, or of the second, which has four times as many."""
        scene = self._scene
        rows, cols = scene.shape
        is_whole = rows * cols <= _READ_WHOLE * self._n_pixels
        windows: Iterable[Window] = [Window.from_shape(scene.shape)]
        if not is_whole:
            wanted = _WINDOWS_REMOTE if any(is_remote(path) for path in scene.paths) else _WINDOWS
            side = max(1, round(math.sqrt(self._n_pixels / wanted)))
            windows = _windows(scene, wanted * 4 ** len(self._samples), side, self._rng)
        is_large = scene.storage_block_shape[0] * scene.storage_block_shape[1] > _LARGE_BLOCK
        with ThreadPoolExecutor(1 if is_large else _THREADS) as threads:
            raws = list(threads.map(scene.read_raw, windows))
        return _SampledWindows(
            tuple(np.concatenate([raw.stored[i].ravel() for raw in raws]) for i in range(len(scene.bands))),
            np.concatenate([raw.missing.reshape(len(scene.bands), -1) for raw in raws], axis=1),
            np.concatenate([raw.hidden.ravel() for raw in raws]),
            is_whole,
        )


def sample_scene(scene: Scene, n_pixels: int = 200_000, seed: int = 0) -> Sample:
    """Read about ``n_pixels`` pixels in windows spread over the scene, and keep the valid ones.

    Args:
        scene: The scene; its selected bands are read.
        n_pixels: Number of pixels to read.
        seed: See ``Sampler``.

    Raises:
        RunError: If a file cannot be read.
    """
    return Sampler(scene, n_pixels, seed).sample([band.number for band in scene.bands], scene.invalid_where)


def has_valid_pixel(scene: Scene) -> bool:
    """Read a scene until a valid pixel is found.

    Raises:
        RunError: If a file cannot be read.
    """
    rows, cols = scene.shape
    side = scene.strip_rows
    for row in range(0, rows, side):
        for col in range(0, cols, _MOST_COLUMNS):
            part = Window.from_bounds(row, col, min(row + side, rows), min(col + _MOST_COLUMNS, cols))
            if not scene.is_absent(part) and scene.read_raw(part).valid(scene.invalid_where).any():
                return True
    return False


def _windows(scene: Scene, wanted: int, side: int, rng: np.random.Generator) -> Iterator[Window]:
    """Place one window in each cell of a lattice over the scene, in row order."""
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
    """Choose the start of a window along one axis: in its cell, and inside one block if possible."""
    first, last = cell * length // cells, (cell + 1) * length // cells - size
    start = int(rng.integers(first, max(first, last) + 1))
    if block >= size:
        start -= max(0, start % block + size - block)
    return min(max(start, 0), length - size)


@dataclass(frozen=True)
class _SampledWindows:
    """Pixels of some windows, valid or not.

    Attributes:
        stored: Stored values of each band, (pixels,).
        missing: Whether a band is nodata, bool (bands, pixels).
        hidden: Whether a mask or alpha is 0, bool (pixels,).
        is_whole: Whether these are all pixels of the scene.
    """

    stored: tuple[NDArray[np.generic], ...]
    missing: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    is_whole: bool
