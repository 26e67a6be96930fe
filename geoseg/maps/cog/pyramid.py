"""Assemble the tiles of a raster and of its overviews from windows in any order.

Each overview has half the resolution: two by two pixels become one, the most frequent class or the mean
value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.errors import RunError
from geoseg.grid import Window

TILE = 512

Bytes = NDArray[np.uint8]
Halve = Callable[[Bytes], Bytes]
"""uint8 (bands, rows, columns), both even -> half the rows and columns."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A finished tile.

    Attributes:
        level: 0 for the full resolution, then the overviews from large to small.
        index: Its index in row order among the tiles of its level.
        pixels: uint8 (bands, ``TILE``, ``TILE``), nodata beyond the edges of the raster.
    """

    level: int
    index: int
    pixels: Bytes


@dataclass(slots=True)
class _Open:
    """A tile that is not complete yet, and its number of missing pixels."""

    pixels: Bytes
    missing: int


class Pyramid:
    """Turn windows of a raster into complete tiles of all levels.

    Only incomplete tiles are kept, so with windows in row order memory holds one row of tiles per level.

    Args:
        shape: (rows, columns) of the raster.
        bands: Number of bands.
        halve: Halves the resolution, for overviews.
    """

    def __init__(self, shape: tuple[int, int], bands: int, halve: Halve) -> None:
        self.shapes = shapes(shape, TILE)
        self._bands = bands
        self._halve = halve
        self._open: dict[tuple[int, int, int], _Open] = {}
        self._done = [np.zeros(count_tiles(level), bool) for level in self.shapes]

    @property
    def counts(self) -> list[int]:
        """Number of tiles of each level."""
        return [done.size for done in self._done]

    def add(self, window: Window, pixels: Bytes, level: int = 0) -> Iterator[Tile]:
        """Take a window of one level.

        Args:
            window: Its place; no pixel may come twice.
            pixels: uint8 (bands, rows, columns).
            level: Which level it is.

        Yields:
            What it completes, overviews included.

        Raises:
            RunError: If a tile is complete already.
        """
        rows = range(window.row // TILE, -(-window.row_stop // TILE))
        cols = range(window.col // TILE, -(-window.col_stop // TILE))
        for row in rows:
            for col in cols:
                place = self._place(level, row, col)
                part = place.intersection(window)
                assert part is not None  # the ranges above are those of the tiles that it meets
                tile = self._tile(level, row, col, place)
                tile.pixels[(slice(None), *part.slices(place))] = pixels[(slice(None), *part.slices(window))]
                tile.missing -= part.pixels
                if tile.missing == 0:
                    yield from self._finish(level, row, col)

    def rest(self) -> Iterator[Tile]:
        """Every tile that something is missing of, then nodata; tiles that hold nothing else are left out."""
        for level in range(len(self.shapes)):
            for _, row, col in sorted(key for key in self._open if key[0] == level):
                yield from self._finish(level, row, col)

    def _tile(self, level: int, row: int, col: int, place: Window) -> _Open:
        found = self._open.get((level, row, col))
        if found is None:
            if self._done[level][row, col]:
                raise RunError(f"pixels at row {place.row}, column {place.col} of a map were written twice")
            pixels = np.full((self._bands, TILE, TILE), NODATA, np.uint8)
            found = self._open[level, row, col] = _Open(pixels, place.pixels)
        return found

    def _finish(self, level: int, row: int, col: int) -> Iterator[Tile]:
        pixels = self._open.pop((level, row, col)).pixels
        self._done[level][row, col] = True
        yield Tile(level, row * self._done[level].shape[1] + col, pixels)
        if level + 1 < len(self.shapes):
            place = self._place(level, row, col)
            height, width = (place.height + 1) // 2, (place.width + 1) // 2
            half = self._halve(pixels)[:, :height, :width]
            yield from self.add(Window(place.row // 2, place.col // 2, height, width), half, level + 1)

    def _place(self, level: int, row: int, col: int) -> Window:
        """Return the window of a tile, cut to its level."""
        rows, cols = self.shapes[level]
        stop = min((row + 1) * TILE, rows), min((col + 1) * TILE, cols)
        return Window.from_bounds(row * TILE, col * TILE, *stop)


def count_tiles(shape: tuple[int, int]) -> tuple[int, int]:
    """Return how many tiles (down, across) cover a level."""
    return -(-shape[0] // TILE), -(-shape[1] // TILE)


def is_empty(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether all pixels are nodata."""
    return bool(pixels.min() == NODATA)


def shapes(shape: tuple[int, int], tile: int) -> list[tuple[int, int]]:
    """Return the shapes of a raster and of its overviews, down to the first that fits into one tile."""
    found = [shape]
    while max(found[-1]) > tile:
        rows, cols = found[-1]
        found.append(((rows + 1) // 2, (cols + 1) // 2))
    return found


def halve_by_mode(pixels: Bytes) -> Bytes:
    """Take the most frequent of two by two values; nodata does not count, and the first value wins a tie."""
    a, b, c, d = _quarters(pixels)
    result = a.copy()
    if pixels.max(initial=0) == NODATA:
        for other in (b, c, d):
            np.copyto(result, other, where=result == NODATA)
    with_first = ((a == b) | (a == c)) & (a != NODATA)
    second = ((b == c) | (b == d)) & (b != NODATA) & ~with_first
    third = (c == d) & (c != NODATA) & ~with_first & ~second
    np.copyto(result, b, where=second)
    np.copyto(result, c, where=third)
    return result


def halve_by_mean(pixels: Bytes) -> Bytes:
    """Take the mean of two by two values, rounded half up; nodata does not count."""
    quarters = _quarters(pixels)
    total = np.zeros(quarters[0].shape, np.uint16)
    if pixels.max(initial=0) != NODATA:
        for quarter in quarters:
            total += quarter
        total += 2
        total >>= 2
        return total.astype(np.uint8)
    count = np.zeros(total.shape, np.uint16)
    for quarter in quarters:
        valid = quarter != NODATA
        total += quarter * valid
        count += valid
    mean = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, mean, NODATA).astype(np.uint8)


HALVE: dict[str, Halve] = {"MODE": halve_by_mode, "AVERAGE": halve_by_mean}
"""GDAL's name of a resampling to the function that halves the resolution."""


def _quarters(pixels: Bytes) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Return the upper left, upper right, lower left and lower right of every two by two pixels."""
    upper, lower = pixels[:, 0::2], pixels[:, 1::2]
    a, b, c, d = (np.ascontiguousarray(row[:, :, i::2]) for row in (upper, lower) for i in (0, 1))
    return a, b, c, d
