"""Find the borders that touch although they must not, exactly, among millions of short segments.

Two lines are clear of each other if no two of their segments touch, except at a common end. Segments are
compared if they share a cell of a grid; positions are integers, so each comparison is exact. A segment whose
end comes within one step of another segment counts as touching, so that neither the map's transform nor the
rounding of a file format can make the two cross.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines
from geoseg.raster.ragged import group_starts, index_ranges
from geoseg.system.cpu import in_order

CELL_BITS = 8
"""Cells of the grid are 2^8 steps wide: eight pixels."""
BAND_CELLS = 32
"""Rows of cells processed at once."""
PORTION = 2**18
"""Junctions processed at once."""
NEAR = 1
"""Distance in steps at which an end counts as touching a segment."""


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """Straight segments; coordinates are whole numbers in float64, whose products are exact.

    Attributes:
        row: Row at which each begins.
        column: Column at which it begins.
        down: Rows from its beginning to its end.
        across: Columns from its beginning to its end.
        tail: Index of the vertex at which it begins, or -1 at an end of a line, where lines may meet; int64.
        head: Index of the vertex at which it ends, or -1.
    """

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    down: NDArray[np.float64]
    across: NDArray[np.float64]
    tail: NDArray[np.int64]
    head: NDArray[np.int64]

    @staticmethod
    def of(lines: Lines) -> _Segments:
        """Return all segments of some lines."""
        starts, counts = lines.starts, lines.sizes - 1
        tail = index_ranges(starts, counts)
        name = np.arange(len(lines.points))
        name[starts] = name[starts + counts] = -1
        row, column = lines.points[:, 0].astype(np.float64), lines.points[:, 1].astype(np.float64)
        down, across = np.diff(row, append=0.0), np.diff(column, append=0.0)
        return _Segments(row[tail], column[tail], down[tail], across[tail], name[tail], name[tail + 1])

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> _Segments:
        return _Segments(
            self.row[chosen],
            self.column[chosen],
            self.down[chosen],
            self.across[chosen],
            self.tail[chosen],
            self.head[chosen],
        )


def find_touching(
    lines: Lines, fresh: NDArray[np.bool_], among: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Find the segments that overlap another one, or touch it elsewhere than at a common end.

    Args:
        lines: All lines.
        fresh: Lines to compare with the others; the lines that are not fresh do not touch each other.
        among: Lines to compare with, the fresh ones included; None for all.

    Returns:
        Index of the first vertex of each such segment, ascending.
    """
    starts = lines.starts
    if starts.size == 0:
        return starts
    top = (np.minimum.reduceat(lines.points[:, 0], starts) - NEAR) >> CELL_BITS
    bottom = (np.maximum.reduceat(lines.points[:, 0], starts) + NEAR) >> CELL_BITS

    def compare(band: int) -> NDArray[np.int64]:
        inside = (top < band + BAND_CELLS) & (bottom >= band)
        if among is not None:
            inside &= among
        at = np.flatnonzero(inside)
        part = lines.take(at)
        counts = part.sizes - 1
        segments = _Segments.of(part)
        first, second = _neighbours(segments, np.repeat(fresh[at], counts), band)
        clash = _touch(segments.take(first), segments.take(second))
        found = np.unique(np.concatenate([first[clash], second[clash]]))
        own: NDArray[np.int64] = index_ranges(starts[at], counts)[found]
        return own

    bands = range(int(top.min()), int(bottom.max()) + 1, BAND_CELLS)
    return np.asarray(np.unique(np.concatenate(list(in_order(compare, bands)))))


