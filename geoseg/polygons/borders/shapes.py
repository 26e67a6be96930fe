"""What becomes of arcs, and what a way of changing them must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines
from geoseg.polygons.groups import spread

PORTION = 2**17
"""Vertices of arcs worked on at once: what is computed of them stays in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
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

    def take(self, chosen: NDArray[np.integer]) -> Shapes:
        """Only the chosen ones, without what they sweep."""
        at = self.at.take(spread(self.lines.starts[chosen], self.lines.sizes[chosen]))
        return Shapes(self.lines.take(chosen), at, self.moved[chosen], np.zeros(0, dtype=np.int64))

    def with_new(self, chosen: NDArray[np.int64], renewed: Shapes) -> Shapes:
        """The same shapes, the chosen ones replaced; they are given in ascending order."""
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
        return Shapes(lines, at, moved, np.union1d(kept[stay[old_line]], added))

    @staticmethod
    def join(parts: list[Shapes]) -> Shapes:
        """All shapes of several sets."""
        before = np.cumsum([0, *(len(part.at) for part in parts)])
        return Shapes(
            Lines.join([part.lines for part in parts]),
            np.concatenate([part.at for part in parts]),
            np.concatenate([part.moved for part in parts]),
            np.concatenate([part.swept + n for part, n in zip(parts, before, strict=False)]),
        )


def _pairs(lines: Lines) -> NDArray[np.int64]:
    """Row and column of every vertex as one number, which moves twice as fast."""
    pairs: NDArray[np.int64] = np.ascontiguousarray(lines.points).view(np.int64)[:, 0]
    return pairs


class Shaper(Protocol):
    """Changes arcs, each by itself, and takes changes back where lines clash."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Vertices of each arc before it is changed."""

    def first(self, chosen: NDArray[np.int64]) -> Shapes:
        """Change the chosen arcs as far as it goes."""

    def refine(
        self, chosen: NDArray[np.int64], shapes: Shapes, clashing: NDArray[np.int64], even: NDArray[np.bool_]
    ) -> Shapes:
        """Take back some of what was done to each clashing piece.

        Args:
            chosen: Arcs.
            shapes: What they are now.
            clashing: Index of the first vertex of each clashing piece among those of ``shapes``.
            even: Whether vertices of an arc may be moved to keep areas.
        """


def portions(chosen: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut a choice of arcs into portions of bounded size."""
    if chosen.size == 0:
        return []
    portion = (np.cumsum(sizes[chosen]) - 1) // PORTION
    return np.split(chosen, np.flatnonzero(np.diff(portion)) + 1)
