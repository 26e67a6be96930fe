"""Trace one block by itself; many blocks can be traced in parallel.

A *seam* is a side of the block that is not the raster's edge. A component that touches no seam is finished
here. The nodes and sums of the other components are returned, with labels that count from 1 in this block,
for ``Tracer`` to join.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.polygons.trace.rings import Nodes, Traced, any_quadrant, link_rings
from geoseg.polygons.trace.sums import PolygonSums, sum_polygons
from geoseg.polygons.zonal.statistics import ZonalValues
from geoseg.raster.components import Runs, find_runs
from geoseg.raster.pixel_sizes import PixelSizes
from geoseg.raster.ragged import repeat_each


@dataclass(frozen=True, slots=True)
class BlockValues:
    """The pixels of one block.

    Attributes:
        row: First row in the raster.
        column: First column in the raster.
        classes: Class values, 255 is nodata, uint8 (rows, columns).
        confidence: 0-100, 255 unknown, uint8 (rows, columns), or None.
        probabilities: 0-250, 255 unknown, uint8 (classes, rows, columns), or None.
        zonal: Values of other rasters, or None.
    """

    row: int
    column: int
    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None = None
    probabilities: NDArray[np.uint8] | None = None
    zonal: ZonalValues | None = None


@dataclass(frozen=True, slots=True)
class PixelLine:
    """One row or column of pixels along a side of a block.

    Attributes:
        values: Class values, uint8.
        labels: Component labels, int32: 0 for nodata and outside the raster, -1 for a finished polygon, from
            1 for a component that is not finished.
    """

    values: NDArray[np.uint8]
    labels: NDArray[np.int32]

    @staticmethod
    def outside(size: int) -> PixelLine:
        """Return a line of ``size`` pixels outside the raster."""
        return PixelLine(np.full(size, NODATA, dtype=np.uint8), np.zeros(size, dtype=np.int32))

    @staticmethod
    def join(one: PixelLine, other: PixelLine) -> PixelLine:
        """Concatenate two lines."""
        return PixelLine(
            np.concatenate([one.values, other.values]), np.concatenate([one.labels, other.labels])
        )

    def part(self, start: int, stop: int) -> PixelLine:
        """Return the pixels from ``start`` to ``stop - 1``."""
        return PixelLine(self.values[start:stop], self.labels[start:stop])

    def framed(self, before: int, after: int) -> PixelLine:
        """Pad with pixels outside the raster, ``before`` and ``after`` the line."""
        frame = (before, after)
        return PixelLine(np.pad(self.values, frame, constant_values=NODATA), np.pad(self.labels, frame))

    def shifted(self, by: int) -> PixelLine:
        """Add a number to the labels above 0."""
        return PixelLine(self.values, np.where(self.labels > 0, self.labels + np.int32(by), self.labels))


@dataclass(frozen=True, slots=True)
class TracedBlock:
    """The result of tracing one block.

    Attributes:
        row: First row in the raster.
        column: First column in the raster.
        top: Its first row of pixels.
        bottom: Its last row.
        left: Its first column.
        right: Its last column.
        finished: The polygons that touch no seam.
        sums: Sums over the pixels of ``finished``, in the same order.
        nodes: Nodes inside the block of the components that touch a seam.
        waiting: Sums over the pixels of those components, by label.
        class_ids: Every class of the block, nodata included.
    """

    row: int
    column: int
    top: PixelLine
    bottom: PixelLine
    left: PixelLine
    right: PixelLine
    finished: Traced
    sums: PolygonSums
    nodes: Nodes
    waiting: PolygonSums
    class_ids: NDArray[np.uint8]


def trace_block(
    block: BlockValues, shape: tuple[int, int], pixel_sizes: PixelSizes | None, *, junctions: bool = False
) -> TracedBlock:
    """Trace a block.

    Args:
        block: Its pixels.
        shape: Rows and columns of the whole raster.
        pixel_sizes: Sizes of the pixels, or None.
        junctions: Whether to record at which vertices more than two boundaries meet.
    """
    runs = find_runs(block.classes)
    areas = None
    if pixel_sizes is not None:
        areas = pixel_sizes.pixel_areas(block.row, block.column, *block.classes.shape)
    sums = sum_polygons(runs, areas, block.confidence, block.probabilities, block.zonal)
    del areas
    label, at_seam = _label_components(block, shape, runs, sums)
    labels = repeat_each(label.take(runs.component), runs.lengths).reshape(block.classes.shape)
    nodes = _inner_nodes(block, labels, shape, junctions=junctions)
    top, bottom, left, right = (
        PixelLine(block.classes[at].copy(), np.maximum(labels[at], -1))
        for at in ((0,), (-1,), (slice(None), 0), (slice(None), -1))
    )
    del labels
    done = nodes.quadrants < 0
    chosen = any_quadrant(done)
    finished = link_rings(nodes.where(chosen), done.take(np.flatnonzero(chosen), axis=0), pixel_sizes)
    waiting = nodes.where(any_quadrant(nodes.quadrants > 0))
    np.maximum(waiting.quadrants, -1, out=waiting.quadrants)
    return TracedBlock(
        block.row,
        block.column,
        top=top,
        bottom=bottom,
        left=left,
        right=right,
        finished=finished,
        sums=sums.take(-1 - finished.labels),
        nodes=waiting,
        waiting=sums.take(at_seam),
        class_ids=np.unique(sums.class_ids),
    )


def _label_components(
    block: BlockValues, shape: tuple[int, int], runs: Runs, sums: PolygonSums
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Label the components of a block.

    Returns:
        The label of each component: 1, 2, ... for those that touch a seam, ``-1 - k`` for component ``k``
        that does not, 0 for nodata; and whether each component touches a seam.
    """
    rows, columns = block.classes.shape
    first = np.searchsorted(runs.starts, np.arange(rows) * columns)
    last = np.append(first[1:], runs.starts.size) - 1
    at_seam = np.zeros(runs.n_components, dtype=bool)
    if block.row > 0:
        at_seam[runs.component[: last[0] + 1]] = True
    if block.row + rows < shape[0]:
        at_seam[runs.component[first[-1] :]] = True
    if block.column > 0:
        at_seam[runs.component[first]] = True
    if block.column + columns < shape[1]:
        at_seam[runs.component[last]] = True
    label = -np.arange(1, runs.n_components + 1, dtype=np.int32)
    label[sums.class_ids == NODATA] = 0
    at_seam &= label != 0
    label[at_seam] = np.arange(1, int(np.count_nonzero(at_seam)) + 1)
    return label, at_seam


