"""Compute blocks: read pixels, run chips through the network, and sum the probabilities, all overlapping.

If memory runs out, ``Throttle`` lowers the number of concurrent inferences, so that the run does not fail.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Condition
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RunError, is_out_of_memory
from geoseg.grid import Block, Chip, Grid
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.reading import (
    STRIP_ROWS,
    AreaMask,
    BlockPixels,
    BlockReaders,
    BlockReading,
    Normalisation,
    PixelSource,
)
from geoseg.inference.sums import WeightedSums, begin_sums
from geoseg.inference.tally import Tally

_LOGGER = logging.getLogger(__name__)
T = TypeVar("T")

DEVICE_AHEAD = 4
"""Blocks read ahead of an accelerator, which computes a block faster than one thread decodes it."""

_READERS, _MANY_READERS = 2, 4
_MANY_FORWARDS = 8
"""Concurrent inferences from which on two reading threads are too slow."""


@dataclass(frozen=True)
class ComputedBlock:
    """A block with the sums of its own chips; the margins of its neighbours may be missing.

    Attributes:
        block: The block.
        total: The sums over its reach; None if no pixel of the reach is to be mapped.
        valid: bool (rows, columns) over its core: pixels to map.
        tally: Its counts and busy seconds.
    """

    block: Block
    total: WeightedSums | None
    valid: NDArray[np.bool_]
    tally: Tally


@dataclass(frozen=True)
class _Running:
    """A block whose inferences are in flight."""

    pixels: BlockPixels
    total: WeightedSums | None
    inferences: Sequence[Future[None]]
    tally: Tally


@dataclass(frozen=True)
class Ingredients:
    """What is needed to compute blocks.

    Attributes:
        source: The source of pixels, a scene.
        backend: Runs the network.
        grid: The global chip grid.
        normalisation: The package's normalisation.
        classes: Number of classes of the network.
        area: Returns the mask of pixels to map in a window (an area of interest); None for all.
        strip_rows: Rows of the scene to read at once, a multiple of the height of its files' tiles.
    """

    source: PixelSource
    backend: Backend
    grid: Grid
    normalisation: Normalisation
    classes: int
    area: AreaMask | None = None
    strip_rows: int = STRIP_ROWS


class BlockComputer(AbstractContextManager["BlockComputer"]):
    """Compute blocks in background threads, which end with the context.

    Args:
        ingredients: What is needed to compute blocks.
        concurrency: Inferences in flight at once; never changes the result. Default: the backend's.
    """

    def __init__(self, ingredients: Ingredients, concurrency: int | None = None) -> None:
        self._ingredients = ingredients
        backend = ingredients.backend
        concurrency = concurrency or backend.concurrency
        self._throttle = Throttle(concurrency)
        self._pool = ThreadPoolExecutor(concurrency, "geoseg-infer", initializer=backend.prepare_thread)
        self._ahead, threads = reading_ahead(backend.device, concurrency)
        self._readers = BlockReaders(
            ingredients.source,
            ingredients.normalisation,
            area=ingredients.area,
            strip_rows=ingredients.strip_rows,
            threads=threads,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads, and cancel work that has not begun."""
        self._readers.close()
        self._pool.shutdown(cancel_futures=True)

    def run(self, blocks: Iterable[Block]) -> Iterator[ComputedBlock]:
        """Compute blocks one after the other.

        Reading is one block ahead of the network (``DEVICE_AHEAD`` blocks for an accelerator), and the
        network is one block ahead of the caller. So at most three blocks (six) are in memory, whatever the
        size of the scene.

        Args:
            blocks: Blocks of the grid.

        Yields:
            The blocks in the same order.
        """
        reads = _ahead(map(self._readers.begin, blocks), self._ahead)
        # `map` keeps no reference to the pixels of a block that it yields; a loop variable would.
        yield from map(_finish, _ahead(map(self._start, reads)))

    def compute(self, block: Block) -> ComputedBlock:
        """Compute one block, and read it in the calling thread; several threads may call this at once."""
        return _finish(self._start(self._readers.read(block)))

    def _start(self, reading: BlockReading) -> _Running:
        """Start the inferences of a block, those of the first rows while the other rows are being read."""
        parts, pixels, tally = self._ingredients, reading.pixels, reading.tally
        every = list(parts.grid.chips(pixels.block))
        total: WeightedSums | None = None
        inferences = []
        for batch in _batches(reading.chips(every), parts.backend.batch_size):
            if total is None:
                total = begin_sums(parts.backend, parts.grid, pixels.block, parts.classes)
            tally.chips += len(batch)
            inferences.append(self._pool.submit(self._infer, total, pixels, batch, tally))
        tally.chips_skipped = len(every) - tally.chips
        return _Running(pixels, total, inferences, tally)

    def _infer(self, total: WeightedSums, pixels: BlockPixels, chips: Sequence[Chip], tally: Tally) -> None:
        with tally.spend("forward"):
            answer = self._throttle.run(lambda: total.infer(pixels, chips), tally.retry)
        with tally.spend("stitch"):
            total.stitch(chips, answer)


def reading_ahead(device: str, concurrency: int) -> tuple[int, int]:
    """Return how many blocks to read ahead of the one that a device computes, and how many strips at once."""
    if device != "cpu":
        return DEVICE_AHEAD, _MANY_READERS
    return 1, _READERS if concurrency < _MANY_FORWARDS else _MANY_READERS


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Group items into lists of ``size``, each yielded as soon as it is full; the last may be shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _finish(running: _Running) -> ComputedBlock:
    for inference in running.inferences:
        inference.result()
    block = running.pixels.block
    valid = running.pixels.wanted[block.core.slices(block.reach)]
    return ComputedBlock(block, running.total, valid, running.tally)


def _ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """Yield items in order, with the next ``depth`` of them already started."""
    started: deque[T] = deque()
    for item in items:
        started.append(item)
        if len(started) > depth:
            yield started.popleft()
    while started:
        yield started.popleft()


class Throttle:
    """Bound the number of concurrent inferences, and lower the bound by one each time memory runs out.

    The number never changes a result, because the shape of a batch stays.

    Args:
        most: Initial bound.

    Attributes:
        allowed: Current bound.
    """

    def __init__(self, most: int) -> None:
        self.allowed = most
        self._active = 0
        self._changed = Condition()

    def run(self, work: Callable[[], T], retried: Callable[[], None]) -> T:
        """Run an inference; if memory runs out, run it again with a lower bound.

        Args:
            work: The inference, which can be repeated.
            retried: Called each time the inference is repeated.

        Raises:
            RunError: If memory runs out although no other inference is running.
        """
        while True:
            with self._turn() as allowed:
                try:
                    return work()
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    if allowed == 1:
                        raise RunError(
                            f"memory ran out with one inference in flight ({_line(error)})"
                        ) from error
                    self._lower(allowed)
            retried()

    @contextmanager
    def _turn(self) -> Iterator[int]:
        with self._changed:
            self._changed.wait_for(lambda: self._active < self.allowed)
            self._active += 1
            allowed = self.allowed
        try:
            yield allowed
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def _lower(self, failed_with: int) -> None:
        """Lower the bound, once for inferences that fail together."""
        with self._changed:
            if failed_with <= self.allowed:
                self.allowed = failed_with - 1
                _LOGGER.warning("memory ran out; continuing with %d concurrent inferences", self.allowed)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
