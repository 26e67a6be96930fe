"""Draw a stratified random sample of pixels from a map of any size, in one pass.

Every pixel has a random number that follows from the seed and its place alone, and the sample of a class is
its pixels with the smallest numbers. So the sample does not depend on how the map is cut into windows, needs
no second pass, and a larger one of the same seed holds the smaller one: points that were labelled are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.area import allocate
from geoseg.assess.classmap import ClassMap
from geoseg.assess.compare import IDS, WINDOW, windows
from geoseg.classes import NODATA
from geoseg.errors import InputError
from geoseg.grid import Window

# Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": the mixer of SplitMix64.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A sample of pixels, in an order that says nothing of their classes.

    Attributes:
        rows: Row of each unit, int64.
        columns: Its column.
        classes: Its class in the map: its stratum.
        pixels: Pixels of each class id in the map, int64 (256,).
        areas: Hectares of each class id; pixels where the map has no CRS.
        confidence: Mean confidence of each class id, 0-1, NaN where it is not known.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    classes: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    areas: NDArray[np.float64]
    confidence: NDArray[np.float64]


def random_numbers(seed: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The random number of pixels, uint64, uniform."""
    place = (rows.astype(np.uint64) << np.uint64(32)) | columns.astype(np.uint64)
    start = _mix(np.array([seed % 2**64], np.uint64))
    return _mix(_mix(place ^ start) + start)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + _GOLDEN
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MIX_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


class _Smallest:
    """The pixels of each class with the smallest numbers so far."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = np.full(IDS, np.iinfo(np.uint64).max, np.uint64)
        self.kept: dict[int, NDArray[np.uint64]] = {}

    def add(self, classes: NDArray[np.uint8], numbers: NDArray[np.uint64], window: Window) -> None:
        row, col = np.nonzero((classes != NODATA) & (numbers <= self.limit[classes]))
        found = np.stack(
            [numbers[row, col], (row + window.row).astype(np.uint64), (col + window.col).astype(np.uint64)]
        )
        ids = classes[row, col]
        for value in np.unique(ids).tolist():
            known = self.kept.get(value, np.zeros((3, 0), np.uint64))
            both = np.concatenate([known, found[:, ids == value]], axis=1)
            both = both[:, np.lexsort(both[::-1])[: self.most]]
            self.kept[value] = both
            if both.shape[1] == self.most:
                self.limit[value] = both[0, -1]


def draw_sample(
    class_map: ClassMap,
    total: int,
    *,
    seed: int = 0,
    window_size: int = WINDOW,
    advance: Callable[[float], None] = lambda _done: None,
) -> Drawn:
    """Draw a sample of a map's pixels, stratified by its classes.

    Args:
        class_map: The map.
        total: Pixels to draw, shared out by ``allocate``.
        seed: Decides which.
        window_size: Pixels a side read at once; never changes the sample.
        advance: Called with the pixels that were done.

    Raises:
        InputError: If the map is empty, or ``total`` too small.
        RunError: If the map cannot be read.
    """
    smallest = _Smallest(total)
    pixels = np.zeros(IDS, np.int64)
    areas = np.zeros(IDS)
    percent, sure = np.zeros(IDS), np.zeros(IDS)
    pixel_sizes = class_map.pixel_sizes()
    for window in windows(class_map.shape, window_size):
        classes = class_map.read(window)
        advance(window.pixels)
        flat = classes.ravel()
        if (flat == NODATA).all():
            continue
        pixels += np.bincount(flat, minlength=IDS)
        if pixel_sizes is not None:
            sizes = pixel_sizes.pixel_areas(window.row, window.col, *window.shape)
            areas += np.bincount(flat, sizes.ravel(), IDS)
        if class_map.has_confidence:
            values = class_map.read_confidence(window).ravel()
            known = values != NODATA
            percent += np.bincount(flat[known], values[known], IDS)
            sure += np.bincount(flat[known], minlength=IDS)
        rows, cols = (np.arange(n, dtype=np.int64) for n in window.shape)
        numbers = random_numbers(seed, rows[:, None] + window.row, cols[None, :] + window.col)
        smallest.add(classes, numbers, window)
    pixels[NODATA] = areas[NODATA] = 0
    if not pixels.any():
        raise InputError(f"{class_map.path} holds only nodata; there is nothing to sample")
    share = allocate(total, pixels)
    chosen = [(smallest.kept[value][:, : share[value]], value) for value in np.flatnonzero(share).tolist()]
    numbers, rows, cols = np.concatenate([part for part, _ in chosen], axis=1)
    classes = np.concatenate([np.full(part.shape[1], value, np.uint8) for part, value in chosen])
    order = np.argsort(_mix(numbers), kind="stable")
    confidence = np.divide(percent, sure * 100, out=np.full(IDS, np.nan), where=sure > 0)
    return Drawn(
        rows=rows[order].astype(np.int64),
        columns=cols[order].astype(np.int64),
        classes=classes[order],
        pixels=pixels,
        areas=areas * pixel_sizes.area_unit if pixel_sizes is not None else pixels.astype(np.float64),
        confidence=confidence,
    )
