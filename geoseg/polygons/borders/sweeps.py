"""Find the segments of a border that a change moves across a fixed point: a junction or an island."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.ragged import group_starts, index_ranges

CELL_BITS = 9
"""The index has cells of 2^9 steps: sixteen pixels."""


class PointGrid:
    """A spatial index of points: a grid of cells.

    Args:
        points: Row and column, int32 (points, 2), not negative.
    """

    def __init__(self, points: NDArray[np.int32]) -> None:
        cells = points >> CELL_BITS
        self._shape = tuple((cells.max(axis=0) + 1).tolist()) if len(points) else (1, 1)
        cell = cells[:, 0].astype(np.int64) * self._shape[1] + cells[:, 1]
        order = np.argsort(cell)
        self._rows, self._columns = points[order, 0], points[order, 1]
        counts = np.bincount(cell, minlength=self._shape[0] * self._shape[1])
        self._begins = np.zeros(counts.size + 1, dtype=np.int32)
        np.cumsum(counts, out=self._begins[1:])

    def inside(self, boxes: Boxes) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """Find the points inside boxes, edges included.

        Returns:
            Index of the box, row and column of every point found.
        """
        rows, columns = self._shape
        top = np.maximum(boxes.top, 0) >> CELL_BITS
        left = np.maximum(boxes.left, 0) >> CELL_BITS
        right = np.minimum(boxes.right >> CELL_BITS, columns - 1)
        n_rows = np.minimum(boxes.bottom >> CELL_BITS, rows - 1) - top + 1
        some = np.flatnonzero((left <= right) & (n_rows > 0))
        n_rows = n_rows[some].astype(np.int64)
        box = np.repeat(some, n_rows)
        line = index_ranges(top[some].astype(np.int64), n_rows) * columns
        begin = self._begins[line + left[box]].astype(np.int64)
        count = self._begins[line + right[box] + 1] - begin
        full = np.flatnonzero(count)
        box = np.repeat(box[full], count[full])
        at = index_ranges(begin[full], count[full])
        row, column = self._rows[at], self._columns[at]
        within = (row >= boxes.top[box]) & (row <= boxes.bottom[box])
        within &= (column >= boxes.left[box]) & (column <= boxes.right[box])
        return box[within], row[within], column[within]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Bounding boxes: least and greatest row and column of each, int32."""

    top: NDArray[np.int32]
    bottom: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]


def swept(
    base: NDArray[np.int32],
    tails: NDArray[np.int64],
    heads: NDArray[np.int64],
    new_tails: NDArray[np.int32],
    new_heads: NDArray[np.int32],
    grid: PointGrid,
) -> NDArray[np.int64]:
    """Find the segments whose change sweeps over a point.

    A point is crossed if the loop along the old border and back along the new segment winds around it.

    Args:
        base: Vertices of the old borders, int32 (vertices, 2).
        tails: Index of the first old vertex that each segment replaces.
        heads: Index of the last one.
        new_tails: Beginning of each new segment, int32 (segments, 2).
        new_heads: Its end.
        grid: The points. A point at the first or last old vertex of a segment does not count for it.

    Returns:
        Index of each such segment, ascending.
    """
    if tails.size == 0:
        return tails
    rows, columns = np.ascontiguousarray(base.T)
    counts = heads - tails + 1
    chain = index_ranges(tails, counts)
    groups = group_starts(counts)
    spans = []
    for axis, line in enumerate((rows, columns)):
        passed = line[chain]
        one, other = new_tails[:, axis], new_heads[:, axis]
        spans.append(np.minimum(np.minimum.reduceat(passed, groups), np.minimum(one, other)))
        spans.append(np.maximum(np.maximum.reduceat(passed, groups), np.maximum(one, other)))
    segment, row, column = grid.inside(Boxes(*spans))
    tail, head = tails[segment], heads[segment]
    own = (row == rows[tail]) & (column == columns[tail])
    own |= (row == rows[head]) & (column == columns[head])
    segment, row, column = segment[~own], row[~own], column[~own]
    if segment.size == 0:
        return np.zeros(0, dtype=np.int64)

    # The loop, relative to the point: the old vertices, then the new segment backwards.
    sizes = counts[segment] + 2
    starts = group_starts(sizes)
    at = index_ranges(tails[segment], sizes)
    np.minimum(at, np.repeat(heads[segment], sizes), out=at)
    loops = []
    for axis, (line, point) in enumerate(((rows, row), (columns, column))):
        loop = line[at].astype(np.int64)
        loop[starts + sizes - 2] = new_heads[segment, axis]
        loop[starts + sizes - 1] = new_tails[segment, axis]
        loops.append(loop - np.repeat(point, sizes))
    return np.asarray(np.unique(segment[_windings(loops[0], loops[1], starts, sizes) != 0]))


def _windings(
    row: NDArray[np.int64], column: NDArray[np.int64], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Compute the winding numbers of closed loops around the origin."""
    following = np.arange(1, row.size + 1)
    following[starts + sizes - 1] = starts
    to_row, to_column = row[following], column[following]
    side = row * to_column - column * to_row
    turns = ((row <= 0) & (to_row > 0) & (side > 0)).astype(np.int64)
    turns -= (row > 0) & (to_row <= 0) & (side < 0)
    return np.asarray(np.add.reduceat(turns, starts))
