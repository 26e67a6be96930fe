"""Sums of bytes over the runs of a block: three at once, in the fields of one whole number.

A run is no longer than the block is wide, so the sum of a plane of bytes fits into 21 bits, and three of them
into the 63 bits of a positive int64. Adding the packed numbers adds each field, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.raster.components import Runs

_BITS = 21
_FIELDS = 3
_MOST = (1 << _BITS) - 1
_ROWS = 64
"""Rows packed at once: they stay in the processor's cache."""


def sum_runs(planes: Sequence[NDArray[np.uint8]], runs: Runs) -> list[NDArray[np.int64]]:
    """Add up over every run of a block.

    Args:
        planes: uint8 (rows, columns) each; 255 is unknown and adds nothing.
        runs: The block's runs.

    Returns:
        int64 (runs,) for each plane.
    """
    longest = int(runs.lengths.max(initial=0))
    if longest * (NODATA - 1) > _MOST:
        wide = (np.add.reduceat(_known(plane).ravel(), runs.starts, dtype=np.int64) for plane in planes)
        return [sums.astype(np.int64) for sums in wide]
    found: list[NDArray[np.int64]] = []
    for first in range(0, len(planes), _FIELDS):
        some = planes[first : first + _FIELDS]
        packed = np.add.reduceat(_pack(some).ravel(), runs.starts)
        fields = range(_BITS * (len(some) - 1), -1, -_BITS)
        found += [(packed >> shift) & _MOST for shift in fields]
    return found


def _pack(planes: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
    packed = np.empty(planes[0].shape, np.int64)
    for first in range(0, len(packed), _ROWS):
        part = packed[first : first + _ROWS]
        for number, plane in enumerate(planes):
            known = _known(plane[first : first + _ROWS])
            if number == 0:
                np.copyto(part, known)
            else:
                part <<= _BITS
                part |= known
    return packed


def _known(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if values.max(initial=0) < NODATA:
        return values
    known: NDArray[np.uint8] = np.where(values == NODATA, np.uint8(0), values)
    return known
