"""The polygons of a map on disk: sorted runs, read together in order, a bounded number at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.table.rows import Columns, Polygons, bounds_of, cut_evenly
from geoseg.raster.pixel_sizes import PixelSizes

if TYPE_CHECKING:
    from affine import Affine

PORTION = 2**16
"""Polygons that are read at once, about; never less than those that begin in one row of pixels."""
_VERTEX = 8
_MARK = 256
"""The place of every 256th polygon of a run is kept in memory."""


@dataclass(slots=True, eq=False)
class _Run:
    """Sorted polygons that follow each other in the file.

    Attributes:
        first: Number of the first one in the file.
        count: How many.
        marks: Row of every 256th one's first pixel.
    """

    first: int
    count: int
    marks: NDArray[np.int32]

    def between(self, low: int, high: int) -> tuple[int, int]:
        """Where those are that begin in rows ``low`` to ``high - 1``, with some before and after."""
        start = max(int(np.searchsorted(self.marks, low)) - 1, 0) * _MARK
        stop = min(int(np.searchsorted(self.marks, high)) * _MARK, self.count)
        return self.first + start, self.first + stop


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
        """All polygons in order, about so many at a time."""
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


@dataclass(frozen=True, slots=True, eq=False)
class StoredPolygons:
    """The polygons of a map, ordered by their first pixel; on disk but for a byte each.

    Attributes:
        records: One value a polygon.
        sizes: Vertices of every ring, in the order in which polygons were finished, int64.
        file: The vertices in that order, int32 pairs of row and column.
        pixel_sizes: Sizes of the raster's pixels, or None.
        transform: Pixel to CRS.
        origin: Row and column of the raster's first pixel on the scene's grid.
        kept: Which polygons are meant, bool; None for all.
        junctions: Whether more than two boundaries meet at each vertex of ``file``, one byte each; or None.
        shape: Rows and columns of the raster, or None where nobody asked.
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
        """Vertices of all polygons of the map, also of those that are not meant."""
        return os.fstat(self.file.fileno()).st_size // _VERTEX

    def take(self, chosen: NDArray[np.bool_]) -> StoredPolygons:
        """Only the chosen polygons; one bool for each."""
        if self.kept is None:
            return replace(self, kept=chosen)
        kept = self.kept.copy()
        kept[self.kept] = chosen
        return replace(self, kept=kept)

    def portions(self) -> Iterator[Polygons]:
        """The polygons in order, a bounded number at a time."""
        at = 0
        for columns in self.records.portions():
            part = slice(at, at + len(columns))
            at = part.stop
            yield self._in_memory(columns if self.kept is None else columns.take(self.kept[part]))

    def batches(self) -> Iterator[Polygons]:
        """The polygons in portions of bounded size; where they are cut depends on the polygons alone."""
        return cut_evenly(self.portions())

    def bounds(self) -> tuple[float, float, float, float] | None:
        """Least and greatest coordinates: (x min, y min, x max, y max); None without polygons."""
        return bounds_of(self.batches())

    def load(self) -> Polygons:
        """All of them in memory."""
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


def _mapped(file: IO[bytes]) -> NDArray[np.int64]:
    """Whole numbers in a file, read when they are looked at."""
    if file.seek(0, 2) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.memmap(file, dtype=np.int64, mode="r")
