"""Overviews of bytes: a raster at half its resolution, two by two pixels to one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA

Bytes = NDArray[np.uint8]
Halve = Callable[[Bytes], Bytes]
"""uint8 (bands, rows, columns), both even -> half the rows and columns."""


def shapes(shape: tuple[int, int], tile: int) -> list[tuple[int, int]]:
    """(rows, columns) of a raster and of its overviews, down to the first that fits into one tile."""
    found = [shape]
    while max(found[-1]) > tile:
        rows, cols = found[-1]
        found.append(((rows + 1) // 2, (cols + 1) // 2))
    return found


def halve_by_mode(pixels: Bytes) -> Bytes:
    """The most frequent value of two by two; nodata does not count, the first to get there wins a tie."""
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
    """The mean of two by two, rounded half up; nodata does not count."""
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
"""GDAL's name of a resampling -> how it halves."""


def _quarters(pixels: Bytes) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Upper left, upper right, lower left and lower right of every two by two pixels."""
    upper, lower = pixels[:, 0::2], pixels[:, 1::2]
    a, b, c, d = (np.ascontiguousarray(row[:, :, i::2]) for row in (upper, lower) for i in (0, 1))
    return a, b, c, d
