"""Simplify arcs, many at once, each by itself: remove vertices within a tolerance.

The algorithm is that of D. Douglas and T. Peucker (1973): replace a line by the straight segment between its
ends; if a vertex lies farther than the tolerance from the segment, keep the farthest one, and treat both
halves alike. All lines are processed together, one depth of the recursion after the other.

This module looks at one arc at a time; ``resolve_clashes`` makes sure that lines do not touch each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Arcs, Lines, end_position
from geoseg.polygons.borders.areas import doubled_areas, keep_areas
from geoseg.polygons.borders.resolve_clashes import NewArcs, portions
from geoseg.polygons.borders.staircases import SLACK, STEPS, corners_of, staircases
from geoseg.polygons.borders.sweeps import PointGrid, swept
from geoseg.raster.ragged import group_starts, index_ranges

_SHARE = 0.05
"""Largest share of a polygon that an arc may add or remove; beyond it the arc keeps one more vertex."""
_LEAST_PIXELS = 0.75
"""Below this tolerance lines follow the corners of pixels instead of the middles of their sides."""


class Simplifier:
    """Simplify arcs within a tolerance: an ``ArcChanger``.

    Args:
        arcs: All arcs of the map.
        shape: Rows and columns of the map.
        tolerance: Tolerance in pixels or metres.
        scale: Height and width of a pixel at each arc, in the unit of the tolerance, float64 (arcs, 2).
        smaller: Number of pixels of the smaller polygon beside each arc.
    """

    def __init__(
        self,
        arcs: Arcs,
        shape: tuple[int, int],
        tolerance: float,
        scale: NDArray[np.float64],
        smaller: NDArray[np.int64],
    ) -> None:
        self._arcs = arcs
        self._shape = shape
        self._tolerance = tolerance
        self._scale = scale
        self._smaller = smaller
        self._slanted = tolerance >= _LEAST_PIXELS * float(scale.max())
        self._points = PointGrid(self._fixed_points())

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of vertices of each arc before it is simplified."""
        return self._arcs.sizes

    def first(self, chosen: NDArray[np.int64]) -> NewArcs:
        """Simplify arcs as far as the tolerance allows."""
        border = self._border(chosen)
        base = border.base
        starts, sizes = base.starts, base.sizes
        depth = np.where(base.closed, 2, 0)  # halved twice, an island keeps at least four vertices
        kept = simplify_lines(self._plane(chosen, base), starts, sizes, depth, border.fixed)
        shapes = self._finish(chosen, border, kept, np.ones(len(chosen), dtype=bool))
        return self._add_missing_vertices(chosen, shapes, doubled_areas(border.raw))

    def refine(
        self,
        chosen: NDArray[np.int64],
        shapes: NewArcs,
        clashing: NDArray[np.int64],
        even: NDArray[np.bool_],
    ) -> NewArcs:
        """Restore one vertex of each clashing segment; see ``ArcChanger``."""
        border = self._border(chosen)
        base = border.base
        at = shapes.at + np.repeat(base.starts, shapes.lines.sizes)
        kept = np.zeros(len(base.points), dtype=bool)
        kept[at] = True
        tails, heads = at[clashing].astype(np.int64), at[clashing + 1].astype(np.int64)
        long = heads - tails > 1
        if long.any():
            plane = self._plane(chosen, base)
            middle, _ = farthest(plane, tails[long], heads[long])
            kept[middle] = True
            # With one more vertex, others of the old border may lie outside the tolerance.
            kept = simplify_lines(plane, base.starts, base.sizes, np.zeros(len(base), dtype=np.int64), kept)
        return self._finish(chosen, border, kept, even)

    def _add_missing_vertices(
        self, chosen: NDArray[np.int64], shapes: NewArcs, wanted: NDArray[np.int64]
    ) -> NewArcs:
        """Restore one vertex of each arc whose area is not kept, where most old vertices were removed."""
        lacking = np.flatnonzero(self._too_much(chosen, doubled_areas(shapes.lines) - wanted))
        if lacking.size == 0:
            return shapes
        part = shapes.take(lacking)
        gone = np.diff(part.at, append=0)
        most = np.repeat(np.maximum.reduceat(gone, part.lines.starts), part.lines.sizes)
        hits = np.flatnonzero(gone == most)
        worst = hits[np.searchsorted(hits, part.lines.starts)]
        renewed = self.refine(chosen[lacking], part, worst, np.ones(lacking.size, dtype=bool))
        return shapes.with_new(lacking, renewed)

    def _fixed_points(self) -> NDArray[np.int32]:
        """Collect the points that no border may cross: all junctions, and one point of each island."""
        islands = self._arcs.islands
        keys = np.concatenate([self._arcs.tails[~islands], self._arcs.heads[~islands]])
        rows, columns = end_position(np.unique(keys >> 2) << 2)
        points = [np.stack([rows, columns], axis=1) * np.int32(STEPS)]
        for part in portions(np.flatnonzero(islands), self._arcs.sizes):
            base = self._border(part).base
            points.append(base.points[base.starts])
        return np.concatenate(points)

    def _too_much(self, chosen: NDArray[np.int64], doubled: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which doubled areas are too large a share of the smaller polygon beside the arc."""
        return np.abs(doubled) > 2.0 * STEPS**2 * _SHARE * self._smaller[chosen]

    def _plane(self, chosen: NDArray[np.int64], lines: Lines) -> Plane:
        """Scale positions so that 1 is the tolerance, less the slack of staircase lines."""
        scale = self._scale[chosen]
        slack = SLACK * scale.max(axis=1) if self._slanted else np.zeros(len(scale))
        size = scale / (STEPS * (self._tolerance - slack))[:, None]
        down, across = np.repeat(size, lines.sizes, axis=0).T
        return Plane(lines.points[:, 0] * down, lines.points[:, 1] * across)

    def _border(self, chosen: NDArray[np.int64]) -> _Border:
        raw = self._arcs.read(chosen)
        rows, columns = raw.points.T
        edge = (rows == 0) | (rows == self._shape[0]) | (columns == 0) | (columns == self._shape[1])
        if self._slanted:
            base, before = staircases(raw, self._arcs.islands[chosen], edge)
        else:
            base, before = corners_of(raw), np.arange(len(raw.points))
        fixed = np.zeros(len(base.points), dtype=bool)
        fixed[before[edge]] = True
        return _Border(Lines(raw.points * np.int32(STEPS), raw.sizes), base, before, fixed)

    def _finish(
        self, chosen: NDArray[np.int64], border: _Border, kept: NDArray[np.bool_], even: NDArray[np.bool_]
    ) -> NewArcs:
        base, scale = border.base, self._scale[chosen]
        at = np.flatnonzero(kept)
        sizes = np.add.reduceat(kept, base.starts, dtype=np.int64)
        lines = Lines(base.points[at], sizes)
        moved = self._distance(border, kept, at, scale)
        room = np.where(even, np.maximum(self._tolerance - moved, 0.0) / scale.max(axis=1) * STEPS, 0.0)
        lines, shift = keep_areas(lines, doubled_areas(border.raw), border.fixed[at], room)
        moved += shift * scale.max(axis=1) / STEPS

        last = np.zeros(at.size, dtype=bool)
        last[lines.starts + sizes - 1] = True
        tail = np.flatnonzero(~last)
        across = swept(
            base.points, at[tail], at[tail + 1], lines.points[tail], lines.points[tail + 1], self._points
        )
        turned = np.sign(doubled_areas(lines)) != np.sign(doubled_areas(border.raw))
        turned &= base.closed
        clashing = np.union1d(tail[across], np.flatnonzero(np.repeat(turned, sizes) & ~last))
        local = (at - np.repeat(base.starts, sizes)).astype(np.int32)
        return NewArcs(lines, local, moved, clashing)

    def _distance(
        self, border: _Border, kept: NDArray[np.bool_], at: NDArray[np.int64], scale: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Measure, for each arc, the largest distance of an old corner from the segment that replaces it."""
        raw, base = border.raw, border.base
        segment = np.cumsum(kept)[border.before] - 1  # index of the new vertex at or before the corner
        ends = np.repeat(base.starts + base.sizes - 1, raw.sizes)
        segment -= at[segment] == ends
        stays = base.points[at] / STEPS
        # Start, direction and inverse squared length of every segment.
        first = np.searchsorted(at, base.starts)
        line = np.repeat(np.arange(len(base)), np.diff(first, append=at.size))
        row, column = stays[:, 0] * scale[line, 0], stays[:, 1] * scale[line, 1]
        down, across = np.diff(row, append=0.0), np.diff(column, append=0.0)
        length = down * down + across * across
        inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
        line = np.repeat(np.arange(len(raw)), raw.sizes)
        r = raw.points[:, 0] * (scale[:, 0] / STEPS)[line]
        r -= row[segment]
        c = raw.points[:, 1] * (scale[:, 1] / STEPS)[line]
        c -= column[segment]
        squares = _squared_distances(r, c, down[segment], across[segment], inverse[segment])
        return np.sqrt(np.maximum.reduceat(squares, raw.starts))


@dataclass(frozen=True, slots=True, eq=False)
class _Border:
    """Arcs before they are simplified.

    Attributes:
        raw: The arcs as they were traced, in steps.
        base: The vertices to choose from, in steps.
        before: Index of the vertex of ``base`` at or before each vertex of ``raw``.
        fixed: Vertices of ``base`` that must stay in place: those on the map's edge.
    """

    raw: Lines
    base: Lines
    before: NDArray[np.int64]
    fixed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Scaled positions, in which distances are measured.

    Attributes:
        rows: float64.
        columns: float64.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]


