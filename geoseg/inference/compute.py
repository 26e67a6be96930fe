"""Computes blocks: reads them, runs their chips and adds up the answers, all of it overlapped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Chip, Grid, Window
from geoseg.inference.accumulate import AccumulatedBlock, begin_block
from geoseg.inference.backend import Backend
from geoseg.inference.normalise import Normalisation
from geoseg.inference.pixels import BlockPixels, PixelSource
from geoseg.inference.tally import Tally
from geoseg.inference.throttle import Throttle

T = TypeVar("T")

DEVICE_READERS = 4
"""Blocks read at once for an accelerator, which computes them faster than one thread decodes them."""


@dataclass(frozen=True)
class ComputedBlock:
    """A block whose own chips are added up; what its neighbours computed of its core may be missing.

    Attributes:
        block: The block.
        total: The sums over its reach; None when no pixel of the reach is to be mapped.
        valid: bool (rows, columns) over its core: pixels to be mapped.
        tally: What it took.
    """

    block: Block
    total: AccumulatedBlock | None
    valid: NDArray[np.bool_]
    tally: Tally


@dataclass(frozen=True)
class _Running:
    """A block whose forwards are in flight."""

    pixels: BlockPixels
    total: AccumulatedBlock | None
    forwards: Sequence[Future[None]]
    tally: Tally


@dataclass(frozen=True)
class Ingredients:
    """What blocks are computed of.

    Attributes:
        source: Where pixels come from.
        backend: What runs the network.
        grid: The global chip grid.
        normalisation: The package's normalisation.
        classes: Number of classes of the network.
        area: Gives the mask of pixels to map in a window (an area of interest); None for all.
    """

    source: PixelSource
    backend: Backend
    grid: Grid
    normalisation: Normalisation
    classes: int
    area: Callable[[Window], NDArray[np.bool_]] | None = None


class BlockComputer:
    """Computes blocks in threads of its own, which end with the context.

    Args:
        ingredients: What blocks are computed of.
        forwards: Forwards in flight at once; never changes the result. Default: the backend's.
    """

    def __init__(self, ingredients: Ingredients, forwards: int | None = None) -> None:
        self._ingredients = ingredients
        backend = ingredients.backend
        self._throttle = Throttle(forwards or backend.forwards)
        self._forwards = ThreadPoolExecutor(
            forwards or backend.forwards, "geoseg-forward", initializer=backend.prepare_thread
        )
        self._readers = readers_for(backend.device)
        self._reader = ThreadPoolExecutor(self._readers, "geoseg-read")

    def __enter__(self) -> BlockComputer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; what has not begun never will."""
        self._reader.shutdown(cancel_futures=True)
        self._forwards.shutdown(cancel_futures=True)

    def run(self, blocks: Iterable[Block]) -> Iterator[ComputedBlock]:
        """Compute blocks one after the other.

        Reading runs one block ahead of the network (``DEVICE_READERS`` ahead of an accelerator), and the
        network one block ahead of who takes the blocks, so no more than three blocks (six) are in memory
        whatever the size of the scene.

        Args:
            blocks: Blocks of the grid.

        Yields:
            The blocks in the same order.
        """
        reads = _ahead((self._reader.submit(self._read, block) for block in blocks), self._readers)
        # `map` lets go of a block's pixels before the block is handed out; a loop's variable would not.
        yield from map(_finish, _ahead(self._start(*read.result()) for read in reads))

    def compute(self, block: Block) -> ComputedBlock:
        """Compute one block, read by the calling thread; several threads may do so at once."""
        return _finish(self._start(*self._read(block)))

    def _read(self, block: Block) -> tuple[BlockPixels, Tally]:
        parts, tally = self._ingredients, Tally()
        with tally.spend("read"):
            values, valid = parts.source.read(block.reach)
            wanted = valid if parts.area is None else valid & parts.area(block.reach)
            if wanted.any():
                parts.normalisation.apply(values, valid)
        return BlockPixels(block, values, wanted), tally

    def _start(self, pixels: BlockPixels, tally: Tally) -> _Running:
        parts = self._ingredients
        every = list(parts.grid.chips(pixels.block))
        chips = [chip for chip in every if pixels.wants(chip)]
        tally.chips, tally.chips_skipped = len(chips), len(every) - len(chips)
        if not chips:
            return _Running(pixels, None, (), tally)
        total = begin_block(parts.backend, parts.grid, pixels.block, parts.classes)
        size = parts.backend.batch_size
        batches = [chips[i : i + size] for i in range(0, len(chips), size)]
        forwards = [self._forwards.submit(self._forward, total, pixels, batch, tally) for batch in batches]
        return _Running(pixels, total, forwards, tally)

    def _forward(
        self, total: AccumulatedBlock, pixels: BlockPixels, chips: Sequence[Chip], tally: Tally
    ) -> None:
        with tally.spend("forward"):
            answer = self._throttle.run(lambda: total.forward(pixels, chips), tally.retry)
        with tally.spend("stitch"):
            total.stitch(chips, answer)


def readers_for(device: str) -> int:
    """How many blocks are read at once for a device."""
    return 1 if device == "cpu" else DEVICE_READERS


def _finish(running: _Running) -> ComputedBlock:
    for forward in running.forwards:
        forward.result()
    block = running.pixels.block
    valid = running.pixels.wanted[block.core.slices(block.reach)]
    return ComputedBlock(block, running.total, valid, running.tally)


def _ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """Yield items in order, always having started the next ``depth`` of them."""
    started: deque[T] = deque()
    for item in items:
        started.append(item)
        if len(started) > depth:
            yield started.popleft()
    yield from started
