"""Smooth arcs by Chaikin's corner cutting; junctions stay fixed.

In every round each corner is replaced by the points a quarter of the way along the two sides beside it
(G. Chaikin, 1974), but never farther along than a given length, so that the corner of a large field stays a
corner. The new vertices are then shifted slightly to keep areas.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines
from geoseg.polygons.borders.areas import doubled_areas, keep_areas
from geoseg.polygons.borders.resolve_clashes import NewArcs
from geoseg.polygons.borders.staircases import STEPS
from geoseg.polygons.borders.sweeps import PointGrid, swept
from geoseg.raster.ragged import group_starts, index_ranges

_MOST_MOVE = 0.5
"""Largest shift of a vertex to keep areas, in pixels."""


class Smoother:
    """Smooth arcs by cutting corners: an ``ArcChanger``.

    Args:
        lines: The line of every arc, in steps.
        islands: Which arcs are rings without a junction.
        shape: Rows and columns of the map; vertices on its edge stay.
        rounds: How often to cut corners.
        reach: Largest distance of a cut from the corner, in the unit of ``scale``.
        scale: Height and width of a pixel at each arc, in pixels or metres, float64 (arcs, 2).
    """

    def __init__(
        self,
        lines: Lines,
        islands: NDArray[np.bool_],
        shape: tuple[int, int],
        rounds: int,
        reach: float,
        scale: NDArray[np.float64],
    ) -> None:
        self._lines = _begin_on_sides(lines, islands)
        self._rounds = rounds
        self._scale = scale
        self._reach = reach / scale.max(axis=1) * STEPS
        rows, columns = self._lines.points.T
        edge = (rows == 0) | (rows == shape[0] * STEPS) | (columns == 0) | (columns == shape[1] * STEPS)
        starts = self._lines.starts
        edge[starts] = True
        edge[starts + self._lines.sizes - 1] = True
        self._fixed = edge
        ends = np.concatenate([starts, starts + self._lines.sizes - 1])
        self._points = PointGrid(np.unique(self._lines.points[ends], axis=0))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of vertices of each arc before corners are cut."""
        return self._lines.sizes

    def first(self, chosen: NDArray[np.int64]) -> NewArcs:
        """Cut all corners of the chosen arcs."""
        sizes = self._lines.sizes[chosen]
        sharp = self._fixed[index_ranges(self._lines.starts[chosen], sizes)]
        return self._cut(chosen, sharp, np.ones(chosen.size, dtype=bool))

    def refine(
        self,
        chosen: NDArray[np.int64],
        shapes: NewArcs,
        clashing: NDArray[np.int64],
        even: NDArray[np.bool_],
    ) -> NewArcs:
        """Restore the corners beside each clashing segment; see ``ArcChanger``."""
        starts = group_starts(self._lines.sizes[chosen])
        corner = shapes.at + np.repeat(starts, shapes.lines.sizes)
        sharp = np.bincount(corner) == 1
        sharp[corner[clashing]] = True
        sharp[corner[clashing + 1]] = True
        return self._cut(chosen, sharp, even)

    def _cut(self, chosen: NDArray[np.int64], sharp: NDArray[np.bool_], even: NDArray[np.bool_]) -> NewArcs:
        old = self._lines.take(chosen)
        new, corner = cut_corners(old, sharp, self._rounds, self._reach[chosen])
        room = np.where(even, _MOST_MOVE * STEPS, 0.0)
        new, _ = keep_areas(new, doubled_areas(old), sharp[corner], room)
        new, corner = _without_repeats(new, corner)

        first = np.flatnonzero(np.diff(corner, prepend=-1))  # the first new vertex of each old one
        last = np.zeros(sharp.size, dtype=bool)
        last[old.starts + old.sizes - 1] = True
        side = np.flatnonzero(~last)
        heads = first[side + 1]
        across = swept(new.points, first[side], heads, old.points[side], old.points[side + 1], self._points)

        scale = self._scale[chosen] / STEPS
        away = (new.points - old.points[corner]) * np.repeat(scale, new.sizes, axis=0)
        cut = np.minimum.reduceat((away * away).sum(axis=1), first)
        moved = np.sqrt(np.maximum.reduceat(cut, old.starts))
        local = (corner - np.repeat(old.starts, new.sizes)).astype(np.int32)
        return NewArcs(new, local, moved, heads[across] - 1)


