"""Trace the polygons of a raster block by block, and join them across the seams.

A component that touches no seam is finished inside its block. The nodes and sums of the others are kept.
After each row of blocks, components are joined across the seams; those that do not reach the next row are
finished, and the nodes of those that do go to disk. So memory holds the last row of labels, the unfinished
components of one row of blocks, and the sums of those that continue. No polygon depends on the position of
the seams: its nodes follow from the values of four pixels each, and its sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.polygons.trace.block import BlockValues, PixelLine, TracedBlock, find_nodes, trace_block
from geoseg.polygons.trace.pending_nodes import PORTION, PendingNodes, PolygonNodes
from geoseg.polygons.trace.rings import Nodes, Traced, any_quadrant, link_rings
from geoseg.polygons.trace.sums import PolygonSums
from geoseg.raster.pixel_sizes import PixelSizes


class Sink(Protocol):
    """Receives finished polygons."""

    def add(self, traced: Traced, sums: PolygonSums) -> None:
        """Receive polygons and, in the same order, the sums over their pixels."""


class Tracer:
    """Join the traced blocks of a raster, row by row, and send finished polygons to a sink.

    Labels: from 1 for components that touch a seam, 0 for nodata and outside the raster, -1 for finished
    polygons.

    Args:
        shape: Rows and columns of the raster.
        pixel_sizes: Sizes of the pixels, or None.
        sink: Receives the polygons.
        junctions: Whether to record at which vertices more than two boundaries meet.
        folder: Folder for the temporary file of nodes; None for the system's.
        check: Called with the number of vertices of a large polygon before it is assembled; may raise.
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
        self._above = self._below = PixelLine.outside(shape[1])
        self._left = PixelLine.outside(0)
        self._nodes: list[Nodes] = []
        self._pending = PendingNodes(folder)
        self._sums: list[PolygonSums] = []
        self._seams: list[NDArray[np.int32]] = []
        self._last_label = 0

    def add(self, block: BlockValues) -> None:
        """Trace and join the next block: from left to right, then the next row of blocks."""
        self.add_traced(trace_block(block, self._shape, self._pixel_sizes, junctions=self._junctions))

    def add_traced(self, block: TracedBlock) -> None:
        """Join the next block, traced by ``trace_block``."""
        height, width = block.left.values.size, block.top.values.size
        if block.column == 0:
            self._left = PixelLine.outside(height)
            self._below = PixelLine.outside(self._shape[1])
        if len(block.finished):
            self._sink.add(block.finished, block.sums)
        first = self._last_label
        top, left = block.top.shifted(first), block.left.shifted(first)
        self._last_label += len(block.waiting)
        self._sums.append(block.waiting)
        self._link_across_seams(block.column, top, left)
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
            self._finish_row(last=block.row + height == self._shape[0])

    def _link_across_seams(self, column: int, top: PixelLine, left: PixelLine) -> None:
        """Record which labels are the same polygon across the seams above and left of a block."""
        above = self._above.part(column, column + top.values.size)
        for other, own in ((above, top), (self._left, left)):
            same = (other.values == own.values) & (own.values != NODATA)
            self._seams.append(np.stack([other.labels[same], own.labels[same]]))

    def _nodes_on_seams(self, row: int, column: int, top: PixelLine, left: PixelLine) -> list[Nodes]:
        """Find the nodes on the upper and left side of a block, if these are seams."""
        height, width = left.values.size, top.values.size
        ends = (row + height == self._shape[0], column + width == self._shape[1])
        found = []
        if row > 0:
            before, after = int(column > 0), int(ends[1])
            upper = self._above.part(column - before, column + width)
            lower = PixelLine.join(self._left.part(0, before), top)
            lines = [line.framed(1 - before, after) for line in (upper, lower)]
            found.append(self._find(lines, row, column))
        if column > 0:
            above, after = int(row == 0), int(ends[0])
            lines = [line.framed(above, after) for line in (self._left, left)]
            nodes = self._find(lines, column, row + 1 - above)
            # These lines are columns: transpose positions and quadrants.
            found.append(Nodes(nodes.columns, nodes.rows, nodes.quadrants[:, [2, 1, 0, 3]], nodes.junctions))
        return found

    def _find(self, lines: list[PixelLine], row: int, column: int) -> Nodes:
        values = np.stack([line.values for line in lines])
        labels = np.stack([line.labels for line in lines])
        nodes = find_nodes(values, labels, row, column, junctions=self._junctions)
        return nodes.where(any_quadrant(nodes.quadrants > 0))

    def _finish_row(self, *, last: bool) -> None:
        """Join components across the seams, and finish those that do not reach the next row of blocks."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        count = self._last_label + 1
        pairs = np.concatenate(self._seams, axis=1)
        links = coo_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(count, count))
        n_roots, root = connected_components(links, directed=False)
        root -= root[0]  # label 0 is linked to no other, so it is the first component and stays 0
        stays = np.zeros(n_roots + 1, dtype=bool)  # the last one is for label -1
        if not last:
            stays[root[self._below.labels]] = True
            stays[0] = False
        sums = PolygonSums.join(self._sums).merge(root[1:] - 1, n_roots - 1)
        nodes = self._nodes_of_row(np.append(root, -1).astype(np.int32))
        ready = ~stays[nodes.labels]
        self._pending.relabel(root)
        self._finish(nodes.take(ready), sums)

        renamed = np.where(stays, np.cumsum(stays), -1).astype(np.int32)
        renamed[0], renamed[-1] = 0, -1
        self._pending.relabel(renamed)
        staying = nodes.take(~ready)
        self._pending.add(replace(staying, labels=renamed[staying.labels].astype(np.int64)))
        self._sums = [sums.take(stays[1:-1])]
        self._seams = [np.zeros((2, 0), dtype=np.int32)]
        self._last_label = int(np.count_nonzero(stays))
        if not last:
            self._above = PixelLine(self._below.values, renamed[root[self._below.labels]])

    def _nodes_of_row(self, root: NDArray[np.int32]) -> PolygonNodes:
        nodes = Nodes.join(self._nodes)
        self._nodes = []
        return PolygonNodes.of(replace(nodes, quadrants=root[nodes.quadrants]))

    def _finish(self, last: PolygonNodes, sums: PolygonSums) -> None:
        """Trace the polygons whose last nodes these are; ``sums`` has one part per label, from label 1."""
        if last.labels.size == 0:
            return
        largest = self._pending.largest(last)
        if self._check is not None and largest > PORTION:
            self._check(largest)
        for nodes in self._pending.finish(last, junctions=self._junctions):
            traced = link_rings(nodes, nodes.quadrants > 0, self._pixel_sizes)
            self._sink.add(traced, sums.take(traced.labels - 1))
