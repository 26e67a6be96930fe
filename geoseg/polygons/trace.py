"""Trace the polygons of a raster that is seen one block at a time.

A component that touches no seam is finished inside its block. The nodes of the others wait, and with them
their sums; after each row of blocks the components that reach the next row stay, all others are joined across
the seams and finished. Nothing but the last row of labels and what waits is kept, and nothing about a polygon
depends on where the seams were: its nodes are decided by the values of four pixels, its sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.components import NODATA, Runs, find_runs
from geoseg.polygons.rings import Nodes, Traced, link_rings
from geoseg.polygons.surface import Surface
from geoseg.polygons.tally import Tally, tally_block

_Line = tuple[NDArray[np.uint8], NDArray[np.int32]]
"""Values and labels along one side of a block."""


class Sink(Protocol):
    """Takes finished polygons."""

    def add(self, traced: Traced, tally: Tally) -> None:
        """Take polygons and, in the same order, what was added up over them."""


@dataclass(frozen=True, slots=True)
class BlockValues:
    """The pixels of one block.

    Attributes:
        row: First row in the raster.
        column: First column in the raster.
        classes: Class values, 255 is nodata, uint8 (rows, columns).
        confidence: 0-100, 255 unknown, uint8 (rows, columns), or None.
        probabilities: 0-250, 255 unknown, uint8 (classes, rows, columns), or None.
    """

    row: int
    column: int
    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None = None
    probabilities: NDArray[np.uint8] | None = None


class Tracer:
    """Takes the blocks of a raster row by row and hands finished polygons to a sink.

    Labels of components that touch a seam count from 1; 0 is nodata and the outside, -1 a finished polygon.

    Args:
        shape: Rows and columns of the raster.
        surface: Sizes of the pixels, or None.
        sink: Takes the polygons.
        junctions: Also tell the sink at which vertices more than two boundaries meet.
    """

    def __init__(
        self, shape: tuple[int, int], surface: Surface | None, sink: Sink, *, junctions: bool = False
    ) -> None:
        self._shape = shape
        self._junctions = junctions
        self._surface = surface
        self._sink = sink
        width = shape[1]
        self._above = _outside(width)
        self._below = self._above
        self._left = _outside(0)
        self._waiting: list[Nodes] = []
        self._tallies: list[Tally] = []
        self._seams: list[NDArray[np.int32]] = []
        self._last_label = 0

    def add(self, block: BlockValues) -> None:
        """Take the next block: from left to right, then the next row of blocks."""
        if block.column == 0:
            self._left = _outside(block.classes.shape[0])
            self._below = _outside(self._shape[1])
        runs = find_runs(block.classes)
        tally = self._tally(block, runs)
        names = self._name_components(block, runs, tally)
        labels: NDArray[np.int32] = np.repeat(names[runs.component], runs.lengths).reshape(
            block.classes.shape
        )
        self._note_seams(block, labels)
        nodes = self._nodes(block, labels)
        self._finish(nodes, nodes.quadrants < 0, tally, -names)
        waiting = nodes.where(_any_quadrant(nodes.quadrants > 0))
        np.maximum(waiting.quadrants, -1, out=waiting.quadrants)
        self._waiting.append(waiting)

        columns = slice(block.column, block.column + labels.shape[1])
        self._below[0][columns] = block.classes[-1]
        self._below[1][columns] = labels[-1]
        self._left = block.classes[:, -1].copy(), labels[:, -1].copy()
        if columns.stop == self._shape[1]:
            self._end_row(last=block.row + labels.shape[0] == self._shape[0])

    def _tally(self, block: BlockValues, runs: Runs) -> Tally:
        areas = None
        if self._surface is not None:
            areas = self._surface.pixel_areas(block.row, block.column, *block.classes.shape)
        return tally_block(runs, areas, block.confidence, block.probabilities)

    def _name_components(self, block: BlockValues, runs: Runs, tally: Tally) -> NDArray[np.int32]:
        """Labels of a block's components: positive if they touch a seam, else -1, -2, ..., 0 for nodata."""
        rows, columns = block.classes.shape
        first = np.searchsorted(runs.starts, np.arange(rows) * columns)
        last = np.append(first[1:], runs.starts.size) - 1
        at_seam = np.zeros(runs.n_components, dtype=bool)
        if block.row > 0:
            at_seam[runs.component[: last[0] + 1]] = True
        if block.row + rows < self._shape[0]:
            at_seam[runs.component[first[-1] :]] = True
        if block.column > 0:
            at_seam[runs.component[first]] = True
        if block.column + columns < self._shape[1]:
            at_seam[runs.component[last]] = True
        names = -np.arange(1, runs.n_components + 1, dtype=np.int32)
        names[tally.class_ids == NODATA] = 0
        at_seam &= names != 0
        count = int(np.count_nonzero(at_seam))
        names[at_seam] = np.arange(self._last_label + 1, self._last_label + count + 1)
        self._last_label += count
        self._tallies.append(tally.take(at_seam))
        return names

    def _note_seams(self, block: BlockValues, labels: NDArray[np.int32]) -> None:
        """Remember which labels are one polygon across the seams above and left of a block."""
        columns = slice(block.column, block.column + labels.shape[1])
        for (values, names), own_values, own_names in (
            ((self._above[0][columns], self._above[1][columns]), block.classes[0], labels[0]),
            (self._left, block.classes[:, 0], labels[:, 0]),
        ):
            same = (values == own_values) & (own_values != NODATA)
            self._seams.append(np.stack([names[same], own_names[same]]))

    def _nodes(self, block: BlockValues, labels: NDArray[np.int32]) -> Nodes:
        """The nodes among the corners whose lower right pixel is in the block or beyond the end."""
        values = self._frame(block, block.classes, self._above[0], self._left[0], NODATA)
        framed = self._frame(block, labels, self._above[1], self._left[1], 0)
        level = values[:, :-1] == values[:, 1:]
        upright = values[:-1] == values[1:]
        plain = level[:-1] & level[1:]
        plain |= upright[:, :-1] & upright[:, 1:]
        rows, columns = np.divmod(np.flatnonzero(~plain), plain.shape[1])
        at = rows * framed.shape[1] + columns
        flat = framed.ravel()
        width = framed.shape[1]
        quadrants = np.stack([flat[at + 1], flat[at], flat[at + width], flat[at + width + 1]], axis=1)
        junctions = None
        if self._junctions:  # a plain corner has two sides of equal pixels, anything else fewer
            alike = level[rows, columns].astype(np.int8)
            for same in (level[rows + 1, columns], upright[rows, columns], upright[rows, columns + 1]):
                alike += same
            junctions = alike < 2
        return Nodes(
            (rows + block.row).astype(np.int32),
            (columns + block.column).astype(np.int32),
            quadrants,
            junctions,
        )

    def _frame(
        self,
        block: BlockValues,
        inner: NDArray[np.generic],
        above: NDArray[np.generic],
        left: NDArray[np.generic],
        outside: int,
    ) -> NDArray[np.generic]:
        """A block with the pixels above and left of it, and the outside where the raster ends."""
        rows, columns = inner.shape
        ends = (block.row + rows == self._shape[0], block.column + columns == self._shape[1])
        framed = np.full((rows + 1 + ends[0], columns + 1 + ends[1]), outside, dtype=inner.dtype)
        framed[1 : rows + 1, 1 : columns + 1] = inner
        framed[1 : rows + 1, 0] = left
        start = max(block.column - 1, 0)
        stop = min(block.column + columns, self._shape[1])
        framed[0, 1 + start - block.column : 1 + stop - block.column] = above[start:stop]
        return framed

    def _finish(
        self, nodes: Nodes, ready: NDArray[np.bool_], tally: Tally, labels: NDArray[np.integer]
    ) -> None:
        """Trace what is ready; ``labels`` says which label each part of the tally has."""
        chosen = _any_quadrant(ready)
        traced = link_rings(nodes.where(chosen), ready[chosen], self._surface)
        if len(traced) == 0:
            return
        part = np.zeros(int(labels.max()) + 1, dtype=np.int64)
        held = labels > 0
        part[labels[held]] = np.flatnonzero(held)
        self._sink.add(traced, tally.take(part[np.abs(traced.labels)]))

    def _end_row(self, *, last: bool) -> None:
        """Join what waits across the seams, finish what does not reach the next row of blocks."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        count = self._last_label + 1
        pairs = np.concatenate(self._seams, axis=1)
        links = coo_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(count, count))
        n_roots, root = connected_components(links, directed=False)
        root -= root[0]  # label 0 is linked to nothing: it is the first component, and stays 0
        stays = np.zeros(n_roots + 1, dtype=bool)  # the last one is for label -1
        if not last:
            stays[root[self._below[1]]] = True
            stays[0] = False
        nodes = Nodes.join(self._waiting)
        quadrants = np.append(root, -1).astype(np.int32)[nodes.quadrants]
        nodes = replace(nodes, quadrants=quadrants)
        tally = Tally.join(self._tallies).merge(root[1:] - 1, n_roots - 1)
        self._finish(nodes, (quadrants > 0) & ~stays[quadrants], tally, np.arange(1, n_roots))

        renamed = np.where(stays, np.cumsum(stays), -1).astype(np.int32)
        renamed[0], renamed[-1] = 0, -1
        kept = nodes.where(_any_quadrant(stays[quadrants]))
        self._waiting = [replace(kept, quadrants=renamed[kept.quadrants])]
        self._tallies = [tally.take(stays[1:-1])]
        self._seams = [np.zeros((2, 0), dtype=np.int32)]
        self._last_label = int(np.count_nonzero(stays))
        if not last:
            self._above = self._below[0], renamed[root[self._below[1]]]


def _outside(size: int) -> _Line:
    return np.full(size, NODATA, dtype=np.uint8), np.zeros(size, dtype=np.int32)


def _any_quadrant(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.logical_or.reduce(marked, axis=1)
    return found
