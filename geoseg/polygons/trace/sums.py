"""Sums over the pixels of polygons: exact integers, which do not depend on the order of addition.

Three planes of bytes are summed over runs at once, packed into the fields of one integer. A run is no longer
than the block is wide, so the sum of a plane fits into 21 bits, and three of them into the 63 bits of a
positive int64. Adding packed integers adds each field exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.polygons.zonal.statistics import ZonalValues, sum_block
from geoseg.raster.components import Runs, sum_by_group

_BITS = 21
_FIELDS = 3
_MOST = (1 << _BITS) - 1
_ROWS = 64
"""Rows packed at once, few enough to stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class PolygonSums:
    """Sums over the pixels of polygons, or of parts of polygons.

    Attributes:
        class_ids: Class, uint8.
        pixels: Number of pixels, int64.
        areas: Area in the unit of the pixel sizes, int64; None without one.
        confidence: Sum of the stored confidence, int64; None without a confidence raster, like the next two.
        confident: Number of pixels that have a confidence, int64.
        least: Least stored confidence, uint8; 255 if no pixel has one.
        probabilities: Sums of the stored probability, int64 (parts, classes); None without them.
        zonal: Sums of other rasters, int64 (parts, measures, 2 or 4), or None; see ``ZonalSums``.
        zonal_least: Their least values, int32 (parts, measures), or None.
        zonal_most: Their greatest values, int32 (parts, measures), or None.
    """

    class_ids: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    areas: NDArray[np.int64] | None = None
    confidence: NDArray[np.int64] | None = None
    confident: NDArray[np.int64] | None = None
    least: NDArray[np.uint8] | None = None
    probabilities: NDArray[np.int64] | None = None
    zonal: NDArray[np.int64] | None = None
    zonal_least: NDArray[np.int32] | None = None
    zonal_most: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return int(self.class_ids.size)

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> PolygonSums:
        """Keep only the chosen parts."""
        return replace(self, **{name: column[chosen] for name, column in self._columns().items()})

    @staticmethod
    def join(parts: list[PolygonSums]) -> PolygonSums:
        """Concatenate several sets of parts."""
        columns = [part._columns() for part in parts]
        joined = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
        return replace(parts[0], **joined)

    def merge(self, group: NDArray[np.int32], n_groups: int) -> PolygonSums:
        """Merge the parts that belong to one polygon.

        Args:
            group: Group of each part, 0 .. ``n_groups - 1``; parts of a group share their class.
            n_groups: Number of groups; each has at least one part.

        Returns:
            One part per group.
        """
        merged: dict[str, NDArray[Any]] = {}
        for name, column in self._columns().items():
            if name == "class_ids":
                total = np.empty(n_groups, dtype=np.uint8)
                total[group] = column
            elif name in ("least", "zonal_least"):
                total = np.full((n_groups, *column.shape[1:]), np.iinfo(column.dtype).max, column.dtype)
                np.minimum.at(total, group, column)
            elif name == "zonal_most":
                total = np.full((n_groups, *column.shape[1:]), np.iinfo(column.dtype).min, column.dtype)
                np.maximum.at(total, group, column)
            else:
                total = np.zeros((n_groups, *column.shape[1:]), dtype=np.int64)
                np.add.at(total, group, column)
            merged[name] = total
        return replace(self, **merged)

    def runner_up(self, class_ids: NDArray[np.uint8]) -> NDArray[np.int16]:
        """Find the second most probable class: that with the highest sum of probability beside its own.

        Ties go to the lowest id.

        Args:
            class_ids: Class of each column of ``probabilities``, ascending.

        Returns:
            Class ids, int16; -1 without probabilities.
        """
        if self.probabilities is None:
            return np.full(len(self), -1, dtype=np.int16)
        others = np.where(class_ids[None, :] == self.class_ids[:, None], -1, self.probabilities)
        best = others.argmax(axis=1)
        known = (self.probabilities.sum(axis=1) > 0) & (others.max(axis=1) >= 0)
        return np.where(known, class_ids[best].astype(np.int16), np.int16(-1))

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}


def sum_polygons(
    runs: Runs,
    areas: NDArray[np.float64] | None,
    confidence: NDArray[np.uint8] | None,
    probabilities: NDArray[np.uint8] | None,
    zonal: ZonalValues | None = None,
) -> PolygonSums:
    """Sum over the components of a block.

    Args:
        runs: The block's runs.
        areas: Whole-number area of each pixel, float64 (rows, columns), or None.
        confidence: Stored confidence 0-100, 255 unknown, uint8 (rows, columns), or None.
        probabilities: Stored probabilities 0-250, 255 unknown, uint8 (classes, rows, columns), or None.
        zonal: Values of other rasters, or None.

    Returns:
        One part per component, those of nodata included.
    """
    count = runs.n_components

    def gather(amounts: NDArray[np.int64]) -> NDArray[np.int64]:
        return sum_by_group(runs.component, amounts, count)

    class_ids = np.empty(count, dtype=np.uint8)
    class_ids[runs.component] = runs.values
    tally = PolygonSums(class_ids, gather(runs.lengths))
    if areas is not None:
        # Sums over a run are whole numbers below 2^53, so they are exact.
        sizes = np.add.reduceat(areas.ravel(), runs.starts).astype(np.int64)
        tally = replace(tally, areas=gather(sizes))
    if confidence is not None:
        least = np.full(count, NODATA, dtype=np.uint8)
        np.minimum.at(least, runs.component, np.minimum.reduceat(confidence.ravel(), runs.starts))
        total, known = sum_runs([confidence, (confidence != NODATA).view(np.uint8)], runs)
        tally = replace(tally, confidence=gather(total), confident=gather(known), least=least)
    if probabilities is not None:
        sums = [gather(total) for total in sum_runs(list(probabilities), runs)]
        tally = replace(tally, probabilities=np.stack(sums, axis=1))
    if zonal is not None:
        found = sum_block(runs, zonal)
        tally = replace(tally, zonal=found.sums, zonal_least=found.least, zonal_most=found.most)
    return tally


def sum_runs(planes: Sequence[NDArray[np.uint8]], runs: Runs) -> list[NDArray[np.int64]]:
    """Sum over every run of a block.

    Args:
        planes: uint8 (rows, columns) each; 255 means unknown and counts as 0.
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
        shifts = range(_BITS * (len(some) - 1), -1, -_BITS)
        found += [(packed >> shift) & _MOST for shift in shifts]
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
