"""Store the polygons of a map on disk by external sorting: sorted runs, merged when they are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.files import scratch_file
from geoseg.polygons.table.rows import Columns, Polygons, bounds_of, cut_evenly
from geoseg.polygons.trace.rings import Traced
from geoseg.polygons.trace.sums import PolygonSums
from geoseg.raster.pixel_sizes import PixelSizes
from geoseg.raster.ragged import group_starts

if TYPE_CHECKING:
    from affine import Affine

PORTION = 2**16
"""Approximate number of polygons read at once; at least all that begin in one row of pixels."""
_VERTEX = 8
_MARK = 256
"""Memory holds the position of every 256th polygon of a run."""
RUN = 2**16
"""Polygons sorted and written at once."""


class PolygonStore:
    """Collect finished polygons in any order: a ``Sink`` of the tracer.

    At most ``RUN`` polygons are in memory, waiting to be sorted; the others are in temporary files.

    Args:
        class_ids: Class of each probability band, ascending, uint8; empty without probabilities.
        folder: Folder for the temporary files; None for the system's.
    """

    def __init__(self, class_ids: NDArray[np.uint8], folder: Path | None = None) -> None:
        self._class_ids = class_ids
        self._folder = folder
        self._file = scratch_file(folder)
        self._sizes = scratch_file(folder)
        self._junctions: IO[bytes] | None = None
        self._records = Records(scratch_file(folder))
        self._parts: list[Columns] = []
        self._n_waiting = 0
        self._n_rings = 0
        self._n_vertices = 0

    def add(self, traced: Traced, sums: PolygonSums) -> None:
        """Add polygons and, in the same order, the sums over their pixels."""
        first_ring = group_starts(traced.ring_counts)
        vertices = np.add.reduceat(traced.ring_sizes, first_ring)
        first_vertex = group_starts(vertices)
        self._parts.append(
            Columns(
                row=traced.vertices[first_vertex, 0],
                column=traced.vertices[first_vertex, 1],
                class_ids=sums.class_ids,
                pixels=sums.pixels,
                touches_edge=traced.touches_edge,
                runner_up=sums.runner_up(self._class_ids),
                rings=traced.ring_counts,
                first_ring=first_ring + self._n_rings,
                vertices=vertices,
                first_vertex=first_vertex + self._n_vertices,
                areas=sums.areas,
                perimeters=traced.perimeters,
                confidence=sums.confidence,
                confident=sums.confident,
                least=sums.least,
                zonal=sums.zonal,
                zonal_least=sums.zonal_least,
                zonal_most=sums.zonal_most,
            )
        )
        self._n_waiting += len(traced)
        self._n_rings += traced.ring_sizes.size
        self._n_vertices += len(traced.vertices)
        self._sizes.write(np.ascontiguousarray(traced.ring_sizes).data)
        self._file.write(np.ascontiguousarray(traced.vertices).data)
        if traced.junctions is not None:
            self._junctions = self._junctions or scratch_file(self._folder)
            self._junctions.write(np.ascontiguousarray(traced.junctions).data)
        if self._n_waiting >= RUN:
            self._sort()

    def finish(
        self, pixel_sizes: PixelSizes | None, transform: Affine | None, origin: tuple[int, int] = (0, 0)
    ) -> Polygons:
        """Finish like ``finish_on_disk``, and load all polygons into memory."""
        return self.finish_on_disk(pixel_sizes, transform, origin).load()

    def finish_on_disk(
        self,
        pixel_sizes: PixelSizes | None,
        transform: Affine | None,
        origin: tuple[int, int] = (0, 0),
        shape: tuple[int, int] | None = None,
    ) -> StoredPolygons:
        """Return all polygons, ordered by their first pixel; add nothing to the store afterwards.

        Args:
            pixel_sizes: Sizes of the raster's pixels, or None.
            transform: Pixel to CRS; None for x = column, y = -row.
            origin: Row and column of the raster's first pixel on the scene's grid.
            shape: Rows and columns of the raster, or None.
        """
        from affine import Affine

        self._sort()
        for file in (self._file, self._sizes, self._junctions):
            if file is not None:
                file.flush()
        transform = transform if transform is not None else Affine(1, 0, 0, 0, -1, 0)
        return StoredPolygons(
            self._records,
            self._sizes,
            self._file,
            pixel_sizes,
            transform,
            origin,
            junctions=self._junctions,
            shape=shape,
        )

    def _sort(self) -> None:
        """Write the waiting polygons as one sorted run."""
        if self._n_waiting:
            self._records.add(Columns.join(self._parts).in_order())
            self._parts, self._n_waiting = [], 0


@dataclass(frozen=True, slots=True, eq=False)
class StoredPolygons:
    """The polygons of a map, ordered by their first pixel, on disk; memory holds one byte per polygon.

    Attributes:
        records: One record per polygon.
        sizes: Number of vertices of every ring, in the order in which they were stored, int64.
        file: The vertices in that order, int32 pairs of row and column.
        pixel_sizes: Sizes of the raster's pixels, or None.
        transform: Pixel to CRS.
        origin: Row and column of the raster's first pixel on the scene's grid.
        kept: Which polygons are selected, bool; None for all.
        junctions: Whether more than two boundaries meet at each vertex of ``file``, one byte each; or None.
        shape: Rows and columns of the raster, or None if unknown.
    """

    records: Records
    sizes: IO[bytes]
    file: IO[bytes]
    pixel_sizes: PixelSizes | None
    transform: Affine
    origin: tuple[int, int]
    kept: NDArray[np.bool_] | None = field(default=None)
    junctions: IO[bytes] | None = None
    shape: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.records) if self.kept is None else int(np.count_nonzero(self.kept))

    @property
    def vertices(self) -> int:
        """Number of vertices of all polygons of the map, selected or not."""
        return os.fstat(self.file.fileno()).st_size // _VERTEX

    def take(self, chosen: NDArray[np.bool_]) -> StoredPolygons:
        """Keep only the chosen polygons, given as one bool per polygon."""
        if self.kept is None:
            return replace(self, kept=chosen)
        kept = self.kept.copy()
        kept[self.kept] = chosen
        return replace(self, kept=kept)

    def portions(self) -> Iterator[Polygons]:
        """Yield the polygons in order, a bounded number at a time."""
        at = 0
        for columns in self.records.portions():
            part = slice(at, at + len(columns))
            at = part.stop
            yield self._in_memory(columns if self.kept is None else columns.take(self.kept[part]))

    def batches(self) -> Iterator[Polygons]:
        """Yield the polygons in batches of bounded size; see ``cut_evenly``."""
        return cut_evenly(self.portions())

    def bounds(self) -> tuple[float, float, float, float] | None:
        """Return (x min, y min, x max, y max), or None if there are no polygons."""
        return bounds_of(self.batches())

    def load(self) -> Polygons:
        """Load all polygons into memory."""
        parts = [portion.columns for portion in self.portions()]
        return self._in_memory(Columns.join(parts) if parts else Columns.none())

    def _in_memory(self, columns: Columns) -> Polygons:
        return Polygons(
            columns,
            _mapped(self.sizes),
            self.file,
            self.pixel_sizes,
            self.transform,
            self.origin,
            self.junctions,
            shape=self.shape,
        )


class Records:
    """Sorted runs of polygons in one file.

    Args:
        file: An empty file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._runs: list[_Run] = []
        self._kind: np.dtype[np.void] | None = None
        self._begin = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return sum(run.count for run in self._runs)

    def add(self, columns: Columns) -> None:
        """Write polygons that are ordered by their first pixel."""
        records = columns.to_records()
        self._kind = records.dtype
        self._runs.append(_Run(len(self), len(columns), columns.row[::_MARK].copy()))
        self._file.write(records.data)
        begin = np.bincount(columns.row)
        if begin.size > self._begin.size:
            begin, self._begin = self._begin, begin
        self._begin[: begin.size] += begin

    def portions(self, size: int = PORTION) -> Iterator[Columns]:
        """Merge the runs: yield all polygons in order, about ``size`` at a time."""
        if self._kind is None:
            return
        self._file.flush()
        number = (np.cumsum(self._begin) - 1) // size
        edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), number.size]
        for low, high in pairwise(edges):
            parts = []
            for run in self._runs:
                start, stop = run.between(low, high)
                if stop > start:
                    part = Columns.of_records(self._read(start, stop))
                    parts.append(part.take((part.row >= low) & (part.row < high)))
            if sum(map(len, parts)):
                yield Columns.join(parts).in_order()

    def _read(self, start: int, stop: int) -> NDArray[np.void]:
        assert self._kind is not None
        self._file.seek(start * self._kind.itemsize)
        return np.fromfile(self._file, dtype=self._kind, count=stop - start)


@dataclass(slots=True, eq=False)
class _Run:
    """A sorted run of polygons in the file.

    Attributes:
        first: Index of its first record in the file.
        count: Number of polygons.
        marks: Row of the first pixel of every 256th polygon.
    """

    first: int
    count: int
    marks: NDArray[np.int32]

    def between(self, low: int, high: int) -> tuple[int, int]:
        """Return a range of records that holds all polygons that begin in rows ``low`` to ``high - 1``.

        It may hold some others before and after them.
        """
        start = max(int(np.searchsorted(self.marks, low)) - 1, 0) * _MARK
        stop = min(int(np.searchsorted(self.marks, high)) * _MARK, self.count)
        return self.first + start, self.first + stop


def _mapped(file: IO[bytes]) -> NDArray[np.int64]:
    """Map the int64 values of a file into memory; pages are read on access."""
    if file.seek(0, 2) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.memmap(file, dtype=np.int64, mode="r")
