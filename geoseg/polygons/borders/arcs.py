"""Cut the borders of a map into arcs, from junction to junction; two polygons share each arc.

A *junction* is a corner where more than two boundaries meet, or where two patches touch diagonally. Along an
arc the same two polygons lie on the left and right, so a change of the arc changes both alike. A ring without
a junction (an island in one other polygon) is an arc that ends where it begins.

The half-edges by which an arc leaves its two ends identify it. The lower one is its key and sets the
direction in which it is read. So an arc does not depend on the polygon in which it was found, nor on blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.table.rows import Polygons
from geoseg.polygons.trace.rings import EAST, NORTH, SOUTH, WEST
from geoseg.raster.ragged import group_starts, index_ranges

_ROW_SHIFT = 33
"""The key of an end is row << 33 | column << 2 | direction."""
PORTION = 2**20
"""Vertices processed at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Polylines, one after the other.

    Attributes:
        points: Row and column of the vertices, int32 (vertices, 2).
        sizes: Number of vertices of each line, at least two, int64.
    """

    points: NDArray[np.int32]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.sizes.size)

    @property
    def starts(self) -> NDArray[np.int64]:
        """Index of the first vertex of each line."""
        return group_starts(self.sizes)

    @property
    def closed(self) -> NDArray[np.bool_]:
        """Which lines end where they begin."""
        starts = self.starts
        return np.asarray((self.points[starts] == self.points[starts + self.sizes - 1]).all(axis=1))

    def line_of(self, vertices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tell which line each vertex belongs to."""
        return np.searchsorted(self.starts, vertices, side="right") - 1

    def take(self, chosen: NDArray[np.integer]) -> Lines:
        """Keep only the chosen lines, in the order given."""
        sizes = self.sizes[chosen]
        return Lines(self.points.take(index_ranges(self.starts[chosen], sizes), axis=0), sizes)

    @staticmethod
    def join(parts: list[Lines]) -> Lines:
        """Concatenate several sets of lines."""
        return Lines(
            np.concatenate([part.points for part in parts]), np.concatenate([part.sizes for part in parts])
        )


@dataclass(frozen=True, slots=True, eq=False)
class Arcs:
    """The arcs of a map, by ascending key, and the arcs of which each ring consists.

    Attributes:
        tails: Key of the end at which each arc begins, int64.
        heads: Key of its other end, int64; equal to ``tails`` for a ring without a junction.
        first: Index of its first stored vertex, int64.
        sizes: Number of its vertices, int64.
        last: Index of the last stored vertex of the ring that holds it (equal to that ring's first), int64.
        loop: Number of vertices of that ring without the last one, int64.
        backwards: Whether it is stored against its direction.
        parts: Number of arcs of each ring, int64; rings in the order in which they are stored.
        arc: Index of the arc of each part, ring by ring, int32.
        against: Whether the ring follows that arc against its direction.
        file: The stored vertices, int32 pairs of row and column.
    """

    tails: NDArray[np.int64]
    heads: NDArray[np.int64]
    first: NDArray[np.int64]
    sizes: NDArray[np.int64]
    last: NDArray[np.int64]
    loop: NDArray[np.int64]
    backwards: NDArray[np.bool_]
    parts: NDArray[np.int64]
    arc: NDArray[np.int32]
    against: NDArray[np.bool_]
    file: IO[bytes]

    def __len__(self) -> int:
        return int(self.sizes.size)

    @property
    def islands(self) -> NDArray[np.bool_]:
        """Which arcs are rings without a junction."""
        return np.asarray(self.tails == self.heads)

    def read(self, chosen: NDArray[np.integer]) -> Lines:
        """Read the chosen arcs as they were traced, in pixels."""
        sizes = self.sizes[chosen]
        at = index_ranges(self.first[chosen], sizes)
        past = at - np.repeat(self.last[chosen], sizes)
        np.subtract(at, np.repeat(self.loop[chosen], sizes), out=at, where=past > 0)
        turned = self.backwards[chosen]
        if turned.any():
            starts = group_starts(sizes)
            order = np.arange(at.size)
            mirrored = np.repeat(2 * starts + sizes - 1, sizes) - order
            at = at[np.where(np.repeat(turned, sizes), mirrored, order)]
        return Lines(stored_vertices(self.file).take(at, axis=0), sizes)


