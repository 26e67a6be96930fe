"""Trace what can be traced in one block alone: all of this can be done for many blocks at once.

A component that touches no seam (a side of the block that is not the raster's edge) is finished here. Of the
others the nodes and sums are kept, with labels that count from 1 in this block.
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
class Line:
    """Pixels along one side of a block.

    Attributes:
        values: Class values, uint8.
        labels: Labels, int32: 0 nodata and the outside, -1 a finished polygon, others wait.
    """

    values: NDArray[np.uint8]
    labels: NDArray[np.int32]

    @staticmethod
    def outside(size: int) -> Line:
        """Make a line of so many pixels beyond the raster's edge."""
        return Line(np.full(size, NODATA, dtype=np.uint8), np.zeros(size, dtype=np.int32))

    @staticmethod
    def join(one: Line, other: Line) -> Line:
        """One line after the other."""
        return Line(np.concatenate([one.values, other.values]), np.concatenate([one.labels, other.labels]))

    def part(self, start: int, stop: int) -> Line:
        """Take the pixels from ``start`` to ``stop - 1``."""
        return Line(self.values[start:stop], self.labels[start:stop])

    def framed(self, before: int, after: int) -> Line:
        """Put so many pixels of the outside before and after it."""
        frame = (before, after)
        return Line(np.pad(self.values, frame, constant_values=NODATA), np.pad(self.labels, frame))

    def shifted(self, by: int) -> Line:
        """Raise the labels that are above 0."""
        return Line(self.values, np.where(self.labels > 0, self.labels + np.int32(by), self.labels))


@dataclass(frozen=True, slots=True)
class TracedBlock:
    """What a block gives.

    Attributes:
        row: First row in the raster.
        column: First column in the raster.
        top: Its first row of pixels.
        bottom: Its last.
        left: Its first column.
        right: Its last.
        finished: The polygons that touch no seam.
        sums: What was added up over them, in the same order.
        nodes: The nodes inside the block of components that wait.
        waiting: What was added up over these, by label.
        class_ids: Every class of the block, nodata included.
    """

    row: int
    column: int
    top: Line
    bottom: Line
    left: Line
    right: Line
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
        junctions: Also say at which vertices more than two boundaries meet.
    """
    runs = find_runs(block.classes)
    areas = None
    if pixel_sizes is not None:
        areas = pixel_sizes.pixel_areas(block.row, block.column, *block.classes.shape)
    tally = sum_polygons(runs, areas, block.confidence, block.probabilities, block.zonal)
    del areas
    names, at_seam = _name_components(block, shape, runs, tally)
    labels = repeat_each(names.take(runs.component), runs.lengths).reshape(block.classes.shape)
    nodes = _inner_nodes(block, labels, shape, junctions=junctions)
    top, bottom, left, right = (
        Line(block.classes[at].copy(), np.maximum(labels[at], -1))
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
        sums=tally.take(-1 - finished.labels),
        nodes=waiting,
        waiting=tally.take(at_seam),
        class_ids=np.unique(tally.class_ids),
    )


def _name_components(
    block: BlockValues, shape: tuple[int, int], runs: Runs, tally: PolygonSums
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Labels of a block's components, and which of them touch a seam.

    Those count 1, 2, ...; component k that does not is -1 - k; nodata is 0.
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
    names = -np.arange(1, runs.n_components + 1, dtype=np.int32)
    names[tally.class_ids == NODATA] = 0
    at_seam &= names != 0
    names[at_seam] = np.arange(1, int(np.count_nonzero(at_seam)) + 1)
    return names, at_seam


def _inner_nodes(
    block: BlockValues, labels: NDArray[np.int32], shape: tuple[int, int], *, junctions: bool
) -> Nodes:
    """Find the nodes between pixels of the block, and on the raster's edge where the block touches it."""
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
    """Find the nodes among the corners between pixels.

    Args:
        values: Class values, uint8 (rows, columns).
        labels: Their labels, int32, same shape.
        row: Row of the first corner, which is that of the second row of pixels.
        column: Column of the first corner.
        junctions: Also say where more than two boundaries meet.

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
    if junctions:  # a plain corner has two sides of equal pixels, anything else fewer
        alike = level[rows, columns].astype(np.int8)
        for same in (level[rows + 1, columns], upright[rows, columns], upright[rows, columns + 1]):
            alike += same
        found = alike < 2
    return Nodes((rows + row).astype(np.int32), (columns + column).astype(np.int32), quadrants, found)
