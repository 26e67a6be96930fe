"""Trace the polygons of a raster that is seen one block at a time.

A component that touches no seam is finished inside its block. The nodes of the others wait, and with them
their sums; after each row of blocks the components that reach the next row stay, their nodes on disk, and all
others are joined across the seams and finished. Nothing but the last row of labels, what waits in this row of
blocks and the sums of what stays is kept in memory, and nothing about a polygon depends on where the seams
were: its nodes are decided by the values of four pixels, its sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.polygons.trace.block import BlockValues, Line, TracedBlock, find_nodes, trace_block
from geoseg.polygons.trace.pieces import PORTION, Pieces, WaitingPieces
from geoseg.polygons.trace.rings import Nodes, Traced, any_quadrant, link_rings
from geoseg.polygons.trace.sums import PolygonSums
from geoseg.raster.pixel_sizes import PixelSizes


class Sink(Protocol):
    """Takes finished polygons."""

    def add(self, traced: Traced, tally: PolygonSums) -> None:
        """Take polygons and, in the same order, what was added up over them."""


class Tracer:
    """Takes the blocks of a raster row by row and hands finished polygons to a sink.

    Labels of components that touch a seam count from 1; 0 is nodata and the outside, -1 a finished polygon.

    Args:
        shape: Rows and columns of the raster.
        pixel_sizes: Sizes of the pixels, or None.
        sink: Takes the polygons.
        junctions: Also tell the sink at which vertices more than two boundaries meet.
        folder: Where nodes wait in a nameless temporary file; None for the system's place.
        check: Told the vertices of a large polygon before it is put together; may raise an error.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pixel_sizes: PixelSizes | None,
        sink: Sink,
        *,
        junctions: bool = False,
        folder: Path | None = None,
        check: Callable[[int], None] | None = None,
    ) -> None:
        self._shape = shape
        self._junctions = junctions
        self._pixel_sizes = pixel_sizes
        self._sink = sink
        self._check = check
        self._above = self._below = Line.outside(shape[1])
        self._left = Line.outside(0)
        self._nodes: list[Nodes] = []
        self._pieces = WaitingPieces(folder)
        self._tallies: list[PolygonSums] = []
        self._seams: list[NDArray[np.int32]] = []
        self._last_label = 0

    def add(self, block: BlockValues) -> None:
        """Take the next block: from left to right, then the next row of blocks."""
        self.add_traced(trace_block(block, self._shape, self._pixel_sizes, junctions=self._junctions))

    def add_traced(self, block: TracedBlock) -> None:
        """Take the next block as ``trace_block`` left it."""
        height, width = block.left.values.size, block.top.values.size
        if block.column == 0:
            self._left = Line.outside(height)
            self._below = Line.outside(self._shape[1])
        if len(block.finished):
            self._sink.add(block.finished, block.sums)
        first = self._last_label
        top, left = block.top.shifted(first), block.left.shifted(first)
        self._last_label += len(block.waiting)
        self._tallies.append(block.waiting)
        self._note_seams(block.column, top, left)
        inner = block.nodes.quadrants
        inner = np.where(inner > 0, inner + np.int32(first), inner)
        self._nodes.append(replace(block.nodes, quadrants=inner))
        self._nodes += self._nodes_on_seams(block.row, block.column, top, left)

        end = block.column + width
        bottom = block.bottom.shifted(first)
        self._below.values[block.column : end] = bottom.values
        self._below.labels[block.column : end] = bottom.labels
        self._left = block.right.shifted(first)
        if end == self._shape[1]:
            self._end_row(last=block.row + height == self._shape[0])

    def _note_seams(self, column: int, top: Line, left: Line) -> None:
        """Remember which labels are one polygon across the seams above and left of a block."""
        above = self._above.part(column, column + top.values.size)
        for other, own in ((above, top), (self._left, left)):
            same = (other.values == own.values) & (own.values != NODATA)
            self._seams.append(np.stack([other.labels[same], own.labels[same]]))

    def _nodes_on_seams(self, row: int, column: int, top: Line, left: Line) -> list[Nodes]:
        """Find the nodes on the upper and the left side of a block, where these are seams."""
        height, width = left.values.size, top.values.size
        ends = (row + height == self._shape[0], column + width == self._shape[1])
        found = []
        if row > 0:
            before, after = int(column > 0), int(ends[1])
            upper = self._above.part(column - before, column + width)
            lower = Line.join(self._left.part(0, before), top)
            lines = [line.framed(1 - before, after) for line in (upper, lower)]
            found.append(self._find(lines, row, column))
        if column > 0:
            above, after = int(row == 0), int(ends[0])
            lines = [line.framed(above, after) for line in (self._left, left)]
            nodes = self._find(lines, column, row + 1 - above)
            # The lines lay on their side: rows and columns change places, and the pixels around a node.
            found.append(Nodes(nodes.columns, nodes.rows, nodes.quadrants[:, [2, 1, 0, 3]], nodes.junctions))
        return found

    def _find(self, lines: list[Line], row: int, column: int) -> Nodes:
        values = np.stack([line.values for line in lines])
        labels = np.stack([line.labels for line in lines])
        nodes = find_nodes(values, labels, row, column, junctions=self._junctions)
        return nodes.where(any_quadrant(nodes.quadrants > 0))

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
            stays[root[self._below.labels]] = True
            stays[0] = False
        tally = PolygonSums.join(self._tallies).merge(root[1:] - 1, n_roots - 1)
        pieces = self._pieces_of_row(np.append(root, -1).astype(np.int32))
        ready = ~stays[pieces.labels]
        self._pieces.rename(root)
        self._finish(pieces.take(ready), tally)

        renamed = np.where(stays, np.cumsum(stays), -1).astype(np.int32)
        renamed[0], renamed[-1] = 0, -1
        self._pieces.rename(renamed)
        staying = pieces.take(~ready)
        self._pieces.add(replace(staying, labels=renamed[staying.labels].astype(np.int64)))
        self._tallies = [tally.take(stays[1:-1])]
        self._seams = [np.zeros((2, 0), dtype=np.int32)]
        self._last_label = int(np.count_nonzero(stays))
        if not last:
            self._above = Line(self._below.values, renamed[root[self._below.labels]])

    def _pieces_of_row(self, root: NDArray[np.int32]) -> Pieces:
        nodes = Nodes.join(self._nodes)
        self._nodes = []
        return Pieces.of(replace(nodes, quadrants=root[nodes.quadrants]))

    def _finish(self, last: Pieces, tally: PolygonSums) -> None:
        """Trace polygons whose last pieces these are; ``tally`` has a part for each label from 1 on."""
        if last.labels.size == 0:
            return
        largest = self._pieces.largest(last)
        if self._check is not None and largest > PORTION:
            self._check(largest)
        for nodes in self._pieces.finish(last, junctions=self._junctions):
            traced = link_rings(nodes, nodes.quadrants > 0, self._pixel_sizes)
            self._sink.add(traced, tally.take(traced.labels - 1))
