"""Labels from a raster on the scene's grid, or on another grid and resampled by nearest neighbour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import IGNORE
from geoseg.errors import DamagedFileError, SceneError
from geoseg.grid import Window
from geoseg.labels.values import ValueTable
from geoseg.raster.georeference import Georeference, same_transform
from geoseg.raster.lost_values import refuse_lossy
from geoseg.raster.source import GDAL_ERRORS, Source, Warp, borrow, close
from geoseg.scene.file import reason
from geoseg.scene.placing import GridOf


@dataclass(frozen=True)
class RasterLabels:
    """A label raster, read on a grid.

    Attributes:
        source: The raster, warped to the grid if it lies on another.
        table: The meaning of its values.
    """

    source: Source
    table: ValueTable

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read class ids in a window of the grid, uint8 (rows, columns); see ``Labels.read``."""
        stored, hidden = self.read_stored(window)
        if hidden.any():
            ids = np.full(window.shape, IGNORE, np.uint8)
            ids[~hidden] = self.table.to_ids(stored[~hidden])
            return ids
        return self.table.to_ids(stored)

    def read_stored(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read stored values in a window, and a mask that is True where they are nodata or masked."""
        inside = RasterioWindow(window.col, window.row, window.width, window.height)
        try:
            with borrow(self.source) as dataset:
                return dataset.read(1, window=inside), dataset.read_masks(1, window=inside) == 0
        except GDAL_ERRORS as error:
            raise DamagedFileError(f"{self.source.path}: labels cannot be read: {reason(error)}") from error

    def close(self) -> None:
        """Close this process's handles."""
        close({self.source})


def open_raster(path: str, dataset: Any, grid: GridOf) -> Source:
    """Choose how to read a label raster on a grid: as it is, or warped.

    Args:
        path: The raster.
        dataset: The raster, opened.
        grid: The grid.

    Raises:
        SceneError: If the raster has several bands, lossy compression, or does not overlap the grid.
    """
    if dataset.count != 1 and not (dataset.count == 2 and dataset.colorinterp[1].name == "alpha"):
        raise SceneError(
            f"{path} has {dataset.count} bands; labels are one band of class ids "
            "(gdal_translate -b N picks one)"
        )
    if np.dtype(dataset.dtypes[0]).kind not in "iuf":
        raise SceneError(f"{path} holds {dataset.dtypes[0]}; labels are whole numbers")
    refuse_lossy(path, dataset)
    own = Georeference.of(dataset)
    if _same_grid(own, dataset.shape, grid):
        return Source(path)
    target = grid.georeference
    if own.transform is None or target.transform is None:
        rows, cols = dataset.shape
        raise SceneError(
            f"{path} ({rows} x {cols} pixels) and {grid.name} ({grid.shape[0]} x {grid.shape[1]}) cannot be "
            "aligned: one has no transform, so both must have the same number of rows and columns"
        )
    if own.crs is None or target.crs is None:
        bare = path if own.crs is None else grid.name
        raise SceneError(f"{bare} has no CRS and the two grids differ; set the CRS with gdal_edit -a_srs")
    _check_overlap(path, own, dataset.shape, grid)
    return Source(path, Warp(target.crs.to_wkt(), tuple(target.transform)[:6], grid.shape))


def _same_grid(own: Georeference, shape: tuple[int, int], grid: GridOf) -> bool:
    crs = grid.georeference.crs
    if shape != grid.shape or (own.crs is not None and crs is not None and own.crs != crs):
        return False
    one, other = own.transform, grid.georeference.transform
    return one is None or other is None or same_transform(other, one, shape)


def _check_overlap(path: str, own: Georeference, shape: tuple[int, int], grid: GridOf) -> None:
    target = grid.georeference
    try:
        bounds = transform_bounds(own.crs, target.crs, *array_bounds(*shape, own.transform))
    except GDAL_ERRORS:
        return  # bounds that cannot be transformed may still warp
    west, south, east, north = array_bounds(*grid.shape, target.transform)
    left, bottom, right, top = bounds
    if min(right, east) <= max(left, west) or min(top, north) <= max(bottom, south):
        raise SceneError(f"{path} does not overlap {grid.name}; check the CRS and coordinates of both")
