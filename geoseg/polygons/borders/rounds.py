"""All borders of a map made simpler together, so that none touches another.

Every arc is simplified by itself. Where lines then touch, leave a junction in another order, or were moved
across a junction or an island, the pieces concerned get a vertex of the old border back, all at once; and
again, until nothing clashes. At worst all old vertices are back, and the old borders are valid.

That is enough for a coverage: lines that meet at their ends only, in the same order around each, bound the
same faces as before, and no part of the map that hangs together by itself lies in another face.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines
from geoseg.polygons.borders.clashes import Junctions, touching
from geoseg.polygons.borders.shapes import Shaper, Shapes, portions
from geoseg.system.threads import in_order

_COARSE_BITS = 11
"""Arcs near others are found in cells of 2^11 steps: 64 pixels."""


def settle(shaper: Shaper, junctions: Junctions) -> Shapes:
    """Change all arcs of a map, and take back what makes lines clash.

    Args:
        shaper: Changes arcs.
        junctions: Of all arcs.

    Returns:
        One line for each arc; none touches another but at a common end.
    """
    count = shaper.sizes.size
    shapes = Shapes.join(list(in_order(shaper.first, portions(np.arange(count), shaper.sizes))))
    fresh = np.ones(count, dtype=bool)
    clashed = np.zeros(count, dtype=bool)
    while True:
        clashing = _clashing(shapes, fresh, junctions)
        concerned = np.unique(shapes.lines.line_of(clashing))
        # The second time an arc clashes its vertices go back to where the old border had them.
        renewed = _refine(shaper, shapes, concerned, clashing, ~clashed)
        changed = _differ(renewed.lines, shapes.lines.take(concerned))
        if not changed.any():
            return shapes
        clashed[concerned] = True
        shapes = shapes.with_new(concerned, renewed)
        fresh[:] = False
        fresh[concerned[changed]] = True


def _clashing(shapes: Shapes, fresh: NDArray[np.bool_], junctions: Junctions) -> NDArray[np.int64]:
    """First vertices of all pieces that clash, ascending."""
    touched = touching(shapes.lines, fresh, _arcs_near(shapes.lines, fresh))
    return np.unique(np.concatenate([touched, junctions.turned(shapes.lines), shapes.swept]))


def _arcs_near(lines: Lines, fresh: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which lines have a bounding box that comes near that of a fresh one, those among them."""
    starts = lines.starts
    low = (np.minimum.reduceat(lines.points, starts) - 1) >> _COARSE_BITS
    high = (np.maximum.reduceat(lines.points, starts) + 1) >> _COARSE_BITS
    low -= (least := low.min(axis=0))
    high -= least
    rows, columns = high.max(axis=0) + 2
    marks = np.zeros((rows, columns), dtype=np.int64)
    for row, column, sign in (
        (low[:, 0], low[:, 1], 1),
        (high[:, 0] + 1, low[:, 1], -1),
        (low[:, 0], high[:, 1] + 1, -1),
        (high[:, 0] + 1, high[:, 1] + 1, 1),
    ):
        np.add.at(marks, (row[fresh], column[fresh]), sign)
    covered = marks.cumsum(axis=0).cumsum(axis=1) > 0
    total = np.zeros((rows + 1, columns + 1), dtype=np.int64)
    total[1:, 1:] = covered.cumsum(axis=0).cumsum(axis=1)
    inside = (
        total[high[:, 0] + 1, high[:, 1] + 1]
        - total[low[:, 0], high[:, 1] + 1]
        - total[high[:, 0] + 1, low[:, 1]]
        + total[low[:, 0], low[:, 1]]
    )
    return np.asarray(inside > 0)


def _refine(
    shaper: Shaper,
    shapes: Shapes,
    concerned: NDArray[np.int64],
    clashing: NDArray[np.int64],
    even: NDArray[np.bool_],
) -> Shapes:
    """The arcs concerned, with something of every clashing piece taken back."""
    starts, line = shapes.lines.starts, shapes.lines.line_of(clashing)

    def work(part: NDArray[np.int64]) -> Shapes:
        old = shapes.take(part)
        mine = slice(*np.searchsorted(line, [part[0], part[-1] + 1]))
        local = np.searchsorted(part, line[mine])
        pieces = clashing[mine] - starts[line[mine]] + old.lines.starts[local]
        return shaper.refine(part, old, pieces, even[part])

    parts = list(in_order(work, portions(concerned, shaper.sizes)))
    return Shapes.join([shapes.take(concerned[:0]), *parts])


def _differ(one: Lines, other: Lines) -> NDArray[np.bool_]:
    """Which lines of two sets are not the same."""
    differ: NDArray[np.bool_] = one.sizes != other.sizes
    same = np.flatnonzero(~differ)
    if same.size:
        first, second = one.take(same), other.take(same)
        unlike = (first.points != second.points).any(axis=1)
        differ[same] = np.logical_or.reduceat(unlike, first.starts)
    return differ
