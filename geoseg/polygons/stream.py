"""Trace the polygons of a map in a background thread while its blocks are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from geoseg.polygons.builder import MapToTrace, TableBuilder
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.trace.block import BlockValues
from geoseg.polygons.zonal.statistics import Zonal

_MAX_WAITING = 2
"""Blocks that may wait for the tracing thread (back-pressure)."""
STRIP_PIXELS = 2**20
"""Pixels traced at once: a wide block is traced in strips, which needs less memory."""


class PolygonStream:
    """Trace blocks in a background thread; the table is the one that ``trace_class_map`` gives.

    The next call raises an error that occurred in the thread.

    Args:
        source: The map.
        folder: Where polygons wait in temporary files.
        junctions: Record at which vertices more than two boundaries meet, which ``change_borders`` needs.
        zonal: Statistics of other rasters to compute over the pixels of every polygon.
        check: Called with the number of vertices of a large polygon before it is assembled; may raise.

    Attributes:
        seconds: Time that the thread has spent tracing so far.
    """

    def __init__(
        self,
        source: MapToTrace,
        folder: Path,
        *,
        junctions: bool = False,
        zonal: Zonal | None = None,
        check: Callable[[int], None] | None = None,
    ) -> None:
        self.seconds = 0.0
        self._builder = TableBuilder(source, folder, junctions=junctions, zonal=zonal, check=check)
        self._thread = ThreadPoolExecutor(1, "geoseg-trace")
        self._waiting: deque[Future[None]] = deque()

    def add(self, block: BlockValues) -> None:
        """Submit the next block, from left to right, then the next row of blocks.

        Args:
            block: Its pixels, which must not be changed afterwards; the thread reads the statistics itself.
        """
        self._wait_until(_MAX_WAITING - 1)
        self._waiting.append(self._thread.submit(self._trace, block))

    def finish(self) -> PolygonTable:
        """Return all polygons, ordered by their first pixel, after the last block."""
        self._wait_until(0)
        self.close()
        return self._builder.finish()

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _trace(self, block: BlockValues) -> None:
        since = perf_counter()
        for strip in _strips(block):
            self._builder.add(self._builder.trace(self._with_statistics(strip)))
        self.seconds += perf_counter() - since

    def _with_statistics(self, strip: BlockValues) -> BlockValues:
        zonal = self._builder.zonal
        if zonal is None:
            return strip
        return replace(strip, zonal=zonal.read(strip.row, strip.column, *strip.classes.shape))

    def _wait_until(self, count: int) -> None:
        """Wait until at most ``count`` blocks are unfinished, and raise what went wrong in the thread."""
        while len(self._waiting) > count:
            self._waiting.popleft().result()


def _strips(block: BlockValues) -> Iterator[BlockValues]:
    """Cut a block from left to right into strips of at most ``STRIP_PIXELS``, or of one column."""
    height, width = block.classes.shape
    step = -(-width // max(1, -(-height * width // STRIP_PIXELS)))
    for left in range(0, width, step):
        part = (slice(None), slice(left, left + step))
        confidence, probabilities = block.confidence, block.probabilities
        yield BlockValues(
            block.row,
            block.column + left,
            block.classes[part],
            None if confidence is None else confidence[part],
            None if probabilities is None else probabilities[(slice(None), *part)],
        )
