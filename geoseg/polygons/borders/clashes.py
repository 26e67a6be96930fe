"""Where borders touch that must not: found among millions of short lines, exactly.

Lines are clear of each other if no two of their pieces touch but at a common end. Pieces are compared that
share a cell of a grid; positions are integers, so each comparison is exact. A piece whose end comes within
one step of another counts as touching it: then neither the map's transform nor a file format can make them
cross by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines
from geoseg.raster.ragged import group_starts, index_ranges
from geoseg.system.threads import in_order

CELL_BITS = 8
"""Cells are 2^8 steps wide: eight pixels."""
BAND_CELLS = 32
"""Rows of cells compared at once."""
PORTION = 2**18
"""Junctions looked at at once."""
NEAR = 1
"""Steps below which an end touches a piece."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """Straight pieces; positions are whole numbers in float64, in which products of them are exact.

    Attributes:
        row: Where each begins.
        column: Where each begins.
        down: From there to its end, along rows.
        across: The same along columns.
        tail: Which vertex it begins at: its index, or -1 at the end of a line, where lines may meet; int64.
        head: Which vertex it ends at.
    """

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    down: NDArray[np.float64]
    across: NDArray[np.float64]
    tail: NDArray[np.int64]
    head: NDArray[np.int64]

    @staticmethod
    def of(lines: Lines) -> _Pieces:
        """Give all pieces of some lines."""
        starts, counts = lines.starts, lines.sizes - 1
        tail = index_ranges(starts, counts)
        name = np.arange(len(lines.points))
        name[starts] = name[starts + counts] = -1
        row, column = lines.points[:, 0].astype(np.float64), lines.points[:, 1].astype(np.float64)
        down, across = np.diff(row, append=0.0), np.diff(column, append=0.0)
        return _Pieces(row[tail], column[tail], down[tail], across[tail], name[tail], name[tail + 1])

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> _Pieces:
        return _Pieces(
            self.row[chosen],
            self.column[chosen],
            self.down[chosen],
            self.across[chosen],
            self.tail[chosen],
            self.head[chosen],
        )


def touching(
    lines: Lines, fresh: NDArray[np.bool_], among: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Find the pieces that touch another one elsewhere than at a common end, or lie on it.

    Args:
        lines: Lines; those that are not fresh do not touch each other.
        fresh: Which lines are to be compared with the others.
        among: Which lines there are to compare with, those that are fresh among them; None for all.

    Returns:
        Index of the first vertex of each such piece, ascending.
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
        pieces = _Pieces.of(part)
        first, second = _neighbours(pieces, np.repeat(fresh[at], counts), band)
        clash = _touch(pieces.take(first), pieces.take(second))
        found = np.unique(np.concatenate([first[clash], second[clash]]))
        own: NDArray[np.int64] = index_ranges(starts[at], counts)[found]
        return own

    bands = range(int(top.min()), int(bottom.max()) + 1, BAND_CELLS)
    return np.asarray(np.unique(np.concatenate(list(in_order(compare, bands)))))


def _neighbours(
    pieces: _Pieces, fresh: NDArray[np.bool_], band: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of pieces whose boxes meet in a band, at least one of them fresh; a pair may come twice."""
    row, column = pieces.row + pieces.down, pieces.column + pieces.across
    tops, bottoms = np.minimum(pieces.row, row) - NEAR, np.maximum(pieces.row, row) + NEAR
    lefts, rights = np.minimum(pieces.column, column) - NEAR, np.maximum(pieces.column, column) + NEAR
    at = np.flatnonzero((_cell(tops) < band + BAND_CELLS) & (_cell(bottoms) >= band))
    cell, owner = _passed_cells(pieces.take(at), band)
    order = np.argsort(cell)
    cell, piece = cell[order], at[owner[order]]
    top, bottom, left, right = (side[piece].astype(np.int32) for side in (tops, bottoms, lefts, rights))
    new = fresh[piece]
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
        pairs.append((piece[first[meet]], piece[second[meet]]))
    ones, others = zip(*pairs, strict=True)
    return np.concatenate(ones), np.concatenate(others)


