"""Reads blocks strip by strip, so that the first chips run while the last rows of their block are being read.

A strip goes to the reader that has its rows in the blocks beside: the compressed tiles that both need are
still in the cache of that reader's handle, and are decoded once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Chip, Window
from geoseg.inference.normalise import Normalisation
from geoseg.inference.pixels import BlockPixels, PixelSource
from geoseg.inference.tally import Tally

Area = Callable[[Window], NDArray[np.bool_]]
"""Gives the mask of pixels to map in a window (an area of interest)."""

STRIP_ROWS = 512
"""Rows read at once, where the scene's own tiles do not ask for more."""


@dataclass(frozen=True)
class StripReader:
    """Reads and normalises the pixels of a strip.

    Attributes:
        source: Where pixels come from.
        normalisation: The package's normalisation.
    """

    source: PixelSource
    normalisation: Normalisation

    def fill(self, pixels: BlockPixels, strip: Window, tally: Tally) -> None:
        """Read the rows of one strip of a block into their place, and want those no more that are invalid."""
        rows, _ = strip.slices(pixels.block.reach)
        with tally.spend("read"):
            values, valid = self.source.read(strip)
            pixels.wanted[rows] &= valid
            self.normalisation.apply(values, valid, pixels.values[:, rows])


@dataclass(frozen=True)
class BlockReading:
    """A block that is being read.

    Attributes:
        pixels: Its pixels; those of strips that are not done yet are undefined.
        strips: First row of the scene of every strip that is being read, and its reading; from top to bottom.
        tally: What reading took.
    """

    pixels: BlockPixels
    strips: Sequence[tuple[int, Future[None]]]
    tally: Tally

    def chips(self, chips: Sequence[Chip]) -> Iterator[Chip]:
        """Those chips that hold a pixel to be mapped, each as soon as its rows are there; then the rest.

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
        for _, reading in waiting:
            reading.result()


class BlockReaders:
    """Threads that read blocks.

    Args:
        reader: Reads a strip.
        area: Gives the mask of pixels to map in a window (an area of interest); None for all.
        strip_rows: Rows of a strip; strips begin at whole multiples of it.
        threads: How many strips are read at once.
    """

    def __init__(self, reader: StripReader, area: Area | None, strip_rows: int, threads: int) -> None:
        self._reader = reader
        self._area = area
        self._rows = strip_rows
        self._threads = [ThreadPoolExecutor(1, "geoseg-read") for _ in range(threads)]

    def begin(self, block: Block) -> BlockReading:
        """Have a block read in the threads."""
        pixels, tally = self._empty(block), Tally()
        strips = [
            (strip.row, self._of(strip).submit(self._reader.fill, pixels, strip, tally))
            for strip in self._strips(pixels)
        ]
        return BlockReading(pixels, strips, tally)

    def read(self, block: Block) -> BlockReading:
        """Read a block in the calling thread."""
        pixels, tally = self._empty(block), Tally()
        for strip in self._strips(pixels):
            self._reader.fill(pixels, strip, tally)
        return BlockReading(pixels, (), tally)

    def close(self) -> None:
        """End the threads; what has not begun never will."""
        for thread in self._threads:
            thread.shutdown(wait=False, cancel_futures=True)
        for thread in self._threads:
            thread.shutdown()

    def _of(self, strip: Window) -> ThreadPoolExecutor:
        return self._threads[strip.row // self._rows % len(self._threads)]

    def _empty(self, block: Block) -> BlockPixels:
        shape = block.reach.shape
        wanted = np.ones(shape, bool) if self._area is None else self._area(block.reach)
        bands = len(self._reader.normalisation.means)
        return BlockPixels(block, np.empty((bands, *shape), np.float32), wanted)

    def _strips(self, pixels: BlockPixels) -> list[Window]:
        """What is to be read: nothing where nothing is to be mapped."""
        return strips_of(pixels.block.reach, self._rows) if pixels.wanted.any() else []


def strips_of(window: Window, rows: int) -> list[Window]:
    """Cut a window into strips that end at whole multiples of ``rows``, or with the window."""
    inside = range((window.row // rows + 1) * rows, window.row_stop, rows)
    edges = [window.row, *inside, window.row_stop]
    return [
        Window.from_bounds(row, window.col, row_stop, window.col_stop) for row, row_stop in pairwise(edges)
    ]
