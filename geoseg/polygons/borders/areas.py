"""Shift the vertices of lines slightly, so that the areas on both sides of a line are kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.borders.arcs import Lines

_ROUNDS = 3


def doubled_areas(lines: Lines) -> NDArray[np.int64]:
    """Compute twice the signed area between each line and the chord from its end to its beginning.

    The shoelace formula in integers, exact, with rows for x and columns for y.
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
    """Shift the inner vertices of lines as little as possible, so that the lines enclose given areas.

    The shortest move that changes an area by a given amount follows the gradient of the area.

    Args:
        lines: Lines in steps.
        wanted: Doubled area that each line is to enclose with its chord.
        fixed: Vertices to leave in place; the ends of lines always stay.
        limits: Largest shift allowed for a vertex of each line, in steps; if it is too small, the area is
            only approached.

    Returns:
        The lines, in whole steps; the largest shift of a vertex of each, in steps.
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
    for _ in range(_ROUNDS):  # fixed-point iteration: the quadratic term is small
        share = np.where(some, (missing - share * share * bend) / divisor, 0.0)
    most = np.divide(limits, longest, out=np.zeros_like(longest), where=longest > 0)
    share = np.clip(share, -most, most)
    moved = np.rint(lines.points + slopes * np.repeat(share, sizes)[:, None]).astype(np.int32)
    return Lines(moved, sizes), np.abs(share) * longest


def _derivatives(points: NDArray[np.int32]) -> NDArray[np.int64]:
    """Differentiate the doubled area by the row and column of each vertex except the first and last."""
    slopes = np.zeros(points.shape, dtype=np.int64)
    slopes[1:-1, 0] = points[2:, 1].astype(np.int64) - points[:-2, 1]
    slopes[1:-1, 1] = points[:-2, 0].astype(np.int64) - points[2:, 0]
    return slopes
