"""The polygons of a map whose blocks come one after the other: traced while the next ones are made."""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.classes import NODATA, LandClass, complete_legend
from geoseg.polygons.provenance import table_provenance
from geoseg.polygons.table.store import PolygonStore
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.trace.block import BlockValues, trace_block
from geoseg.polygons.trace.trace import Tracer
from geoseg.polygons.zonal.statistics import Zonal, with_steps
from geoseg.raster.pixel_sizes import measure_pixel_sizes

if TYPE_CHECKING:
    from affine import Affine

_WAITING = 2
"""Blocks that may wait for the thread that traces."""
STRIP_PIXELS = 2**20
"""Pixels that are traced at once: a wide block goes through in strips, which takes less memory."""


@dataclass(frozen=True)
class StreamedMap:
    """What is known of a map before its first block.

    Attributes:
        shape: Rows and columns.
        crs: Rasterio CRS, or None.
        transform: Pixel to CRS, or None.
        origin: Row and column of its first pixel on the scene's grid.
        classes: All its classes by ascending id; the probabilities have a band for each.
        date: Acquisition date, or None.
        provenance: What made it.
    """

    shape: tuple[int, int]
    crs: Any
    transform: Affine | None
    origin: tuple[int, int]
    classes: tuple[LandClass, ...]
    date: datetime.date | None
    provenance: Mapping[str, str]


class PolygonStream:
    """Traces blocks in a thread of its own; the rows are those of ``trace_class_map``.

    Errors of the thread are raised by the next call.

    Args:
        info: The map.
        folder: Where polygons wait in nameless temporary files.
        junctions: Keep what ``change_borders`` needs.
        zonal: Statistics of other rasters to compute over the pixels of every polygon.
        check: Told the vertices of a large polygon before it is put together; may raise an error.

    Attributes:
        seconds: Busy time so far.
    """

    def __init__(
        self,
        info: StreamedMap,
        folder: Path,
        *,
        junctions: bool = False,
        zonal: Zonal | None = None,
        check: Callable[[int], None] | None = None,
    ) -> None:
        self.seconds = 0.0
        self._info = info
        self._junctions = junctions
        self._zonal = None if zonal is None else with_steps(zonal, info.shape)
        self._pixel_sizes = measure_pixel_sizes(info.crs, info.transform, info.shape, info.origin)
        self._store = PolygonStore(np.array([item.id for item in info.classes], np.uint8), folder)
        self._tracer = Tracer(
            info.shape, self._pixel_sizes, self._store, junctions=junctions, folder=folder, check=check
        )
        self._seen = np.zeros(256, dtype=bool)
        self._thread = ThreadPoolExecutor(1, "geoseg-trace")
        self._waiting: deque[Future[None]] = deque()

    def add(self, block: BlockValues) -> None:
        """Hand over the next block: from left to right, then the next row of blocks.

        Args:
            block: Its pixels, not to be changed afterwards; statistics are read when they are needed.
        """
        self._settle(_WAITING - 1)
        self._waiting.append(self._thread.submit(self._trace, block))

    def finish(self) -> PolygonTable:
        """Finish after the last block: all polygons, ordered by their first pixel."""
        self._settle(0)
        self.close()
        info = self._info
        polygons = self._store.finish_on_disk(self._pixel_sizes, info.transform, info.origin, info.shape)
        self._seen[NODATA] = False
        classes = complete_legend(info.classes, np.flatnonzero(self._seen).tolist())
        provenance = table_provenance(info.provenance, zonal=self._zonal)
        return PolygonTable(polygons, classes, info.crs, info.date, provenance, self._zonal)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _trace(self, block: BlockValues) -> None:
        since = perf_counter()
        for strip in _strips(block):
            traced = trace_block(
                self._with_statistics(strip), self._info.shape, self._pixel_sizes, junctions=self._junctions
            )
            self._tracer.add_traced(traced)
            self._seen[traced.class_ids] = True
        self.seconds += perf_counter() - since

    def _with_statistics(self, block: BlockValues) -> BlockValues:
        if self._zonal is None:
            return block
        values = self._zonal.read(block.row, block.column, *block.classes.shape)
        return BlockValues(
            block.row, block.column, block.classes, block.confidence, block.probabilities, values
        )

    def _settle(self, most: int) -> None:
        """Wait until at most so many blocks wait, and raise what went wrong."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()


def _strips(block: BlockValues) -> Iterator[BlockValues]:
    """Cut a block from left to right into parts of about as many pixels."""
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
