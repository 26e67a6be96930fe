"""What a border of pixels most likely stood for: the line through the middles of its sides.

A slanted line drawn in pixels becomes a staircase, and the middles of a staircase's sides lie on the line.
So the corners of its steps give way to the middles of the sides between them. A step is a side of one pixel
where the border turns to one hand and then to the other; all other corners stay: those of rectangles, of
single pixels, and junctions.

Such borders are a valid coverage as the pixels are: from the middle of one side to the middle of the next, a
border stays within half a pixel of the longer one, where nothing else can be, and no corner is farther than
half a pixel from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines

STEPS = 32
"""Positions are whole 32nds of a pixel: what is computed of them in integers is exact."""
SLACK = 0.5
"""How far from a corner of pixels the line through the middles can be, in pixels."""


def staircases(
    lines: Lines, islands: NDArray[np.bool_], stay: NDArray[np.bool_]
) -> tuple[Lines, NDArray[np.int64]]:
    """Lines through the middles of the sides of borders.

    Args:
        lines: Borders along pixels; every inner vertex is a corner.
        islands: Which are closed and have no junction.
        stay: Vertices that stay whatever their sides.

    Returns:
        The lines, in 32nds of a pixel; the ends of those that are no islands stay. And the index of the
        vertex of the new lines at or before each vertex of the old ones.
    """
    starts, sizes = lines.starts, lines.sizes
    ends = starts + sizes - 1
    corners = ~_steps(lines, islands)
    corners |= stay
    corners[starts] |= ~islands
    corners[ends] |= ~islands

    # Every vertex and the middle of the side after it; the last vertex of a line has no side after it.
    count = 2 * len(lines.points)
    points = np.empty((count, 2), dtype=np.int32)
    points[0::2] = lines.points * STEPS
    points[1:-1:2] = (lines.points[1:] + lines.points[:-1]) * (STEPS // 2)
    kept = np.empty(count, dtype=bool)
    kept[0::2] = corners
    kept[1:-1:2] = ~(corners[1:] & corners[:-1])
    kept[2 * ends + 1] = False
    turned = np.flatnonzero(islands & ~corners[starts])  # begins, and ends, in the middle of its first side
    points[2 * ends[turned]] = points[2 * starts[turned] + 1]
    kept[2 * ends[turned]] = True
    new = Lines(points[kept], np.add.reduceat(kept, 2 * starts, dtype=np.int64))
    at = np.cumsum(kept)[0::2] - 1
    at[starts[turned]] = at[ends[turned]]
    return new, at


def _steps(lines: Lines, islands: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which vertices are corners of a step: a side of one pixel with opposite turns at its ends."""
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
    """Keep the borders as they are, in 32nds of a pixel."""
    return Lines(lines.points * STEPS, lines.sizes)
