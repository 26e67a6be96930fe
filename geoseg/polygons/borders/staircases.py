"""Replace staircases of pixels by the line through the middles of their sides.

A slanted line drawn in pixels becomes a staircase, and the middles of the staircase's sides lie on the line.
So the corners of its steps are replaced by the middles of the sides between them. A step is a side of one
pixel at whose ends the border turns in opposite directions. All other corners stay: those of rectangles, of
single pixels, and junctions.

The result is a valid coverage, as the pixels are. Between the middles of two adjacent sides, the new border
stays within half a pixel of the longer side, where no other border can be, and within half a pixel of every
old corner.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines

STEPS = 32
"""Steps per pixel: positions are whole 32nds of a pixel, so that integer arithmetic is exact."""
SLACK = 0.5
"""Largest distance of the line through the middles from a pixel corner of the border, in pixels."""


def staircases(
    lines: Lines, islands: NDArray[np.bool_], stay: NDArray[np.bool_]
) -> tuple[Lines, NDArray[np.int64]]:
    """Replace the corners of staircases by the middles of the sides between them.

    Args:
        lines: Borders along pixels; every inner vertex is a corner.
        islands: Which lines are closed and have no junction.
        stay: Vertices to keep in any case.

    Returns:
        The new lines in steps, in which the ends of lines stay, except those of islands; and for each old
        vertex the index of the new vertex at or before it.
    """
    starts, sizes = lines.starts, lines.sizes
    ends = starts + sizes - 1
    corners = ~_steps(lines, islands)
    corners |= stay
    corners[starts] |= ~islands
    corners[ends] |= ~islands

    # Interleave the vertices with the middles of the sides that follow them; the last vertex of a line has
    # none.
    count = 2 * len(lines.points)
    points = np.empty((count, 2), dtype=np.int32)
    points[0::2] = lines.points * STEPS
    points[1:-1:2] = (lines.points[1:] + lines.points[:-1]) * (STEPS // 2)
    kept = np.empty(count, dtype=bool)
    kept[0::2] = corners
    kept[1:-1:2] = ~(corners[1:] & corners[:-1])
    kept[2 * ends + 1] = False
    turned = np.flatnonzero(islands & ~corners[starts])  # begin in the middle of a side
    points[2 * ends[turned]] = points[2 * starts[turned] + 1]
    kept[2 * ends[turned]] = True
    new = Lines(points[kept], np.add.reduceat(kept, 2 * starts, dtype=np.int64))
    at = np.cumsum(kept)[0::2] - 1
    at[starts[turned]] = at[ends[turned]]
    return new, at


def _steps(lines: Lines, islands: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which vertices are corners of a step, a side of one pixel with opposite turns at its ends."""
    starts = lines.starts
    ends = starts + lines.sizes - 1
    down, across = np.diff(lines.points[:, 0], append=0), np.diff(lines.points[:, 1], append=0)
    down[ends], across[ends] = down[starts], across[starts]
    turn = np.zeros(down.size, dtype=np.int8)  # +1 left, -1 right
    turn[1:] = np.sign(down[:-1] * across[1:] - across[:-1] * down[1:])
    turn[starts] = np.where(
        islands, np.sign(down[ends - 1] * across[starts] - across[ends - 1] * down[starts]), 0
    )
    turn[ends] = turn[starts]
    short = np.abs(down + across) == 1  # one of them is 0
    tread = np.zeros(down.size, dtype=bool)  # from each vertex to the next
    tread[:-1] = short[:-1] & (turn[:-1] * turn[1:] < 0)
    tread[ends] = tread[starts]
    steps = tread.copy()
    steps[1:] |= tread[:-1]
    steps[starts] = tread[starts] | tread[ends - 1]
    steps[ends] = steps[starts]
    return steps


def corners_of(lines: Lines) -> Lines:
    """Return the borders unchanged, in steps."""
    return Lines(lines.points * STEPS, lines.sizes)
