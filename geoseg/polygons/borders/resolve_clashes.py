"""Change all borders of a map, and undo what makes them clash.

Every arc is changed by itself. Lines clash if they touch, leave a junction in another order than before, or
were moved across a junction or an island. Each clashing segment gets back a vertex of its old border, all of
them at once, until nothing clashes. This ends: with all old vertices back, the borders are the old ones.

The result is a valid coverage: lines that meet only at their ends, in the same order around each, bound the
same faces as before, and no connected part of the map has moved to another face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines
from geoseg.polygons.borders.find_clashes import Junctions, find_touching
from geoseg.raster.ragged import index_ranges
from geoseg.system.cpu import in_order

PORTION = 2**17
"""Vertices of arcs processed at once, few enough that the arrays stay in the processor's cache."""
_COARSE_BITS = 11
"""Neighbouring arcs are found by cells of 2^11 steps: 64 pixels."""


def change_arcs(changer: ArcChanger, junctions: Junctions) -> NewArcs:
    """Change all arcs of a map, and undo what makes lines clash.

    Args:
        changer: Changes arcs.
        junctions: The junctions of all arcs.

    Returns:
        One line for each arc; lines touch at common ends only.
    """
    count = changer.sizes.size
    shapes = NewArcs.join(list(in_order(changer.first, portions(np.arange(count), changer.sizes))))
    fresh = np.ones(count, dtype=bool)
    clashed = np.zeros(count, dtype=bool)
    while True:
        clashing = _clashing(shapes, fresh, junctions)
        concerned = np.unique(shapes.lines.line_of(clashing))
        # If an arc clashes a second time, its vertices return to their places on the old border.
        renewed = _refine(changer, shapes, concerned, clashing, ~clashed)
        changed = _differ(renewed.lines, shapes.lines.take(concerned))
        if not changed.any():
            return shapes
        clashed[concerned] = True
        shapes = shapes.with_new(concerned, renewed)
        fresh[:] = False
        fresh[concerned[changed]] = True


class ArcChanger(Protocol):
    """Changes arcs, each by itself, and undoes part of a change where lines clash."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of vertices of each arc before the change."""

    def first(self, chosen: NDArray[np.int64]) -> NewArcs:
        """Change the chosen arcs as much as the options allow."""

    def refine(
        self,
        chosen: NDArray[np.int64],
        shapes: NewArcs,
        clashing: NDArray[np.int64],
        even: NDArray[np.bool_],
    ) -> NewArcs:
        """Undo part of the change of each clashing segment.

        Args:
            chosen: Indices of arcs.
            shapes: These arcs as they are now.
            clashing: Index of the first vertex of each clashing segment among the vertices of ``shapes``.
            even: Whether the vertices of each arc may be shifted to keep areas.
        """


