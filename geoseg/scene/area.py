"""An area of interest: polygons from any vector file, as a box of the scene's grid and a mask inside it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, SceneError
from geoseg.grid import Window
from geoseg.scene.vector import TILE, read_table, tiles, to_pixels

if TYPE_CHECKING:
    from geoseg.scene import Scene


@dataclass(frozen=True)
class Area:
    """An area of interest on a scene's grid.

    Attributes:
        window: The smallest box of whole pixels around it, cut to the scene.
        geometry: Polygons in pixel coordinates, x = column and y = row from the scene's upper left corner.
        assumed_crs: Whether the file had no CRS, and was taken to be in the scene's.
    """

    window: Window
    geometry: Any = field(repr=False)
    assumed_crs: bool = False

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Pixels of a window whose centre is inside the area, bool (rows, columns)."""
        inside = np.zeros(window.shape, bool)
        for tile, common in tiles(window):
            inside[common.slices(window)] = _draw(self, tile.row, tile.col)[common.slices(tile)]
        return inside


@lru_cache(maxsize=32)
def _draw(area: Area, row: int, col: int) -> NDArray[np.bool_]:
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    drawn = rasterize(
        [(area.geometry, 1)], (TILE, TILE), transform=Affine.translation(col, row), dtype="uint8"
    )
    inside: NDArray[np.bool_] = drawn.astype(bool)
    return inside


def read_area(path: str | os.PathLike[str], scene: Scene) -> Area:
    """Read an area of interest and place it on a scene's grid.

    Args:
        path: Any vector file that GDAL reads; its polygons together are the area. Coordinates are brought to
            the scene's CRS; a file without a CRS is taken to be in it.
        scene: The scene.

    Raises:
        InputError: If the file cannot be read or holds no polygon.
        SceneError: If the scene has no transform, or the area lies outside it.
    """
    transform = scene.georeference.transform
    if transform is None:
        raise SceneError(
            f"{scene.name}: --aoi needs a scene with a transform; --warp makes one from GCPs or RPCs"
        )
    table = _polygons(path, scene)
    geometry = to_pixels(table.geometry.make_valid().union_all(), transform)
    left, top, right, bottom = geometry.bounds
    box = Window.from_bounds(math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right))
    window = box.intersection(Window.from_shape(scene.shape))
    if window is None:
        raise SceneError(
            f"{path}: the area of interest lies outside {scene.name}; check its coordinates and CRS"
        )
    return Area(window, geometry, assumed_crs=table.crs is None and scene.georeference.crs is not None)


def _polygons(path: str | os.PathLike[str], scene: Scene) -> Any:
    table = read_table(os.fspath(path), "--aoi")
    table = table[table.geometry.notna() & table.geom_type.isin(["Polygon", "MultiPolygon"])]
    if table.empty:
        raise InputError(f"{path}: --aoi holds no polygon")
    if table.crs is not None and scene.georeference.crs is not None:
        table = table.to_crs(scene.georeference.crs.to_wkt())
        table = table[np.isfinite(table.bounds).all(axis=1)]
    if table.empty:
        raise SceneError(f"{path}: the area of interest lies where {scene.name}'s CRS does not reach")
    return table
