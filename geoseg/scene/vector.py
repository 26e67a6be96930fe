"""Vector files on a raster grid: read them, transform them to pixels, use one as an area of interest."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, SceneError
from geoseg.grid import Window
from geoseg.omissions import Omission

if TYPE_CHECKING:
    from geoseg.scene.scene import Scene

TILE = 1024
"""Side in pixels of the fixed tiles in which polygons are rasterised, so that a pixel whose centre lies on an
edge gets the same value whatever window is read."""

_SUFFIXES = (".gpkg", ".parquet", ".geoparquet", ".geojson", ".json", ".shp", ".fgb")


def is_vector(path: str) -> bool:
    """Tell whether a path names a vector file."""
    return Path(path).suffix.lower() in _SUFFIXES


def read_table(path: str, named_by: str) -> Any:
    """Read a vector file as a GeoDataFrame; of several layers, the only one with polygons.

    Args:
        path: The file.
        named_by: The option or key that gave it, for messages.

    Raises:
        SceneError: If it cannot be read.
    """
    import geopandas
    import pyogrio.errors

    if not Path(path).exists() and "://" not in path and not path.startswith("/vsi"):
        raise SceneError(f"{path}: no such file ({named_by})")
    is_parquet = path.lower().endswith((".parquet", ".geoparquet"))
    try:
        return geopandas.read_parquet(path) if is_parquet else geopandas.read_file(path, layer=_layer(path))
    except (pyogrio.errors.DataSourceError, ValueError, OSError) as error:
        raise SceneError(f"{path} ({named_by}) cannot be read as a vector file: {error}") from error


def _layer(path: str) -> str:
    """Find the layer with polygons; ignore styles and points beside it."""
    import pyogrio

    layers = [(str(name), str(kind)) for name, kind in pyogrio.list_layers(path)]
    known = [name for name, kind in layers if "Polygon" in kind]
    found = known or [name for name, kind in layers if kind not in ("None", "Point", "LineString")]
    if len(found) > 1:
        raise SceneError(
            f"{path} has several layers of polygons ({', '.join(found)}); save the one that is meant alone"
        )
    if not found:
        raise SceneError(f"{path} holds no polygon")
    return found[0]


def to_pixels(shapes: Any, transform: Any) -> Any:
    """Transform geometries to pixels: x = column and y = row from the grid's upper left corner.

    Args:
        shapes: One shapely geometry or an array of them, in the grid's CRS.
        transform: The grid's affine transform.
    """
    import shapely

    inverse = ~transform

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy[:, 0], xy[:, 1]
        return np.column_stack(
            [inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f]
        )

    return shapely.transform(shapes, move)


def tiles(window: Window) -> Iterator[tuple[Window, Window]]:
    """Yield the fixed tiles that a window touches, each with its part inside the window."""
    for row in range(window.row // TILE * TILE, window.row_stop, TILE):
        for col in range(window.col // TILE * TILE, window.col_stop, TILE):
            tile = Window(row, col, TILE, TILE)
            common = tile.intersection(window)
            if common is not None:
                yield tile, common


@dataclass(frozen=True)
class AreaOfInterest:
    """An area of interest on a scene's grid.

    Attributes:
        window: Its bounding box in whole pixels, cut to the scene.
        geometry: Polygons in pixel coordinates, x = column and y = row from the scene's upper left corner.
        assumed_crs: Whether the file has no CRS, so that the scene's was assumed.
        omissions: What of the file is left out.
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
    return AreaOfInterest(
        window, geometry, assumed_crs=table.crs is None and scene.georeference.crs is not None
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
