"""Class statistics of a map: pixels, hectares and mean confidence, summed block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import LandClass
from geoseg.grid import Window
from geoseg.maps.kinds import CONFIDENCE_ONE
from geoseg.raster.pixel_sizes import PixelSizes

Counts = Mapping[str, Sequence[int]]
_ROWS = 64
"""Rows counted at once, few enough to stay in the processor's cache."""


@dataclass
class ClassStatistics:
    """Sums over the pixels of each class.

    Attributes:
        classes: The model's classes by ascending id.
        window: The map's window on the scene's grid.
        pixel_sizes: Sizes of the map's pixels; None if the map has no areas.
    """

    classes: Sequence[LandClass]
    window: Window
    pixel_sizes: PixelSizes | None
    _pixels: NDArray[np.int64] = field(init=False)
    _confidence: NDArray[np.int64] = field(init=False)
    _area: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._pixels, self._confidence, self._area = np.zeros((3, len(self.classes)), np.int64)

    def add(self, window: Window, classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Add one window of the map; the sums are integers, so the order does not matter.

        Args:
            window: The window, on the scene's grid.
            classes: uint8 (rows, columns), class ids, 255 where not valid.
            confidence: uint8 (rows, columns), percent.
        """
        ids = [item.id for item in self.classes]
        both, areas = np.zeros((256, 256), np.int64), np.zeros(256)
        for first in range(0, window.height, _ROWS):
            rows = slice(first, first + _ROWS)
            index = classes[rows].astype(np.intp)
            if self.pixel_sizes is not None:
                areas += np.bincount(index.ravel(), self._areas(window, rows).ravel(), 256)
            index <<= 8
            index |= confidence[rows]
            found = np.bincount(index.ravel())
            both.ravel()[: len(found)] += found
        self._pixels += both.sum(axis=1)[ids]
        self._confidence += (both @ np.arange(256))[ids]
        self._area += areas.astype(np.int64)[ids]

    def _areas(self, window: Window, rows: slice) -> NDArray[np.float64]:
        assert self.pixel_sizes is not None
        row, col = window.row - self.window.row, window.col - self.window.col
        height = min(rows.stop, window.height) - rows.start
        return self.pixel_sizes.pixel_areas(row + rows.start, col, height, window.width)

    def add_counts(self, counts: Counts) -> None:
        """Add the ``counts`` of another instance for other pixels of the map."""
        self._pixels += np.array(counts["pixels"], np.int64)
        self._confidence += np.array(counts["confidence"], np.int64)
        self._area += np.array(counts["area"], np.int64)

    def counts(self) -> Counts:
        """Return the sums of each class as plain numbers: pixels, percent of confidence, units of area."""
        return {
            "pixels": self._pixels.tolist(),
            "confidence": self._confidence.tolist(),
            "area": self._area.tolist(),
        }

    @property
    def pixels_valid(self) -> int:
        """Number of pixels that have a class."""
        return int(self._pixels.sum())

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the report: id, name, pixels, area_ha and mean_confidence of each class.

        ``area_ha`` is None without areas; ``mean_confidence`` is 0-1, or None without pixels.
        """
        return [
            {
                "id": item.id,
                "name": item.name,
                "pixels": int(pixels),
                "area_ha": None if self.pixel_sizes is None else float(area) * self.pixel_sizes.area_unit,
                "mean_confidence": float(confidence) / int(pixels) / CONFIDENCE_ONE if pixels else None,
            }
            for item, pixels, confidence, area in zip(
                self.classes, self._pixels, self._confidence, self._area, strict=True
            )
        ]