def _inner_nodes(
    block: BlockValues, labels: NDArray[np.int32], shape: tuple[int, int], *, junctions: bool
) -> Nodes:
    """Find the nodes inside the block, and on those of its sides that are the raster's edge."""
    rows, columns = labels.shape
    above, left = int(block.row == 0), int(block.column == 0)
    below, right = int(block.row + rows == shape[0]), int(block.column + columns == shape[1])
    values: NDArray[np.uint8] = block.classes
    if above or left or below or right:
        frame = ((above, below), (left, right))
        values = np.pad(values, frame, constant_values=NODATA)
        labels = np.pad(labels, frame)
    return find_nodes(values, labels, block.row + 1 - above, block.column + 1 - left, junctions=junctions)


def find_nodes(
    values: NDArray[np.uint8], labels: NDArray[np.int32], row: int, column: int, *, junctions: bool
) -> Nodes:
    """Find the nodes among the inner pixel corners of an array.

    Args:
        values: Class values, uint8 (rows, columns).
        labels: Their labels, int32, same shape.
        row: Row of the first inner corner: the upper left corner of pixel (1, 1) of the array.
        column: Column of that corner.
        junctions: Whether to record where more than two boundaries meet.

    Returns:
        The nodes in row order.
    """
    level = values[:, :-1] == values[:, 1:]
    upright = values[:-1] == values[1:]
    plain = level[:-1] & level[1:]
    plain |= upright[:, :-1] & upright[:, 1:]
    if plain.size == 0:
        rows = columns = np.zeros(0, dtype=np.int64)
    else:
        corners = np.flatnonzero(~plain)
        rows = corners // plain.shape[1]
        columns = corners - rows * plain.shape[1]
    width = labels.shape[1]
    at = rows * width + columns
    flat = labels.ravel()
    quadrants = np.stack([flat.take(at + beside) for beside in (1, 0, width, width + 1)], axis=1)
    found = None
    if junctions:  # more than two meet where fewer than two of the four pairs are equal
        alike = level[rows, columns].astype(np.int8)
        for same in (level[rows + 1, columns], upright[rows, columns], upright[rows, columns + 1]):
            alike += same
        found = alike < 2
    return Nodes((rows + row).astype(np.int32), (columns + column).astype(np.int32), quadrants, found)