def simplify_lines(
    plane: Plane,
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    depth: NDArray[np.int64],
    fixed: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Choose the vertices of lines to keep, by the algorithm of Douglas and Peucker.

    Args:
        plane: Positions of the vertices in multiples of the tolerance: every removed vertex is at most 1 from
            the segment that replaces it.
        starts: Index of the first vertex of each line.
        sizes: Number of vertices of each line, at least two.
        depth: How often to halve each line whatever the distances, if it has enough vertices.
        fixed: Vertices to keep in any case.

    Returns:
        One bool per vertex.
    """
    kept = fixed.copy()
    kept[starts] = True
    kept[starts + sizes - 1] = True
    ends = np.zeros(kept.size, dtype=bool)
    ends[starts + sizes - 1] = True
    at = np.flatnonzero(kept)
    tails = at[~ends[at]]
    heads = at[np.flatnonzero(~ends[at]) + 1]
    must = np.repeat(depth, np.add.reduceat(kept, starts, dtype=np.int64) - 1)
    while tails.size:
        long = heads - tails > 1
        tails, heads, must = tails[long], heads[long], must[long]
        if tails.size == 0:
            break
        middle, distance = farthest(plane, tails, heads)
        split = (distance > 1.0) | (must > 0)
        middle = middle[split]
        kept[middle] = True
        tails = np.stack([tails[split], middle], axis=1).ravel()
        heads = np.stack([middle, heads[split]], axis=1).ravel()
        must = np.repeat(must[split] - 1, 2)
    return kept


def farthest(
    plane: Plane, tails: NDArray[np.int64], heads: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the farthest vertex from each segment, among the vertices that the segment would replace.

    Args:
        plane: Positions of the vertices.
        tails: Index of the vertex at which each segment begins.
        heads: Index of the vertex at which it ends, at least ``tails + 2``.

    Returns:
        Index of the farthest vertex, the first one of equals, int64; its squared distance, float64.
    """
    counts = heads - tails - 1
    groups = group_starts(counts)
    inner = index_ranges(tails + 1, counts)
    row, column = plane.rows[tails], plane.columns[tails]
    down, across = plane.rows[heads] - row, plane.columns[heads] - column
    length = down * down + across * across
    inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)

    segment = np.repeat(np.arange(tails.size), counts)
    r = plane.rows[inner]
    r -= row[segment]
    c = plane.columns[inner]
    c -= column[segment]
    squares = _squared_distances(r, c, down[segment], across[segment], inverse[segment])
    most: NDArray[np.float64] = np.maximum.reduceat(squares, groups)
    hits = np.flatnonzero(squares == most[segment])
    first = hits[np.searchsorted(hits, groups)]
    return inner[first], most


def _squared_distances(
    row: NDArray[np.float64],
    column: NDArray[np.float64],
    down: NDArray[np.float64],
    across: NDArray[np.float64],
    inverse: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Square the distance of each point from its segment; all arrays but ``inverse`` are overwritten.

    Args:
        row: Row of each point, counted from the beginning of its segment.
        column: Its column, counted likewise.
        down: Rows from the beginning of the segment to its end.
        across: Columns from its beginning to its end.
        inverse: Inverse of its squared length; 0 for a segment without length.
    """
    along = row * down
    along += column * across
    along *= inverse
    np.clip(along, 0.0, 1.0, out=along)
    down *= along
    across *= along
    row -= down
    column -= across
    row *= row
    column *= column
    row += column
    return row