@dataclass(frozen=True, slots=True, eq=False)
class NewArcs:
    """Changed arcs.

    Attributes:
        lines: Their vertices, in steps.
        at: Index of the old vertex from which each new one comes, counted from the arc's first, int32.
        moved: Upper bound on the distance of the old border from the new one, in the unit of the tolerance,
            float64.
        swept: Index of the first vertex of each segment that moved across a junction or an island, or that
            belongs to a closed line turned inside out.
    """

    lines: Lines
    at: NDArray[np.int32]
    moved: NDArray[np.float64]
    swept: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, chosen: NDArray[np.integer]) -> NewArcs:
        """Keep only the chosen arcs; ``swept`` is left empty."""
        at = self.at.take(index_ranges(self.lines.starts[chosen], self.lines.sizes[chosen]))
        return NewArcs(self.lines.take(chosen), at, self.moved[chosen], np.zeros(0, dtype=np.int64))

    def with_new(self, chosen: NDArray[np.int64], renewed: NewArcs) -> NewArcs:
        """Replace the chosen arcs, given in ascending order."""
        stay = np.ones(len(self), dtype=bool)
        stay[chosen] = False
        sizes, moved = self.lines.sizes.copy(), self.moved.copy()
        sizes[chosen], moved[chosen] = renewed.lines.sizes, renewed.moved
        here, there = np.repeat(stay, sizes), np.repeat(stay, self.lines.sizes)
        points, at = np.empty((here.size, 2), dtype=np.int32), np.empty(here.size, dtype=np.int32)
        for new, old, other in (
            (points.view(np.int64)[:, 0], _pairs(self.lines), _pairs(renewed.lines)),
            (at, self.at, renewed.at),
        ):
            new[here] = old[there]
            new[~here] = other
        lines = Lines(points, sizes)
        old_line, new_line = self.lines.line_of(self.swept), renewed.lines.line_of(renewed.swept)
        begins = lines.starts
        kept = self.swept + (begins - self.lines.starts)[old_line]
        added = renewed.swept + (begins[chosen] - renewed.lines.starts)[new_line]
        return NewArcs(lines, at, moved, np.union1d(kept[stay[old_line]], added))

    @staticmethod
    def join(parts: list[NewArcs]) -> NewArcs:
        """Concatenate several sets of arcs."""
        before = np.cumsum([0, *(len(part.at) for part in parts)])
        return NewArcs(
            Lines.join([part.lines for part in parts]),
            np.concatenate([part.at for part in parts]),
            np.concatenate([part.moved for part in parts]),
            np.concatenate([part.swept + n for part, n in zip(parts, before, strict=False)]),
        )


def portions(chosen: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split a selection of arcs into portions of bounded size."""
    if chosen.size == 0:
        return []
    portion = (np.cumsum(sizes[chosen]) - 1) // PORTION
    return np.split(chosen, np.flatnonzero(np.diff(portion)) + 1)


def _clashing(shapes: NewArcs, fresh: NDArray[np.bool_], junctions: Junctions) -> NDArray[np.int64]:
    """Find all clashing segments: the indices of their first vertices, ascending."""
    touched = find_touching(shapes.lines, fresh, _arcs_near(shapes.lines, fresh))
    return np.unique(np.concatenate([touched, junctions.reordered(shapes.lines), shapes.swept]))


def _arcs_near(lines: Lines, fresh: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which lines have a bounding box near that of a fresh line; fresh lines count too."""
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
    changer: ArcChanger,
    shapes: NewArcs,
    concerned: NDArray[np.int64],
    clashing: NDArray[np.int64],
    even: NDArray[np.bool_],
) -> NewArcs:
    """Undo part of the change of every clashing segment, in parallel."""
    starts, line = shapes.lines.starts, shapes.lines.line_of(clashing)

    def work(part: NDArray[np.int64]) -> NewArcs:
        old = shapes.take(part)
        mine = slice(*np.searchsorted(line, [part[0], part[-1] + 1]))
        local = np.searchsorted(part, line[mine])
        segments = clashing[mine] - starts[line[mine]] + old.lines.starts[local]
        return changer.refine(part, old, segments, even[part])

    parts = list(in_order(work, portions(concerned, changer.sizes)))
    return NewArcs.join([shapes.take(concerned[:0]), *parts])


def _differ(one: Lines, other: Lines) -> NDArray[np.bool_]:
    """Tell which lines differ between two sets."""
    differ: NDArray[np.bool_] = one.sizes != other.sizes
    same = np.flatnonzero(~differ)
    if same.size:
        first, second = one.take(same), other.take(same)
        unlike = (first.points != second.points).any(axis=1)
        differ[same] = np.logical_or.reduceat(unlike, first.starts)
    return differ


def _pairs(lines: Lines) -> NDArray[np.int64]:
    """View the row and column of every vertex as one int64, which copies twice as fast."""
    pairs: NDArray[np.int64] = np.ascontiguousarray(lines.points).view(np.int64)[:, 0]
    return pairs
