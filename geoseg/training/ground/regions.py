"""A part of a scene that belongs to one fold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.scene.vector import Area


@dataclass(frozen=True)
class Region:
    """A part of a scene that belongs to one fold: a rectangle, or polygons.

    Attributes:
        scene: Index of the scene.
        fold: Its fold.
        window: Its bounding box, whole pixels.
        geometry: Polygons in pixel coordinates, x = column and y = row; None for the whole window.
    """

    scene: int
    fold: int
    window: Window
    geometry: Any = None

    def mask(self, window: Window, buffer: int = 0) -> NDArray[np.bool_]:
        """Pixels of ``window`` in the region, or within ``buffer`` pixels of it; bool (rows, columns)."""
        inside = np.zeros(window.shape, bool)
        grown = Window.from_bounds(
            self.window.row - buffer, self.window.col - buffer,
            self.window.row_stop + buffer, self.window.col_stop + buffer,
        )  # fmt: skip
        common = grown.intersection(window)
        if common is None:
            return inside
        if self.geometry is None:
            inside[common.slices(window)] = True
        else:
            inside[common.slices(window)] = _area(self, buffer).mask(common)
        return inside


@lru_cache(maxsize=256)
def _area(region: Region, buffer: int) -> Area:
    geometry: Any = region.geometry
    return Area(region.window, geometry.buffer(buffer) if buffer else geometry)