def stored_vertices(file: IO[bytes]) -> NDArray[np.int32]:
    """Map the vertices of a file into memory, int32 (vertices, 2); pages are read on access."""
    return np.memmap(file, dtype=np.int32, mode="r").reshape(-1, 2)


def end_position(keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Decode the keys of ends to rows and columns, in pixels."""
    columns = (keys >> 2) & (2 ** (_ROW_SHIFT - 2) - 1)
    return (keys >> _ROW_SHIFT).astype(np.int32), columns.astype(np.int32)


def cut_arcs(polygons: Polygons) -> Arcs:
    """Cut the rings of all polygons of a map at the junctions.

    Args:
        polygons: All polygons of the map, traced with junctions; at least one.

    Returns:
        Every arc, once.
    """
    sizes = polygons.ring_sizes
    begins = group_starts(sizes)
    ends = begins + sizes - 1
    flags = np.fromfile(_rewound(polygons.junctions), dtype=bool)
    flags[ends] = False  # the repeated first vertex
    at = np.flatnonzero(flags)
    del flags
    low = np.searchsorted(at, begins)
    counts = np.diff(low, append=at.size)
    plain = np.flatnonzero(counts == 0)  # a ring without a junction is one part, from its first vertex
    at = np.insert(at, low[plain], begins[plain])
    counts[plain] = 1
    lows = group_starts(counts)

    ring = np.repeat(np.arange(sizes.size), counts)
    leaving, arriving = _end_keys(polygons.file, at, begins[ring], ends[ring])
    following = index_ranges(lows, counts) + 1
    following[lows + counts - 1] = lows
    tails, heads = leaving, arriving[following]
    del arriving
    heads[lows[plain]] = tails[lows[plain]] | SOUTH
    backwards = heads < tails
    backwards[lows[plain]] = (tails[lows[plain]] & 3) != SOUTH  # an island's arc leaves its start southwards
    tails[lows[plain]] |= SOUTH
    lengths = at[following] - at + 1
    del following
    wraps = lows + counts - 1
    lengths[wraps] += sizes - 1
    met, arc = _first_met(np.minimum(tails, heads))
    tails, heads = tails[met], heads[met]
    return Arcs(
        tails=np.minimum(tails, heads),
        heads=np.maximum(tails, heads),
        first=at[met],
        sizes=lengths[met],
        last=ends[ring[met]],
        loop=sizes[ring[met]] - 1,
        backwards=backwards[met],
        parts=counts,
        arc=arc,
        against=backwards,
        file=polygons.file,
    )


def _first_met(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Find the distinct keys, ascending: the index at which each first occurs, and the number of each key."""
    order = np.argsort(keys, kind="stable")
    new = np.ones(keys.size, dtype=bool)
    new[1:] = np.diff(keys[order]) != 0
    number = np.empty(keys.size, dtype=np.int32)
    number[order] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    return order[new], number


def _end_keys(
    file: IO[bytes], at: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compute the keys of ends at stored vertices: in the ring's direction, and against it.

    Args:
        file: The stored vertices.
        at: Indices of the vertices at which rings are cut, none of them the last of its ring.
        begins: Index of the first vertex of the ring of each.
        ends: Index of the last vertex of that ring.
    """
    vertices = stored_vertices(file)
    leaving = np.empty(at.size, dtype=np.int64)
    arriving = np.empty(at.size, dtype=np.int64)
    for start in range(0, at.size, PORTION):
        part = slice(start, start + PORTION)
        here = vertices.take(at[part], axis=0)
        corner = (here[:, 0].astype(np.int64) << _ROW_SHIFT) | (here[:, 1].astype(np.int64) << 2)
        before = np.where(at[part] == begins[part], ends[part], at[part]) - 1
        leaving[part] = corner | _directions(vertices.take(at[part] + 1, axis=0) - here)
        arriving[part] = corner | _directions(vertices.take(before, axis=0) - here)
    return leaving, arriving


def _directions(way: NDArray[np.int32]) -> NDArray[np.int8]:
    """Return the direction of steps along rows or columns, given as differences of row and column."""
    level = np.where(way[:, 1] > 0, EAST, WEST)
    upright = np.where(way[:, 0] > 0, SOUTH, NORTH)
    return np.where(way[:, 0] == 0, level, upright).astype(np.int8)


def _rewound(file: IO[bytes] | None) -> IO[bytes]:
    if file is None:
        raise ValueError("the polygons were traced without junctions")
    file.seek(0)
    return file
