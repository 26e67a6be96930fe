"""An area of interest: the polygons of a vector file on a scene's grid."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.omissions import Omission
from geoseg.scene.placing import TILE, GridOf, place_polygons, tiles
from geoseg.scene.scene import Scene
from geoseg.scene.vector import read_polygons


@dataclass(frozen=True)
class AreaOfInterest:
    """An area of interest on a scene's grid.

    Attributes:
        window: Its bounding box in whole pixels, cut to the scene.
        geometry: Polygons in pixel coordinates, x = column and y = row from the scene's upper left corner.
        assumed_crs: Whether the file has no CRS, so that the scene's was assumed.
        omissions: Rows of the file without an area, and polygons outside the scene.
    """

    window: Window
    geometry: Any = field(repr=False)
    assumed_crs: bool = False
    omissions: tuple[Omission, ...] = ()

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Tell which pixels of a window have their centre inside the area, bool (rows, columns)."""
        inside = np.zeros(window.shape, bool)
        for tile, common in tiles(window):
            inside[common.slices(window)] = _draw(self, tile.row, tile.col)[common.slices(tile)]
        return inside


def read_area(path: str | os.PathLike[str], scene: Scene) -> AreaOfInterest:
    """Read an area of interest and place it on a scene's grid.

    Args:
        path: Any vector file that GDAL reads; the area is the union of its polygons. Coordinates are
            transformed to the scene's CRS; a file without a CRS is assumed to be in it.
        scene: The scene.

    Raises:
        InputError: If the file cannot be read or holds no polygon.
        SceneError: If the scene has no transform, or the area lies outside it.
    """
    import shapely

    if scene.georeference.transform is None:
        raise SceneError(
            f"{scene.name}: --aoi needs a scene with a transform; --warp makes one from GCPs or RPCs"
        )
    polygons, grid = read_polygons(path, "--aoi"), GridOf.of(scene)
    placed = place_polygons(polygons.shapes, polygons.crs, polygons.path, grid)
    here = grid.touches(placed)
    geometry = shapely.union_all(placed[here])
    window = None
    if here.any():
        left, top, right, bottom = geometry.bounds
        box = Window.from_bounds(math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right))
        window = box.intersection(Window.from_shape(scene.shape))
    if window is None:
        raise SceneError(
            f"{path}: the area of interest lies outside {scene.name}; check its coordinates and CRS"
        )
    outside = polygons.left_out(
        int(np.count_nonzero(~here)), f"they lie outside {scene.name}", "areas (--aoi)"
    )
    return AreaOfInterest(
        window,
        geometry,
        assumed_crs=polygons.crs is None and scene.georeference.crs is not None,
        omissions=(*polygons.omissions, *outside),
    )


@lru_cache(maxsize=32)
def _draw(area: AreaOfInterest, row: int, col: int) -> NDArray[np.bool_]:
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    drawn = rasterize(
        [(area.geometry, 1)], (TILE, TILE), transform=Affine.translation(col, row), dtype="uint8"
    )
    inside: NDArray[np.bool_] = drawn.astype(bool)
    return inside