def cut_corners(
    lines: Lines, sharp: NDArray[np.bool_], rounds: int, reach: NDArray[np.float64]
) -> tuple[Lines, NDArray[np.int64]]:
    """Cut corners by Chaikin's rule, within a bounded distance.

    Args:
        lines: Lines in steps.
        sharp: Vertices to leave as they are; the ends of lines must be among them.
        rounds: How often to cut corners.
        reach: Largest distance of a cut from the corner for each line, in steps; halved every round.

    Returns:
        The new lines, rounded to steps; and for each new vertex the index of the old one from which it comes,
        ascending.
    """
    points, sizes, corner = lines.points, lines.sizes, np.arange(len(lines.points))
    most = np.repeat(reach, sizes)
    for _ in range(rounds):
        starts = group_starts(sizes)
        inner = ~sharp
        # A corner becomes two points, on the side before it and on the side after it; a sharp one stays.
        count = 1 + inner
        place = group_starts(count)
        grown = np.empty((int(count.sum()), 2), dtype=np.int32)
        grown[place[sharp]] = points[sharp]
        at = np.flatnonzero(inner)
        grown[place[at]] = _towards(points[at], points[at - 1], most[at])
        grown[place[at] + 1] = _towards(points[at], points[at + 1], most[at])
        corner, sharp, most = np.repeat(corner, count), np.repeat(sharp, count), np.repeat(most, count) / 2.0
        sizes = np.add.reduceat(count, starts)
        points = grown
    return Lines(points, sizes), corner


def _towards(
    points: NDArray[np.int32], others: NDArray[np.int32], most: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Go a quarter of the way from points to others, at most ``most`` far; round to steps."""
    way = (others - points).astype(np.float64)
    length = np.sqrt(way[:, 0] * way[:, 0] + way[:, 1] * way[:, 1])
    share = np.minimum(0.25, np.divide(most, length, out=np.zeros_like(length), where=length > 0))
    return np.rint(points + way * share[:, None]).astype(np.int32)


def _begin_on_sides(lines: Lines, islands: NDArray[np.bool_]) -> Lines:
    """Start islands in the middle of their first side, so that all their corners are inner vertices."""
    extra = np.repeat(islands, lines.sizes)
    inner = np.ones(extra.size, dtype=bool)
    inner[lines.starts] = False
    first = lines.starts[islands]
    way = lines.points[first + 1] - lines.points[first]
    middle = lines.points[first] + np.sign(way) * (np.abs(way) >> 1)
    sizes = lines.sizes + islands
    starts = group_starts(sizes)
    points = np.empty((int(sizes.sum()), 2), dtype=np.int32)
    filled = np.ones(len(points), dtype=bool)
    filled[starts[islands]] = False
    filled[starts[islands] + sizes[islands] - 1] = False
    points[filled] = lines.points[inner | ~extra]
    points[starts[islands]] = middle
    points[starts[islands] + sizes[islands] - 1] = middle
    return Lines(points, sizes)


def _without_repeats(lines: Lines, corner: NDArray[np.int64]) -> tuple[Lines, NDArray[np.int64]]:
    """Remove vertices that rounding has put onto the previous vertex from the same corner."""
    stay = np.ones(len(corner), dtype=bool)
    stay[1:] = (lines.points[1:] != lines.points[:-1]).any(axis=1) | (corner[1:] != corner[:-1])
    return Lines(lines.points[stay], np.add.reduceat(stay, lines.starts, dtype=np.int64)), corner[stay]
