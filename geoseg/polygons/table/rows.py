"""Polygons of a map as arrays: one row per polygon in memory, all vertices in a temporary file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.pixel_sizes import PixelSizes
from geoseg.raster.ragged import group_starts, index_ranges

if TYPE_CHECKING:
    from affine import Affine

BATCH_VERTICES = 2**19
BATCH_POLYGONS = 2**14


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns with one value per polygon; sums are integers, not yet in physical units.

    Attributes:
        row: Row of the polygon's first pixel in the raster, int32.
        column: Column of that pixel, int32.
        class_ids: Class, uint8.
        pixels: Number of pixels, int64.
        touches_edge: Borders on nodata or the raster's edge, bool.
        runner_up: Second class, int16, -1 unknown.
        rings: Number of rings, int64.
        first_ring: Index of its first ring among all rings, int64.
        vertices: Number of vertices, int64.
        first_vertex: Index of its first vertex among all vertices, int64.
        areas: Area in the unit of the pixel sizes, int64, or None.
        perimeters: Perimeter in the unit of the pixel sizes, int64, or None.
        confidence: Sum of stored confidence, int64, or None.
        confident: Number of pixels that have a confidence, int64, or None.
        least: Least stored confidence, uint8, or None.
        zonal: Sums of other rasters, int64 (polygons, measures, 2 or 4), or None; see ``ZonalSums``.
        zonal_least: Least values, int32 (polygons, measures), or None.
        zonal_most: Greatest values, int32 (polygons, measures), or None.
    """

    row: NDArray[np.int32]
    column: NDArray[np.int32]
    class_ids: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    touches_edge: NDArray[np.bool_]
    runner_up: NDArray[np.int16]
    rings: NDArray[np.int64]
    first_ring: NDArray[np.int64]
    vertices: NDArray[np.int64]
    first_vertex: NDArray[np.int64]
    areas: NDArray[np.int64] | None = None
    perimeters: NDArray[np.int64] | None = None
    confidence: NDArray[np.int64] | None = None
    confident: NDArray[np.int64] | None = None
    least: NDArray[np.uint8] | None = None
    zonal: NDArray[np.int64] | None = None
    zonal_least: NDArray[np.int32] | None = None
    zonal_most: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return int(self.row.size)

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Columns:
        """Keep only the chosen polygons."""
        return replace(self, **{name: column[chosen] for name, column in self._present().items()})

    @staticmethod
    def join(parts: list[Columns]) -> Columns:
        """Concatenate several sets of polygons."""
        if len(parts) == 1:
            return parts[0]
        present = [part._present() for part in parts]
        return replace(parts[0], **{n: np.concatenate([part[n] for part in present]) for n in present[0]})

    @staticmethod
    def none() -> Columns:
        """Return columns of length zero."""
        kinds = ("i4", "i4", "u1", "i8", "?", "i2", "i8", "i8", "i8", "i8")
        return Columns(*[np.zeros(0, dtype=kind) for kind in kinds])

    def in_order(self) -> Columns:
        """Sort the polygons by their first pixel."""
        return self.take(np.lexsort((self.column, self.row)))

    def to_records(self) -> NDArray[np.void]:
        """Convert to a structured array, one record per polygon, as it is stored on disk."""
        present = self._present()
        kinds = [(name, column.dtype, column.shape[1:]) for name, column in present.items()]
        records = np.empty(len(self), dtype=kinds)
        for name, column in present.items():
            records[name] = column
        return records

    @staticmethod
    def of_records(records: NDArray[np.void]) -> Columns:
        """Convert back from what ``to_records`` returned."""
        assert records.dtype.names is not None
        return Columns(**{name: np.ascontiguousarray(records[name]) for name in records.dtype.names})

    def _present(self) -> dict[str, NDArray[Any]]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """The polygons of a map, ordered by their first pixel.

    Attributes:
        columns: One row per polygon.
        ring_sizes: Number of vertices of every ring, in the order in which they were stored, int64.
        file: The vertices in that order, int32 pairs of row and column.
        pixel_sizes: Sizes of the raster's pixels, or None.
        transform: Pixel to CRS.
        origin: Row and column of the raster's first pixel on the scene's grid.
        junctions: Whether more than two boundaries meet at each vertex of ``file``, one byte each; or None.
        steps: Vertex coordinates per pixel: 1 if they count pixels, 32 if they count 32nds of a pixel.
        shape: Rows and columns of the raster, or None if unknown.
    """

    columns: Columns
    ring_sizes: NDArray[np.int64]
    file: IO[bytes]
    pixel_sizes: PixelSizes | None
    transform: Affine
    origin: tuple[int, int]
    junctions: IO[bytes] | None = None
    steps: int = 1
    shape: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def vertices(self) -> int:
        """Total number of vertices."""
        return int(self.columns.vertices.sum())

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Polygons:
        """Keep only the chosen polygons, in the order given."""
        return replace(self, columns=self.columns.take(chosen))

    def load(self) -> Polygons:
        """Return self: all polygons are in memory already."""
        return self

    def portions(self) -> Iterator[Polygons]:
        """Yield all polygons at once: they are in memory already."""
        yield self

    def batches(self) -> Iterator[Polygons]:
        """Yield the polygons in batches of bounded size; see ``cut_evenly``."""
        return cut_evenly([self])

    def coordinates(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Gather the polygons as ragged arrays.

        Returns:
            Coordinates in the CRS, float64 (vertices, 2); offsets of the rings, int64 (rings + 1,); offsets
            of the polygons among the rings, int64 (polygons + 1,). Rings are closed, exteriors
            counter-clockwise.
        """
        columns = self.columns
        sizes = self.ring_sizes[index_ranges(columns.first_ring, columns.rings)]
        at = index_ranges(columns.first_vertex, columns.vertices)
        t = self.transform
        if t.a * t.e - t.b * t.d > 0:  # the transform mirrors the image, so reverse the rings
            at = at[_reverse_groups(sizes)]
        corners = self._corners(at)
        points = np.empty((len(corners), 2))
        for axis, (across, down, offset) in enumerate(((t.a, t.b, t.c), (t.d, t.e, t.f))):
            # The division is exact, because the number of steps is a power of two.
            points[:, axis] = _affine(corners, across / self.steps, down / self.steps, offset)
        return points, np.append(0, np.cumsum(sizes)), np.append(0, np.cumsum(columns.rings))

    def geometries(self) -> NDArray[np.object_]:
        """Convert to shapely geometries."""
        import shapely

        if len(self) == 0:
            return np.zeros(0, dtype=object)
        points, rings, polygons = self.coordinates()
        made: NDArray[np.object_] = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, points, (rings, polygons)
        )
        return made

    def bounds(self) -> tuple[float, float, float, float] | None:
        """Return (x min, y min, x max, y max), or None if there are no polygons."""
        return bounds_of(self.batches())

    def _corners(self, indices: NDArray[np.int64]) -> NDArray[np.int32]:
        if indices.size == 0:
            return np.zeros((0, 2), dtype=np.int32)
        stored = np.memmap(self.file, dtype=np.int64, mode="r")  # one int64 holds row and column
        corners: NDArray[np.int32] = np.take(stored, indices).view(np.int32).reshape(-1, 2)
        return corners


def cut_evenly(portions: Iterable[Polygons]) -> Iterator[Polygons]:
    """Cut polygons into batches of bounded size, at places that depend on the polygons alone.

    Args:
        portions: The polygons in order, in portions of any size; the portions do not change the batches.
    """
    held: list[Polygons] = []
    vertices = rows = current = 0
    for portion in portions:
        if len(portion) == 0:
            continue
        sizes = np.cumsum(portion.columns.vertices)
        batch = (vertices + sizes - 1) // BATCH_VERTICES + (rows + np.arange(len(portion))) // BATCH_POLYGONS
        edges = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(portion)]
        for start, stop in pairwise(edges):
            if held and batch[start] != current:
                yield _joined(held)
                held = []
            held.append(portion.take(slice(start, stop)))
            current = batch[start]
        vertices += int(sizes[-1])
        rows += len(portion)
    if held:
        yield _joined(held)


def boxes_of(points: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the bounding box of each group of points.

    Args:
        points: float64 (points, 2), group after group.
        starts: Offsets of the groups, int64 (groups + 1,).

    Returns:
        x min, y min, x max and y max, float64 (groups, 4).
    """
    sides = [found.reduceat(points, starts[:-1], axis=0) for found in (np.minimum, np.maximum)]
    return np.concatenate(sides, axis=1)


def bounds_of(batches: Iterable[Polygons]) -> tuple[float, float, float, float] | None:
    """Return (x min, y min, x max, y max) of polygons, or None if there are none."""
    found = (batch.coordinates()[0] for batch in batches)
    boxes = [boxes_of(points, np.array([0, len(points)])) for points in found]
    if not boxes:
        return None
    sides = np.concatenate(boxes)
    low, high = sides[:, :2].min(axis=0), sides[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _affine(corners: NDArray[np.int32], across: float, down: float, offset: float) -> NDArray[np.float64]:
    """Compute one coordinate, x or y, of pixel corners given as row and column."""
    if across == 0.0 or down == 0.0:
        axis, factor = (0, down) if across == 0.0 else (1, across)
        return np.asarray(corners[:, axis] * factor + offset)
    return np.asarray(corners[:, 1] * across + corners[:, 0] * down + offset)


def _joined(parts: list[Polygons]) -> Polygons:
    return replace(parts[0], columns=Columns.join([part.columns for part in parts]))


def _reverse_groups(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices that reverse the order inside each group."""
    starts = group_starts(sizes)
    last = np.repeat(starts + sizes - 1, sizes)
    return last - (np.arange(last.size) - np.repeat(starts, sizes))