def _cell(position: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(position * 2.0**-CELL_BITS).astype(np.int64)


def _passed_cells(pieces: _Pieces, band: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the cells of a band of the grid that pieces pass, with a margin.

    Args:
        pieces: Pieces that reach into the band.
        band: First row of cells of the band.

    Returns:
        Cells, numbered row by row, and the index of the piece that passes each.
    """
    rising = pieces.down < 0
    upper = np.where(rising, pieces.row + pieces.down, pieces.row)
    start = np.where(rising, pieces.column + pieces.across, pieces.column)
    height = np.abs(pieces.down)
    width = np.where(rising, -pieces.across, pieces.across)
    first = np.maximum(_cell(upper - NEAR), band)
    rows = np.minimum(_cell(upper + height + NEAR), band + BAND_CELLS - 1) - first + 1
    piece = np.repeat(np.arange(rows.size), rows)
    row = index_ranges(first, rows)
    # The part of the piece between the upper and the lower edge of the cells, with a margin.
    slope = width / np.maximum(height, 1.0)
    above = (row << CELL_BITS) - upper[piece]
    most, level = height[piece], (height < 1.0)[piece]
    one = np.clip(above - NEAR, 0.0, most) * slope[piece]
    other = np.clip(above + (2**CELL_BITS + NEAR), 0.0, most) * slope[piece]
    other[level] = width[piece[level]]
    begin = start[piece]
    left = _cell(begin + np.minimum(one, other) - NEAR)
    columns = _cell(begin + np.maximum(one, other) + NEAR) - left + 1
    cell = (row - band) * np.int64(2**32)
    return np.repeat(cell, columns) + index_ranges(left, columns), np.repeat(piece, columns)


def _touch(one: _Pieces, other: _Pieces) -> NDArray[np.bool_]:
    """Tell whether the pieces of each pair touch elsewhere than at a common end."""
    down, across = other.row - one.row, other.column - one.column
    clash = ~_beside(one, down, across, other)
    rest = np.flatnonzero(clash)
    one, other, down, across = one.take(rest), other.take(rest), down[rest], across[rest]
    clash[rest] = ~_beside(other, -down, -across, one)
    rest = rest[still := clash[rest]]
    one, other, down, across = one.take(still), other.take(still), down[still], across[still]

    tails = (one.tail == other.tail) & (down == 0) & (across == 0)
    heads = (one.head == other.head) & (down + other.down == one.down) & (across + other.across == one.across)
    tail_head = (one.tail == other.head) & (down + other.down == 0) & (across + other.across == 0)
    head_tail = (one.head == other.tail) & (down == one.down) & (across == one.across)
    # At a common end: do they leave it by one way?
    sign = np.where(tails | heads, 1.0, -1.0)
    turn = one.down * other.across - one.across * other.down
    ahead = sign * (one.down * other.down + one.across * other.across)
    same = (np.abs(turn) <= NEAR * np.maximum(_reach(one), _reach(other))) & (ahead > 0)
    joined = tails | heads | tail_head | head_tail
    clash[rest] = ~joined | same
    return clash


def _beside(
    piece: _Pieces, down: NDArray[np.float64], across: NDArray[np.float64], other: _Pieces
) -> NDArray[np.bool_]:
    """Tell whether another piece, which begins at an offset, lies clearly on one side of a piece's line."""
    near = NEAR * _reach(piece)
    first = piece.down * across - piece.across * down
    second = first + (piece.down * other.across - piece.across * other.down)
    return np.asarray((np.minimum(first, second) > near) | (np.maximum(first, second) < -near))


def _reach(piece: _Pieces) -> NDArray[np.float64]:
    return np.maximum(np.abs(piece.down), np.abs(piece.across))


class Junctions:
    """Knows the order in which arcs leave each junction, and whether lines keep it.

    Args:
        tails: Key of the end each arc begins at; see ``Arcs``.
        heads: Key of the end it leads to.
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

    def turned(self, lines: Lines) -> NDArray[np.int64]:
        """Find the pieces at junctions that lines no longer leave in the order of the arcs.

        Args:
            lines: One for every arc.

        Returns:
            Index of the first vertex of each such piece, ascending.
        """
        starts, count = lines.starts, self._starts.size
        edges = [slice(first, first + PORTION) for first in range(0, count, PORTION)]
        found = [np.zeros(0, dtype=np.int64), *(self._turned(lines, starts, part) for part in edges)]
        return np.unique(np.concatenate(found))

    def _turned(self, lines: Lines, first: NDArray[np.int64], part: slice) -> NDArray[np.int64]:
        """Do the same for some of the junctions, with the first vertex of every line."""
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
