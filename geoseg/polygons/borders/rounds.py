"""Change all borders of a map together, so that none touches another.

Every arc is changed by itself. Where lines then touch, leave a junction in another order, or were moved
across a junction or an island, the pieces concerned get a vertex of the old border back, all at once; and
again, until nothing clashes. At worst all old vertices are back, and the old borders are valid.

That is enough for a coverage: lines that meet at their ends only, in the same order around each, bound the
same faces as before, and no connected part of the map lies in another face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines
from geoseg.polygons.borders.clashes import Junctions, touching
from geoseg.raster.ragged import index_ranges
from geoseg.system.threads import in_order

PORTION = 2**17
"""Vertices of arcs worked on at once: what is computed of them stays in the processor's cache."""
_COARSE_BITS = 11
"""Arcs near others are found in cells of 2^11 steps: 64 pixels."""


def settle(shaper: ArcChanger, junctions: Junctions) -> NewArcs:
    """Change all arcs of a map, and take back what makes lines clash.

    Args:
        shaper: Changes arcs.
        junctions: Of all arcs.

    Returns:
        One line for each arc; none touches another but at a common end.
    """
    count = shaper.sizes.size
    shapes = NewArcs.join(list(in_order(shaper.first, portions(np.arange(count), shaper.sizes))))
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


class ArcChanger(Protocol):
    """Changes arcs, each by itself, and takes changes back where lines clash."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Vertices of each arc before it is changed."""

    def first(self, chosen: NDArray[np.int64]) -> NewArcs:
        """Change the chosen arcs as far as it goes."""

    def refine(
        self,
        chosen: NDArray[np.int64],
        shapes: NewArcs,
        clashing: NDArray[np.int64],
        even: NDArray[np.bool_],
    ) -> NewArcs:
        """Take back some of what was done to each clashing piece.

        Args:
            chosen: Arcs.
            shapes: What they are now.
            clashing: Index of the first vertex of each clashing piece among those of ``shapes``.
            even: Whether vertices of an arc may be moved to keep areas.
        """


@dataclass(frozen=True, slots=True, eq=False)
class NewArcs:
    """Simplified arcs.

    Attributes:
        lines: Their vertices, in steps.
        at: Which vertex of the old border each was, counted from the arc's first, int32.
        moved: How far no point of the old border is from the new one, in the unit of the tolerance, float64.
        swept: Index of the first vertex of pieces that move across a junction or an island, and of those of
            closed lines that are turned inside out.
    """

    lines: Lines
    at: NDArray[np.int32]
    moved: NDArray[np.float64]
    swept: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, chosen: NDArray[np.integer]) -> NewArcs:
        """Keep only the chosen ones, without what they sweep."""
        at = self.at.take(index_ranges(self.lines.starts[chosen], self.lines.sizes[chosen]))
        return NewArcs(self.lines.take(chosen), at, self.moved[chosen], np.zeros(0, dtype=np.int64))

    def with_new(self, chosen: NDArray[np.int64], renewed: NewArcs) -> NewArcs:
        """Replace the chosen ones, which are given in ascending order."""
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
        """Join all shapes of several sets."""
        before = np.cumsum([0, *(len(part.at) for part in parts)])
        return NewArcs(
            Lines.join([part.lines for part in parts]),
            np.concatenate([part.at for part in parts]),
            np.concatenate([part.moved for part in parts]),
            np.concatenate([part.swept + n for part, n in zip(parts, before, strict=False)]),
        )


def portions(chosen: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut a choice of arcs into portions of bounded size."""
    if chosen.size == 0:
        return []
    portion = (np.cumsum(sizes[chosen]) - 1) // PORTION
    return np.split(chosen, np.flatnonzero(np.diff(portion)) + 1)


def _clashing(shapes: NewArcs, fresh: NDArray[np.bool_], junctions: Junctions) -> NDArray[np.int64]:
    """First vertices of all pieces that clash, ascending."""
    touched = touching(shapes.lines, fresh, _arcs_near(shapes.lines, fresh))
    return np.unique(np.concatenate([touched, junctions.turned(shapes.lines), shapes.swept]))


def _arcs_near(lines: Lines, fresh: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which lines have a bounding box near that of a fresh one; fresh ones have."""
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
    shaper: ArcChanger,
    shapes: NewArcs,
    concerned: NDArray[np.int64],
    clashing: NDArray[np.int64],
    even: NDArray[np.bool_],
) -> NewArcs:
    """Take back something of every clashing piece of the arcs concerned."""
    starts, line = shapes.lines.starts, shapes.lines.line_of(clashing)

    def work(part: NDArray[np.int64]) -> NewArcs:
        old = shapes.take(part)
        mine = slice(*np.searchsorted(line, [part[0], part[-1] + 1]))
        local = np.searchsorted(part, line[mine])
        pieces = clashing[mine] - starts[line[mine]] + old.lines.starts[local]
        return shaper.refine(part, old, pieces, even[part])

    parts = list(in_order(work, portions(concerned, shaper.sizes)))
    return NewArcs.join([shapes.take(concerned[:0]), *parts])


def _differ(one: Lines, other: Lines) -> NDArray[np.bool_]:
    """Tell which lines of two sets are not the same."""
    differ: NDArray[np.bool_] = one.sizes != other.sizes
    same = np.flatnonzero(~differ)
    if same.size:
        first, second = one.take(same), other.take(same)
        unlike = (first.points != second.points).any(axis=1)
        differ[same] = np.logical_or.reduceat(unlike, first.starts)
    return differ


def _pairs(lines: Lines) -> NDArray[np.int64]:
    """View row and column of every vertex as one number, which moves twice as fast."""
    pairs: NDArray[np.int64] = np.ascontiguousarray(lines.points).view(np.int64)[:, 0]
    return pairs
