"""Statistics from what was added up over the pixels of polygons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.zonal.zonal import MISSING, Zonal, ZonalColumn, ZonalValues
from geoseg.raster.components import Runs, sum_by_group

if TYPE_CHECKING:
    import pyarrow as pa

_HALF = 30
"""Squares of numbers below 2^30 are added up in two halves of 30 bits: neither sum leaves 64 bits."""
_MOST = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True)
class ZonalSums:
    """Sums over the pixels of polygons, or of parts of them.

    Attributes:
        sums: int64 (parts, measures, 2 or 4): pixels with a value, their sum and, if asked for, the upper and
            the lower half of the sum of squares.
        least: Least value, int32 (parts, measures); None if nobody asked.
        most: Greatest value, int32 (parts, measures); None if nobody asked.
    """

    sums: NDArray[np.int64]
    least: NDArray[np.int32] | None = None
    most: NDArray[np.int32] | None = None


def sum_block(runs: Runs, zonal: ZonalValues) -> ZonalSums:
    """Add up over the components of a block.

    Args:
        runs: The block's runs.
        zonal: Its values, and which sums are needed.
    """
    values = zonal.values
    count = runs.n_components
    sums = np.zeros((count, len(values), 4 if zonal.squares else 2), dtype=np.int64)
    least = np.full((count, len(values)), _MOST, dtype=np.int32) if zonal.extremes else None
    most = np.full((count, len(values)), MISSING, dtype=np.int32) if zonal.extremes else None

    def gather(pixels: NDArray[np.generic]) -> NDArray[np.int64]:
        over_runs = np.add.reduceat(pixels, runs.starts, dtype=np.int64)
        return sum_by_group(runs.component, over_runs, count)

    for number, plane in enumerate(values):
        flat = plane.ravel()
        there = flat != MISSING
        known = np.where(there, flat, 0)
        sums[:, number, 0] = gather(there)
        sums[:, number, 1] = gather(known)
        if zonal.squares:
            squares = known.astype(np.int64) ** 2
            sums[:, number, 2] = gather(squares >> _HALF)
            sums[:, number, 3] = gather(squares & (2**_HALF - 1))
        if least is not None and most is not None:
            low = np.minimum.reduceat(np.where(there, flat, _MOST), runs.starts)
            np.minimum.at(least[:, number], runs.component, low)
            np.maximum.at(most[:, number], runs.component, np.maximum.reduceat(flat, runs.starts))
    return ZonalSums(sums, least, most)


def zonal_arrays(zonal: Zonal, sums: ZonalSums) -> list[pa.Array]:
    """The columns, in order; null where no pixel of a polygon has a value."""
    import pyarrow as pa

    made = []
    for column in zonal.columns:
        if column.statistic == "count":
            made.append(pa.array(sums.sums[:, column.measure, 0]))
        else:
            made.append(pa.array(_values(zonal, column, sums), pa.float64(), from_pandas=True))
    return made


def _values(zonal: Zonal, column: ZonalColumn, found: ZonalSums) -> NDArray[np.float64]:
    values: Any
    measure = zonal.measures[column.measure]
    sums = found.sums[:, column.measure]
    unknown = sums[:, 0] == 0
    counts = np.where(unknown, 1, sums[:, 0])
    if column.statistic == "mean":
        values = sums[:, 1] / counts * measure.step + measure.offset
    elif column.statistic == "std":
        values = abs(measure.step) * _deviation(counts, sums)
    else:
        # A negative scale turns the order around.
        is_least = (column.statistic == "min") == (measure.step > 0)
        extreme = found.least if is_least else found.most
        assert extreme is not None
        values = extreme[:, column.measure] * measure.step + measure.offset
    found_values: NDArray[np.float64] = np.where(unknown, np.nan, values)
    return found_values


def _deviation(counts: NDArray[np.int64], sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard deviation of all values of a polygon, in steps, without loss by cancellation.

    With m the mean rounded down and r what is left of the sum, the sum of (q - m)^2 is that of q^2 less
    m (sum + r); both halves of the difference fit into 64 bits.
    """
    mean, rest = np.divmod(sums[:, 1], counts)
    other = sums[:, 1] + rest
    upper = sums[:, 2] - mean * (other >> _HALF)
    lower = sums[:, 3] - mean * (other & (2**_HALF - 1))
    about_mean = upper * 2.0**_HALF + lower
    variance = about_mean / counts - (rest / counts) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))
