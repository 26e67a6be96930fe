"""Build the polygon table of a map from its blocks: those of a file, or those that a run computes now."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.classes import NODATA, LandClass, complete_legend
from geoseg.polygons.provenance import table_provenance
from geoseg.polygons.table.store import PolygonStore
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.trace.block import BlockValues, TracedBlock, trace_block
from geoseg.polygons.trace.trace import Tracer
from geoseg.polygons.zonal.statistics import Zonal, with_steps
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.system.cpu import BackgroundThread

if TYPE_CHECKING:
    from affine import Affine


@dataclass(frozen=True)
class MapToTrace:
    """What must be known of a map before its first block is traced.

    Attributes:
        shape: Rows and columns.
        crs: Rasterio CRS, or None.
        transform: Pixel to CRS, or None.
        origin: Row and column of the map's first pixel on the scene's grid.
        classes: Its classes by ascending id.
        date: Acquisition date, or None.
        provenance: Tags that say how the map was made.
        bands: Class id of each probability band, ascending; empty without probabilities.
        colors: Colour by class id, for classes that the map holds and ``classes`` lacks.
        without: Rasters that are missing, so that their columns are null: ``confidence``, ``probabilities``.
    """

    shape: tuple[int, int]
    crs: Any
    transform: Affine | None
    origin: tuple[int, int]
    classes: tuple[LandClass, ...]
    date: datetime.date | None
    provenance: Mapping[str, str]
    bands: Sequence[int] = ()
    colors: Mapping[int, str] = field(default_factory=dict)
    without: Sequence[str] = ()


class TableBuilder:
    """Trace blocks of a map, join them, and build the table of all polygons.

    ``trace`` may run in several threads at once; ``add`` takes its results one at a time, in row order.

    Args:
        source: The map.
        folder: Where polygons wait in temporary files; None for the system's folder.
        junctions: Record at which vertices more than two boundaries meet, which ``change_borders`` needs.
        zonal: Statistics of other rasters to compute over the pixels of every polygon.
        check: Called with the number of vertices of a large polygon before it is assembled; may raise.

    Attributes:
        zonal: The statistics, ready to be read block by block; None if there are none.
    """

    def __init__(
        self,
        source: MapToTrace,
        folder: Path | None,
        *,
        junctions: bool = False,
        zonal: Zonal | None = None,
        check: Callable[[int], None] | None = None,
    ) -> None:
        self.zonal = None if zonal is None else with_steps(zonal, source.shape)
        self._source = source
        self._junctions = junctions
        self._pixel_sizes = measure_pixel_sizes(source.crs, source.transform, source.shape, source.origin)
        self._store = PolygonStore(np.array(source.bands, dtype=np.uint8), folder)
        self._tracer = Tracer(
            source.shape, self._pixel_sizes, self._store, junctions=junctions, folder=folder, check=check
        )
        self._seen = np.zeros(256, dtype=bool)

    def trace(self, block: BlockValues) -> TracedBlock:
        """Trace one block by itself."""
        return trace_block(block, self._source.shape, self._pixel_sizes, junctions=self._junctions)

    def add(self, traced: TracedBlock) -> None:
        """Join the next block to those before it: from left to right, then the next row of blocks."""
        self._tracer.add_traced(traced)
        self._seen[traced.class_ids] = True

    def finish(self) -> PolygonTable:
        """Return all polygons, ordered by their first pixel, after the last block."""
        source = self._source
        polygons = self._store.finish_on_disk(
            self._pixel_sizes, source.transform, source.origin, source.shape
        )
        self._seen[NODATA] = False
        legend = complete_legend(source.classes, np.flatnonzero(self._seen).tolist(), colors=source.colors)
        provenance = table_provenance(source.provenance, zonal=self.zonal, without=source.without)
        return PolygonTable(polygons, legend, source.crs, source.date, provenance, self.zonal)


_MAX_WAITING = 2
"""Blocks that may wait for the tracing thread."""
STRIP_PIXELS = 2**20
"""Pixels traced at once: a wide block is traced in strips, which needs less memory."""


class PolygonStream:
    """Trace blocks in a background thread; the table is the one that ``trace_class_map`` gives.

    The next call raises an error that occurred in the thread.

    Args:
        builder: Builds the table.

    Attributes:
        seconds: Time that the thread has spent tracing so far.
    """

    def __init__(self, builder: TableBuilder) -> None:
        self.seconds = 0.0
        self._builder = builder
        self._thread = BackgroundThread("geoseg-trace", _MAX_WAITING)

    def add(self, block: BlockValues) -> None:
        """Submit the next block, from left to right, then the next row of blocks.

        Args:
            block: Its pixels, which must not be changed afterwards; the thread reads the statistics itself.
        """
        self._thread.submit(self._trace, block)

    def finish(self) -> PolygonTable:
        """Return all polygons, ordered by their first pixel, after the last block."""
        self._thread.flush()
        self.close()
        return self._builder.finish()

    def close(self) -> None:
        """Stop the thread."""
        self._thread.close()

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
