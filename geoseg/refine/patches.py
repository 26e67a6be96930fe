"""The patches of one strip: 4-connected pixels of one class, and what touches them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.raster.components import Contacts, Runs, find_runs_and_contacts
from geoseg.refine.step import Strip


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Patches of a strip, nodata patches included, as far as the strip shows them.

    Attributes:
        runs: The runs of the strip; their components are the patches.
        classes: Class of each patch, uint8.
        sizes: Its size, int64: pixels, or the sum of its pixels' areas.
        sums: Its stored probability of each class, int64 (bands, patches); no bands without probabilities.
        at_nodata: Whether it touches nodata or the edge of the map inside this strip, bool.
        first: One patch of each border between two patches, int32.
        second: The other patch.
        sides: How many sides of pixels the border has, int64. Two patches may have several borders.
        top: The patch of each pixel of the strip's first row, int32 (columns,).
        bottom: The patch of each pixel of its last row.
    """

    runs: Runs
    classes: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    sums: NDArray[np.int64]
    at_nodata: NDArray[np.bool_]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    sides: NDArray[np.int64]
    top: NDArray[np.int32]
    bottom: NDArray[np.int32]


def find_patches(strip: Strip, areas: NDArray[np.float64] | None = None) -> Patches:
    """Find the patches of a strip.

    Args:
        strip: The strip; its halo is not looked at.
        areas: Area of each pixel in whole numbers, float64 (rows, columns); None to count pixels.

    Returns:
        The patches.
    """
    values = np.ascontiguousarray(strip.core)
    runs, contacts = find_runs_and_contacts(values)
    classes = np.empty(runs.n_components, dtype=np.uint8)
    classes[runs.component] = runs.values
    sizes = runs.lengths if areas is None else np.add.reduceat(areas.ravel(), runs.starts)
    empty = (runs.values[contacts.first] == NODATA) | (runs.values[contacts.second] == NODATA)
    columns = values.shape[1]
    rows = np.searchsorted(runs.starts, [columns, values.size - columns])
    return Patches(
        runs=runs,
        classes=classes,
        sizes=np.bincount(runs.component, sizes, runs.n_components).astype(np.int64),
        sums=_add_probabilities(runs, strip.probabilities),
        at_nodata=_touch_nodata(strip, runs, contacts, empty),
        first=runs.component[contacts.first[~empty]],
        second=runs.component[contacts.second[~empty]],
        sides=contacts.sides[~empty],
        top=np.repeat(runs.component[: rows[0]], runs.lengths[: rows[0]]),
        bottom=np.repeat(runs.component[rows[1] :], runs.lengths[rows[1] :]),
    )


def _add_probabilities(runs: Runs, probabilities: NDArray[np.uint8] | None) -> NDArray[np.int64]:
    """Sums over patches, int64 (bands, patches); unknown probabilities count as 0."""
    if probabilities is None:
        return np.zeros((0, runs.n_components), dtype=np.int64)
    sums = np.empty((len(probabilities), runs.n_components), dtype=np.int64)
    for band, total in zip(probabilities, sums, strict=True):
        known = np.where(band == NODATA, np.uint8(0), band)
        over_runs = np.add.reduceat(known.ravel(), runs.starts, dtype=np.uint32)
        total[:] = np.bincount(runs.component, over_runs, runs.n_components)
    return sums


def _touch_nodata(
    strip: Strip, runs: Runs, contacts: Contacts, empty: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which patches touch nodata or the edge of the map; what lies in other strips is not seen here."""
    rows, columns = strip.core.shape
    begins = np.searchsorted(runs.starts, np.arange(rows) * columns)
    ends = np.append(begins[1:], runs.starts.size) - 1
    touching = np.zeros(runs.n_components, dtype=bool)
    touching[runs.component[contacts.first[empty]]] = True
    touching[runs.component[contacts.second[empty]]] = True
    touching[runs.component[begins]] = True
    touching[runs.component[ends]] = True
    if strip.is_first:
        touching[runs.component[: ends[0] + 1]] = True
    if strip.is_last:
        touching[runs.component[begins[-1] :]] = True
    return touching
