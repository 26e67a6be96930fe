"""Lengths on the ellipsoid in any direction, from what a surface knows of the sides of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.pixel_sizes import LONG_SIDE, PORTION, Surface


def slanted_lengths(
    surface: Surface, tails: NDArray[np.float64], heads: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Length of straight lines on the map.

    Args:
        surface: Sizes of the pixels.
        tails: Row and column of where each line begins, in pixels, float64 (lines, 2).
        heads: Where it ends.

    Returns:
        Whole numbers of ``length_unit``, int64; the same in both directions. Lines longer than ``LONG_SIDE``
        are measured at both ends too (Simpson's rule).
    """
    lengths = np.empty(len(tails), dtype=np.int64)
    for start in range(0, len(tails), PORTION):
        tail, head = tails[start : start + PORTION], heads[start : start + PORTION]
        way = head - tail
        length = _measure(surface, way, (tail + head) * 0.5)
        far = np.flatnonzero(np.maximum(np.abs(way[:, 0]), np.abs(way[:, 1])) > LONG_SIDE)
        if far.size:
            ends = _measure(surface, way[far], tail[far]) + _measure(surface, way[far], head[far])
            length[far] = (ends + 4.0 * length[far]) / 6.0
        lengths[start : start + PORTION] = np.nan_to_num(np.rint(length))
    return lengths


def pixel_sides(surface: Surface, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """How long a row and a column are at some places, in metres.

    Args:
        surface: Sizes of the pixels.
        positions: Row and column in pixels, float64 (positions, 2).

    Returns:
        The left and the upper side of a pixel, float64 (positions, 2); outside the CRS's domain 1.
    """
    at = _Places(surface, positions)
    sides = [at.interpolate(lattice) for lattice in (surface.along_rows, surface.along_columns)]
    metres: NDArray[np.float64] = np.stack(sides, axis=1) * surface.length_unit
    return np.where(np.isfinite(metres) & (metres > 0), metres, 1.0)


class _Places:
    """Positions on the lattice of a surface."""

    def __init__(self, surface: Surface, positions: NDArray[np.float64]) -> None:
        row, self._down = surface.locate(positions[:, 0], 0)
        column, self._across = surface.locate(positions[:, 1], 1)
        self._first = row * surface.areas.shape[1] + column

    def interpolate(self, lattice: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values between the points of a lattice."""
        flat, below = lattice.ravel(), self._first + lattice.shape[1]
        u = self._across
        upper: NDArray[np.float64] = flat[self._first] * (1.0 - u) + flat[self._first + 1] * u
        lower: NDArray[np.float64] = flat[below] * (1.0 - u) + flat[below + 1] * u
        return upper * (1.0 - self._down) + lower * self._down


def _measure(
    surface: Surface, way: NDArray[np.float64], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Length of steps where the pixels are as they are at the positions."""
    at = _Places(surface, positions)
    down = way[:, 0] * at.interpolate(surface.along_rows)
    across = way[:, 1] * at.interpolate(surface.along_columns)
    skew = 2.0 * way[:, 0] * way[:, 1] * at.interpolate(surface.skew)
    return np.sqrt(np.maximum(down * down + across * across + skew, 0.0))
