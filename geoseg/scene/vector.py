"""Vector files laid over a raster grid: areas of interest, labels and folds are all read and placed here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import Window

TILE = 1024
"""Polygons are drawn in tiles of one fixed lattice, so that a pixel's centre on an edge falls on the same
side whatever window is asked for."""

_SUFFIXES = (".gpkg", ".parquet", ".geoparquet", ".geojson", ".json", ".shp", ".fgb")


def is_vector(path: str) -> bool:
    """Whether a path names a vector file."""
    return Path(path).suffix.lower() in _SUFFIXES


def read_table(path: str, named_by: str) -> Any:
    """Read a vector file as a GeoDataFrame: its one layer of polygons, where it has several layers.

    Args:
        path: The file.
        named_by: The flag or key that names it, for messages.

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
    """The layer of polygons; styles and points that lie beside it are not meant."""
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
    """Geometries in pixels, x = column and y = row from the grid's upper left corner.

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
    """The tiles of the fixed lattice that a window touches, each with what it shares with the window."""
    for row in range(window.row // TILE * TILE, window.row_stop, TILE):
        for col in range(window.col // TILE * TILE, window.col_stop, TILE):
            tile = Window(row, col, TILE, TILE)
            common = tile.intersection(window)
            if common is not None:
                yield tile, common
