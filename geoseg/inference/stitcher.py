"""The stitcher: reads blocks, runs their chips, blends them, and hands margins from block to block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Chip, Grid, Window
from geoseg.inference.backend import Backend
from geoseg.inference.blend import BlockSum, Margins, to_steps
from geoseg.inference.normalise import Normalisation

T = TypeVar("T")


class PixelSource(Protocol):
    """What the stitcher needs of a scene: pixels in physical units and which of them are valid."""

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values float32 (bands, rows, columns), NaN where nodata, and valid bool (rows, columns)."""


@dataclass(frozen=True)
class StitchedBlock:
    """A finished block.

    Attributes:
        block: The block; the arrays cover its ``core``.
        sums: int32 (classes, rows, columns) in units of ``blend.SUM_ONE``; None when no pixel is valid.
        valid: bool (rows, columns): pixels to be mapped.
    """

    block: Block
    sums: NDArray[np.int32] | None
    valid: NDArray[np.bool_]


@dataclass
class Tally:
    """Counts and busy seconds of a run; the seconds of several threads add up.

    Attributes:
        chips: Chips that went through the network.
        chips_skipped: Chips without a pixel to map.
        read: Seconds spent reading and normalising.
        forward: Seconds spent in forwards.
        stitch: Seconds spent blending.
    """

    chips: int = 0
    chips_skipped: int = 0
    read: float = 0.0
    forward: float = 0.0
    stitch: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def spend(self, stage: str, since: float) -> None:
        """Add the seconds from ``since`` (``perf_counter``) until now to a stage."""
        with self._lock:
            setattr(self, stage, getattr(self, stage) + perf_counter() - since)


@dataclass(frozen=True)
class _Pixels:
    """A block's network input over its reach, and the pixels of it to map."""

    block: Block
    values: NDArray[np.float32]
    wanted: NDArray[np.bool_]

    def wants(self, chip: Chip) -> bool:
        inside = chip.window.intersection(self.block.reach)
        return inside is not None and bool(self.wanted[inside.slices(self.block.reach)].any())

    def cut(self, chips: list[Chip], batch_size: int, chip_size: int) -> NDArray[np.float32]:
        """Stack chips into one batch of the fixed shape; 0 beyond the scene and in missing chips."""
        batch = np.zeros((batch_size, self.values.shape[0], chip_size, chip_size), np.float32)
        for slot, chip in zip(batch, chips, strict=False):
            inside = chip.window.intersection(self.block.reach)
            if inside is not None:
                source = (slice(None), *inside.slices(self.block.reach))
                slot[(slice(None), *inside.slices(chip.window))] = self.values[source]
        return batch


@dataclass(frozen=True)
class _Running:
    """A block whose forwards are in flight."""

    pixels: _Pixels
    forwards: list[tuple[list[Chip], Future[NDArray[np.uint16]]]]


@dataclass(frozen=True)
class Stitcher:
    """Turns blocks of a scene into blocks of blended probabilities.

    Attributes:
        source: Where pixels come from.
        backend: What runs the network.
        grid: The global chip grid.
        normalisation: The package's normalisation.
        classes: Number of classes of the network.
        area: Gives the mask of pixels to map in a window (an area of interest); None for all.
        tally: Counts and seconds, filled while running.
    """

    source: PixelSource
    backend: Backend
    grid: Grid
    normalisation: Normalisation
    classes: int
    area: Callable[[Window], NDArray[np.bool_]] | None = None
    tally: Tally = field(default_factory=Tally)

    def run(self, blocks: Iterable[Block], forwards: int | None = None) -> Iterator[StitchedBlock]:
        """Stitch blocks.

        Reading runs one block ahead of the network, and the network one block ahead of blending, so at most
        three blocks are in memory whatever the size of the scene.

        Args:
            blocks: Blocks of ``grid`` in row order (``Grid.blocks``).
            forwards: Forwards in flight at once; never changes the result. Default: the backend's.

        Yields:
            The blocks in the same order.
        """
        workers = ThreadPoolExecutor(
            forwards or self.backend.forwards, "geoseg-forward", initializer=self.backend.prepare_thread
        )
        reader = ThreadPoolExecutor(1, "geoseg-read")
        margins = Margins()
        try:
            reads = _ahead(reader.submit(self._read, block) for block in blocks)
            running = _ahead(self._start(read.result(), workers) for read in reads)
            for block in running:
                yield self._finish(block, margins)
        finally:
            reader.shutdown(cancel_futures=True)
            workers.shutdown(cancel_futures=True)

    def _read(self, block: Block) -> _Pixels:
        since = perf_counter()
        values, valid = self.source.read(block.reach)
        wanted = valid if self.area is None else valid & self.area(block.reach)
        if wanted.any():
            self.normalisation.apply(values, valid)
        self.tally.spend("read", since)
        return _Pixels(block, values, wanted)

    def _start(self, pixels: _Pixels, workers: ThreadPoolExecutor) -> _Running:
        every = list(self.grid.chips(pixels.block))
        chips = [chip for chip in every if pixels.wants(chip)]
        self.tally.chips += len(chips)
        self.tally.chips_skipped += len(every) - len(chips)
        size = self.backend.batch_size
        batches = [chips[i : i + size] for i in range(0, len(chips), size)]
        return _Running(pixels, [(batch, workers.submit(self._forward, pixels, batch)) for batch in batches])

    def _forward(self, pixels: _Pixels, chips: list[Chip]) -> NDArray[np.uint16]:
        since = perf_counter()
        batch = pixels.cut(chips, self.backend.batch_size, self.grid.chip_size)
        steps = to_steps(self.backend.probabilities(batch))
        self.tally.spend("forward", since)
        return steps

    def _finish(self, running: _Running, margins: Margins) -> StitchedBlock:
        block = running.pixels.block
        received = margins.take(block)
        valid = running.pixels.wanted[block.core.slices(block.reach)]
        if not running.forwards:
            return StitchedBlock(block, None, valid)
        total = BlockSum(self.grid, block, self.classes)
        for chips, future in running.forwards:
            steps = future.result()
            since = perf_counter()
            for chip, one in zip(chips, steps, strict=False):
                total.add(chip, one)
            self.tally.spend("stitch", since)
        margins.hand_on(total)
        for margin in received:
            total.part(margin.window)[...] += margin.sums
        return StitchedBlock(block, total.part(block.core), valid)


def _ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """Yield items in order, always having started the next ``depth`` of them."""
    started: deque[T] = deque()
    for item in items:
        started.append(item)
        if len(started) > depth:
            yield started.popleft()
    yield from started
