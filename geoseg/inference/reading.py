"""Read the pixels of blocks, strip by strip, and normalise them for the network.

The first chips of a block run while its last rows are being read. The same rows of neighbouring blocks are
read by the same thread: the compressed tiles that both need are still in the cache of its GDAL handle, and
are decoded once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Chip, Window
from geoseg.inference.tally import Tally
from geoseg.models.card import ModelBand
from geoseg.models.transforms import Chain, transform

AreaMask = Callable[[Window], NDArray[np.bool_]]
"""Returns the mask of pixels to map in a window (an area of interest)."""

STRIP_ROWS = 512
"""Rows read at once, unless the tiles of the scene's files are higher."""

_ROWS = 64
"""Rows normalised at once, few enough to stay in the processor's cache."""


class PixelSource(Protocol):
    """The part of a scene that inference needs: pixels in physical units, and which of them are valid."""

    def read_rows(self, window: Window) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.bool_]]]:
        """Yield a few rows of a window at a time, from top to bottom.

        Yields:
            Which rows; values, float32 (bands, rows, columns), NaN for nodata; valid, bool (rows, columns).
        """


@dataclass(frozen=True)
class Normalisation:
    """Normalisation of each band, ``(value - mean) / std``, fixed by the model package for all chips.

    Attributes:
        means: float32 (bands,), of transformed values.
        stds: float32 (bands,), of transformed values.
        transforms: What is done to the values of each band before; empty where no band has any.
    """

    means: NDArray[np.float32]
    stds: NDArray[np.float32]
    transforms: tuple[Chain, ...] = ()

    @classmethod
    def of(cls, bands: Sequence[ModelBand]) -> Normalisation:
        """Make the normalisation of a model's bands."""
        means = np.array([band.mean for band in bands], np.float32)
        stds = np.array([band.std for band in bands], np.float32)
        chains = tuple(band.transforms for band in bands)
        return cls(means, stds, chains if any(chains) else ())

    def apply(
        self,
        values: NDArray[np.float32],
        valid: NDArray[np.bool_],
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Transform and normalise a window.

        Args:
            values: float32 (bands, rows, columns) in physical units, NaN where a band is nodata; overwritten.
            valid: bool (rows, columns).
            out: Array for the result, float32 of the shape of ``values``; default ``values``.

        Returns:
            ``out``, 0 at invalid pixels and where a band is nodata.
        """
        out = values if out is None else out
        for first in range(0, len(valid), _ROWS):
            rows = slice(first, first + _ROWS)
            is_whole, invalid = bool(valid[rows].all()), ~valid[rows]
            transform(values[:, rows], self.transforms)
            planes = zip(values[:, rows], out[:, rows], self.means, self.stds, strict=True)
            for band, target, mean, std in planes:
                np.subtract(band, mean, out=band)
                np.divide(band, std, out=target)
                if not is_whole or np.isnan(band.min()):
                    np.copyto(target, 0, where=np.isnan(band) | invalid)
        return out


@dataclass(frozen=True)
class BlockPixels:
    """A block's network input.

    Attributes:
        block: The block; the arrays cover its ``reach``.
        values: float32 (bands, rows, columns), normalised, 0 where invalid.
        wanted: bool (rows, columns): pixels to map.
    """

    block: Block
    values: NDArray[np.float32]
    wanted: NDArray[np.bool_]

    def wants(self, chip: Chip) -> bool:
        """Tell whether a chip holds a pixel to map."""
        inside = chip.window.intersection(self.block.reach)
        return inside is not None and bool(self.wanted[inside.slices(self.block.reach)].any())

    def cut(self, chips: Sequence[Chip], batch_size: int, chip_size: int) -> NDArray[np.float32]:
        """Stack chips into one batch of the fixed shape; 0 beyond the scene and in missing chips.

        Returns:
            float32 (batch_size, bands, chip_size, chip_size).
        """
        batch = np.empty((batch_size, self.values.shape[0], chip_size, chip_size), np.float32)
        batch[len(chips) :] = 0
        for slot, chip in zip(batch, chips, strict=False):
            inside = chip.window.intersection(self.block.reach)
            if inside != chip.window:
                slot[...] = 0
            if inside is not None:
                source = (slice(None), *inside.slices(self.block.reach))
                slot[(slice(None), *inside.slices(chip.window))] = self.values[source]
        return batch


@dataclass(frozen=True)
class BlockReading:
    """A block that is being read.

    Attributes:
        pixels: Its pixels, undefined in strips that are not read yet.
        strips: First row and future of every strip that is being read, from top to bottom.
        tally: Busy seconds of reading.
    """

    pixels: BlockPixels
    strips: Sequence[tuple[int, Future[None]]]
    tally: Tally

    def chips(self, chips: Sequence[Chip]) -> Iterator[Chip]:
        """Yield the chips that hold a pixel to map, each as soon as its rows are read.

        Args:
            chips: All chips of the block in row order.

        Raises:
            RunError: If the block could not be read.
        """
        waiting = deque(self.strips)
        for chip in chips:
            while waiting and waiting[0][0] < chip.window.row_stop:
                waiting.popleft()[1].result()
            if self.pixels.wants(chip):
                yield chip
        for _, reading in waiting:  # raise errors also of rows for which no chip waited
            reading.result()


class BlockReaders:
    """Threads that read blocks.

    Args:
        source: The source of pixels, a scene.
        normalisation: The package's normalisation.
        area: Returns the mask of pixels to map in a window (an area of interest); None for all.
        strip_rows: Rows of a strip; strips begin at multiples of it.
        threads: Number of threads: strips that are read at once.
    """

    def __init__(
        self,
        source: PixelSource,
        normalisation: Normalisation,
        *,
        area: AreaMask | None,
        strip_rows: int,
        threads: int,
    ) -> None:
        self._source = source
        self._normalisation = normalisation
        self._area = area
        self._rows = strip_rows
        self._threads = [ThreadPoolExecutor(1, "geoseg-read") for _ in range(threads)]

    def begin(self, block: Block) -> BlockReading:
        """Start reading a block in the threads."""
        pixels, strips = self._prepare(block)
        tally, reading = Tally(), []
        for strip in strips:
            thread = self._threads[strip.row // self._rows % len(self._threads)]
            reading.append((strip.row, thread.submit(self._fill, pixels, strip, tally)))
        return BlockReading(pixels, reading, tally)

    def read(self, block: Block) -> BlockReading:
        """Read a block in the calling thread."""
        pixels, strips = self._prepare(block)
        tally = Tally()
        for strip in strips:
            self._fill(pixels, strip, tally)
        return BlockReading(pixels, (), tally)

    def close(self) -> None:
        """Stop the threads, and cancel work that has not begun."""
        for thread in self._threads:
            thread.shutdown(wait=False, cancel_futures=True)
        for thread in self._threads:
            thread.shutdown()

    def _prepare(self, block: Block) -> tuple[BlockPixels, list[Window]]:
        """Return room for a block's pixels, and the strips to read; none if no pixel is to be mapped."""
        shape = block.reach.shape
        wanted = np.ones(shape, bool) if self._area is None else self._area(block.reach)
        bands = len(self._normalisation.means)
        pixels = BlockPixels(block, np.empty((bands, *shape), np.float32), wanted)
        return pixels, strips_of(block.reach, self._rows) if wanted.any() else []

    def _fill(self, pixels: BlockPixels, strip: Window, tally: Tally) -> None:
        """Read the rows of one strip into their place, and unmark invalid pixels in ``wanted``."""
        with tally.spend("read"):
            for rows, values, valid in self._source.read_rows(strip):
                part = Window(strip.row + rows.start, strip.col, len(valid), strip.width)
                place, _ = part.slices(pixels.block.reach)
                tally.lose(*_count_lost(pixels, part, values, valid))
                if not valid.all():
                    pixels.wanted[place] &= valid
                self._normalisation.apply(values, valid, pixels.values[:, place])


def _count_lost(
    pixels: BlockPixels, strip: Window, values: NDArray[np.float32], valid: NDArray[np.bool_]
) -> tuple[int, int]:
    """Count what some bands lack of the wanted pixels in a block's own part of a strip.

    Returns:
        The invalid pixels that have values in some bands, and the missing values of valid pixels.
    """
    own = strip.intersection(pixels.block.core)
    if own is None or not np.isnan(values.min()):  # far faster than to look for NaN, and most have none
        return 0, 0
    inside = own.slices(strip)
    wanted, valid = pixels.wanted[own.slices(pixels.block.reach)], valid[inside]
    missing = np.isnan(values[(slice(None), *inside)]).sum(axis=0)
    lost = wanted & ~valid & (missing < len(values))
    return int(np.count_nonzero(lost)), int(missing[wanted & valid].sum())


def strips_of(window: Window, rows: int) -> list[Window]:
    """Cut a window into strips that end at multiples of ``rows``, or with the window."""
    inside = range((window.row // rows + 1) * rows, window.row_stop, rows)
    edges = [window.row, *inside, window.row_stop]
    return [
        Window.from_bounds(row, window.col, row_stop, window.col_stop) for row, row_stop in pairwise(edges)
    ]
