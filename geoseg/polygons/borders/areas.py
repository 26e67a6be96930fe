"""Lines moved a little so that what lies on either side of them keeps its area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines

_ROUNDS = 3


def doubled_areas(lines: Lines) -> NDArray[np.int64]:
    """Compute twice the signed area between each line and the straight way from its end to its beginning.

    Exact; the shoelace formula, with rows for x and columns for y.
    """
    starts, sizes = lines.starts, lines.sizes
    away = lines.points.astype(np.int64)
    away -= np.repeat(away[starts], sizes, axis=0)
    products = np.empty(len(away), dtype=np.int64)
    products[:-1] = away[:-1, 0] * away[1:, 1] - away[1:, 0] * away[:-1, 1]
    products[starts + sizes - 1] = 0
    return np.asarray(np.add.reduceat(products, starts))


def keep_areas(
    lines: Lines, wanted: NDArray[np.int64], fixed: NDArray[np.bool_], limits: NDArray[np.float64]
) -> tuple[Lines, NDArray[np.float64]]:
    """Move the inner vertices of lines, each as little as can be, until the areas beside them are as wanted.

    Of all moves that change an area by a given amount, those along its derivatives are the shortest.

    Args:
        lines: Lines in steps.
        wanted: Doubled area beside each.
        fixed: Vertices that stay where they are, besides the ends of lines.
        limits: The farthest that a vertex of each line may be moved, in steps; the area is then only
            approached.

    Returns:
        The lines, again in whole steps; how far the vertices of each were moved at most, in steps.
    """
    starts, sizes = lines.starts, lines.sizes
    slopes = _derivatives(lines.points)
    slopes[fixed] = 0
    slopes[starts] = 0
    slopes[starts + sizes - 1] = 0
    squares = slopes[:, 0] ** 2 + slopes[:, 1] ** 2
    total = np.add.reduceat(squares, starts).astype(np.float64)
    longest = np.sqrt(np.maximum.reduceat(squares, starts))
    bends = np.zeros(len(slopes), dtype=np.int64)
    bends[:-1] = slopes[:-1, 0] * slopes[1:, 1] - slopes[1:, 0] * slopes[:-1, 1]
    bend = np.add.reduceat(bends, starts).astype(np.float64)
    missing = (wanted - doubled_areas(lines)).astype(np.float64)

    some = total > 0
    divisor = np.where(some, total, 1.0)
    share = np.where(some, missing / divisor, 0.0)
    for _ in range(_ROUNDS):  # the area is quadratic in the share; the square is small
        share = np.where(some, (missing - share * share * bend) / divisor, 0.0)
    most = np.divide(limits, longest, out=np.zeros_like(longest), where=longest > 0)
    share = np.clip(share, -most, most)
    moved = np.rint(lines.points + slopes * np.repeat(share, sizes)[:, None]).astype(np.int32)
    return Lines(moved, sizes), np.abs(share) * longest


def _derivatives(points: NDArray[np.int32]) -> NDArray[np.int64]:
    """Of the doubled area with respect to row and column of each vertex but the ends."""
    slopes = np.zeros(points.shape, dtype=np.int64)
    slopes[1:-1, 0] = points[2:, 1].astype(np.int64) - points[:-2, 1]
    slopes[1:-1, 1] = points[:-2, 0].astype(np.int64) - points[2:, 0]
    return slopes
