"""Rasters as exactextract reads them: indices of scenes, and confidence, computed window by window.

NDVI (Rouse et al. 1974), NDWI of open water (McFeeters 1996) and NDMI (Gao 1996) are (a - b) / (a + b) of two
bands.
"""

from __future__ import annotations

import numpy as np
from exactextract.raster import RasterSource
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.scene.scene import Scene

INDICES = {"ndvi": ("nir", "red"), "ndwi": ("green", "nir"), "ndmi": ("nir", "swir16")}


class SceneSource(RasterSource):
    """The grid of a north-up scene."""

    def __init__(self, scene: Scene, name: str) -> None:
        super().__init__()
        self.set_name(name)
        self.scene = scene

    def res(self) -> tuple[float, float]:
        """Width and height of a pixel."""
        transform = self.scene.georeference.transform
        return transform.a, -transform.e

    def extent(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top."""
        transform, (rows, cols) = self.scene.georeference.transform, self.scene.shape
        return transform.c, transform.f + rows * transform.e, transform.c + cols * transform.a, transform.f

    def nodata_value(self) -> None:
        """None: what has no value is NaN (exactextract 0.3.0 forgets masks when it goes raster by raster)."""

    def srs_wkt(self) -> str:
        """The scene's CRS."""
        return str(self.scene.georeference.crs.to_wkt())


class IndexSource(SceneSource):
    """One index of a scene."""

    def __init__(self, scene: Scene, name: str) -> None:
        numbers = {band.common_name: band.number for band in scene.bands}
        super().__init__(scene.select([numbers[band] for band in INDICES[name]], invalid_where="any"), name)

    def read_window(self, left: int, top: int, width: int, height: int) -> NDArray[np.float64]:
        """The index, float64 (rows, columns), NaN where a band has no value or their sum is 0."""
        if not width * height:  # exactextract asks for nothing to learn the type
            return np.empty((height, width))
        (first, second), valid = self.scene.read(Window(top, left, height, width))
        with np.errstate(invalid="ignore", divide="ignore"):
            index = (first.astype(np.float64) - second) / (first.astype(np.float64) + second)
        return np.where(valid & np.isfinite(index), index, np.nan)


class ConfidenceSource(SceneSource):
    """Weights of pixels: the confidence of a map, 0 where it has none."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene, "confidence")

    def read_window(self, left: int, top: int, width: int, height: int) -> NDArray[np.float64]:
        """The confidence, 0-1, float64 (rows, columns)."""
        if not width * height:
            return np.empty((height, width))
        values, valid = self.scene.read(Window(top, left, height, width))
        return np.where(valid, values[0], 0).astype(np.float64)