def _neighbours(
    segments: _Segments, fresh: NDArray[np.bool_], band: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair the segments whose bounding boxes meet in a band, at least one of them fresh.

    A pair may occur twice.
    """
    row, column = segments.row + segments.down, segments.column + segments.across
    tops, bottoms = np.minimum(segments.row, row) - NEAR, np.maximum(segments.row, row) + NEAR
    lefts, rights = np.minimum(segments.column, column) - NEAR, np.maximum(segments.column, column) + NEAR
    at = np.flatnonzero((_cell(tops) < band + BAND_CELLS) & (_cell(bottoms) >= band))
    cell, owner = _passed_cells(segments.take(at), band)
    order = np.argsort(cell)
    cell, segment = cell[order], at[owner[order]]
    top, bottom, left, right = (side[segment].astype(np.int32) for side in (tops, bottoms, lefts, rights))
    new = fresh[segment]
    pairs = [(at[:0], at[:0])]
    first = np.arange(cell.size)
    for step in range(1, cell.size):
        first = first[: np.searchsorted(first, cell.size - step)]
        first = first[cell[first] == cell[first + step]]
        if first.size == 0:
            break
        second = first + step
        meet = top[first] <= bottom[second]
        meet &= top[second] <= bottom[first]
        meet &= left[first] <= right[second]
        meet &= left[second] <= right[first]
        meet &= new[first] | new[second]
        pairs.append((segment[first[meet]], segment[second[meet]]))
    ones, others = zip(*pairs, strict=True)
    return np.concatenate(ones), np.concatenate(others)


def _cell(position: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(position * 2.0**-CELL_BITS).astype(np.int64)


def _passed_cells(segments: _Segments, band: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the cells of a band of the grid through which segments pass, with a margin.

    Args:
        segments: Segments that reach into the band.
        band: First row of cells of the band.

    Returns:
        Cells, numbered row by row; and the index of the segment that passes through each.
    """
    rising = segments.down < 0
    upper = np.where(rising, segments.row + segments.down, segments.row)
    start = np.where(rising, segments.column + segments.across, segments.column)
    height = np.abs(segments.down)
    width = np.where(rising, -segments.across, segments.across)
    first = np.maximum(_cell(upper - NEAR), band)
    rows = np.minimum(_cell(upper + height + NEAR), band + BAND_CELLS - 1) - first + 1
    segment = np.repeat(np.arange(rows.size), rows)
    row = index_ranges(first, rows)
    # Clip the segment at the upper and the lower edge of the cells, with a margin.
    slope = width / np.maximum(height, 1.0)
    above = (row << CELL_BITS) - upper[segment]
    most, level = height[segment], (height < 1.0)[segment]
    one = np.clip(above - NEAR, 0.0, most) * slope[segment]
    other = np.clip(above + (2**CELL_BITS + NEAR), 0.0, most) * slope[segment]
    other[level] = width[segment[level]]
    begin = start[segment]
    left = _cell(begin + np.minimum(one, other) - NEAR)
    columns = _cell(begin + np.maximum(one, other) + NEAR) - left + 1
    cell = (row - band) * np.int64(2**32)
    return np.repeat(cell, columns) + index_ranges(left, columns), np.repeat(segment, columns)


def _touch(one: _Segments, other: _Segments) -> NDArray[np.bool_]:
    """Tell for each pair of segments whether they touch elsewhere than at a common end."""
    down, across = other.row - one.row, other.column - one.column
    clash = ~_is_beside(one, down, across, other)
    rest = np.flatnonzero(clash)
    one, other, down, across = one.take(rest), other.take(rest), down[rest], across[rest]
    clash[rest] = ~_is_beside(other, -down, -across, one)
    rest = rest[still := clash[rest]]
    one, other, down, across = one.take(still), other.take(still), down[still], across[still]

    tails = (one.tail == other.tail) & (down == 0) & (across == 0)
    heads = (one.head == other.head) & (down + other.down == one.down) & (across + other.across == one.across)
    tail_head = (one.tail == other.head) & (down + other.down == 0) & (across + other.across == 0)
    head_tail = (one.head == other.tail) & (down == one.down) & (across == one.across)
    # Segments that share an end also clash if they leave it in the same direction.
    sign = np.where(tails | heads, 1.0, -1.0)
    turn = one.down * other.across - one.across * other.down
    ahead = sign * (one.down * other.down + one.across * other.across)
    same = (np.abs(turn) <= NEAR * np.maximum(_reach(one), _reach(other))) & (ahead > 0)
    joined = tails | heads | tail_head | head_tail
    clash[rest] = ~joined | same
    return clash


def _is_beside(
    segment: _Segments, down: NDArray[np.float64], across: NDArray[np.float64], other: _Segments
) -> NDArray[np.bool_]:
    """Tell whether another segment lies clearly on one side of the line through a segment.

    Args:
        segment: The segment.
        down: Rows from its beginning to that of the other one.
        across: Columns from its beginning to that of the other one.
        other: The other segment.
    """
    near = NEAR * _reach(segment)
    first = segment.down * across - segment.across * down
    second = first + (segment.down * other.across - segment.across * other.down)
    return np.asarray((np.minimum(first, second) > near) | (np.maximum(first, second) < -near))


def _reach(segment: _Segments) -> NDArray[np.float64]:
    return np.maximum(np.abs(segment.down), np.abs(segment.across))


class Junctions:
    """The cyclic order in which arcs leave each junction; checks that changed lines keep it.

    Args:
        tails: Key of the end at which each arc begins; see ``Arcs``.
        heads: Key of its other end.
    """

    def __init__(self, tails: NDArray[np.int64], heads: NDArray[np.int64]) -> None:
        met = np.flatnonzero(tails != heads)
        keys = np.concatenate([tails[met], heads[met]])
        order = np.argsort(keys)
        self._arrives = order >= met.size
        corner = keys[order] >> 2
        del keys
        self._line = met.astype(np.int32)[order % max(met.size, 1)]
        self._starts = np.flatnonzero(np.append(True, corner[1:] != corner[:-1])[: corner.size])
        self._counts = np.diff(self._starts, append=corner.size)

    def reordered(self, lines: Lines) -> NDArray[np.int64]:
        """Find the segments at junctions that the lines leave in another order than the arcs.

        Args:
            lines: One line for every arc.

        Returns:
            Index of the first vertex of each such segment, ascending.
        """
        starts, count = lines.starts, self._starts.size
        edges = [slice(first, first + PORTION) for first in range(0, count, PORTION)]
        found = [np.zeros(0, dtype=np.int64), *(self._reordered(lines, starts, part) for part in edges)]
        return np.unique(np.concatenate(found))

    def _reordered(self, lines: Lines, first: NDArray[np.int64], part: slice) -> NDArray[np.int64]:
        """Check some of the junctions; ``first`` is the index of the first vertex of every line."""
        counts = self._counts[part]
        mine = slice(int(self._starts[part][0]), int(self._starts[part][-1] + counts[-1]))
        line, arrives = self._line[mine], self._arrives[mine]
        at = np.where(arrives, first[line] + lines.sizes[line] - 1, first[line])
        way = lines.points.take(np.where(arrives, at - 1, at + 1), axis=0) - lines.points.take(at, axis=0)
        angle = np.arctan2(-way[:, 0].astype(np.float64), way[:, 1].astype(np.float64))
        starts = group_starts(counts)
        following = index_ranges(starts, counts) + 1
        following[starts + counts - 1] = starts
        falls = np.add.reduceat(angle[following] <= angle, starts, dtype=np.int64)
        return np.asarray(np.where(arrives, at - 1, at)[np.repeat(falls != 1, counts)])
