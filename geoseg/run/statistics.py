"""What a class map holds: pixels, hectares and mean confidence of every class, gathered block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.maps.decide import CONFIDENCE_ONE, NODATA, Decision, to_bytes
from geoseg.models.card import LandClass
from geoseg.polygons.surface import Surface

Counts = Mapping[str, Sequence[int]]


@dataclass
class ClassStatistics:
    """Sums over the pixels of each class.

    Attributes:
        classes: The model's classes by ascending id.
        window: The map's window on the scene's grid.
        surface: Sizes of the map's pixels, or None where hectares mean nothing.
    """

    classes: Sequence[LandClass]
    window: Window
    surface: Surface | None
    _pixels: NDArray[np.int64] = field(init=False)
    _confidence: NDArray[np.int64] = field(init=False)
    _area: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._pixels, self._confidence, self._area = np.zeros((3, len(self.classes)), np.int64)

    def add(self, window: Window, decision: Decision) -> None:
        """Count one window of the map; the sums are whole numbers, so the order does not matter."""
        stored = to_bytes(decision.top, CONFIDENCE_ONE, decision.valid)
        self._count(window, decision.winner, stored, decision.valid)

    def add_maps(self, window: Window, classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Count one window of finished maps: class ids and confidence in percent, 255 where not valid."""
        ids = np.array([item.id for item in self.classes])
        self._count(window, np.searchsorted(ids, classes), confidence, classes != NODATA)

    def add_counts(self, counts: Counts) -> None:
        """Add what ``counts`` of another gave for other pixels of the map."""
        self._pixels += np.array(counts["pixels"], np.int64)
        self._confidence += np.array(counts["confidence"], np.int64)
        self._area += np.array(counts["area"], np.int64)

    def counts(self) -> Counts:
        """The sums of each class as plain numbers: pixels, percent of confidence, and units of area."""
        return {
            "pixels": self._pixels.tolist(),
            "confidence": self._confidence.tolist(),
            "area": self._area.tolist(),
        }

    def _count(
        self,
        window: Window,
        index: NDArray[np.integer],
        confidence: NDArray[np.uint8],
        valid: NDArray[np.bool_],
    ) -> None:
        winner = index[valid]
        count = len(self.classes)
        self._pixels += np.bincount(winner, minlength=count)
        self._confidence += np.bincount(winner, confidence[valid], count).astype(np.int64)
        if self.surface is not None:
            row, col = window.row - self.window.row, window.col - self.window.col
            areas = self.surface.pixel_areas(row, col, *window.shape)[valid]
            self._area += np.bincount(winner, areas, count).astype(np.int64)

    @property
    def pixels_valid(self) -> int:
        """Pixels that have a class."""
        return int(self._pixels.sum())

    def rows(self) -> list[dict[str, Any]]:
        """One row a class: id, name, pixels, area_ha (None without a CRS), mean_confidence (0-1 or None)."""
        return [
            {
                "id": item.id,
                "name": item.name,
                "pixels": int(pixels),
                "area_ha": None if self.surface is None else float(area) * self.surface.area_unit,
                "mean_confidence": float(confidence) / pixels / CONFIDENCE_ONE if pixels else None,
            }
            for item, pixels, confidence, area in zip(
                self.classes, self._pixels, self._confidence, self._area, strict=True
            )
        ]
