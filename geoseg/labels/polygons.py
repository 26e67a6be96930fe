"""Labels from polygons, rasterised on a grid one tile of a fixed lattice at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.errors import SceneError, SettingsError
from geoseg.grid import Window
from geoseg.labels.raster import GridOf
from geoseg.labels.values import ValueTable
from geoseg.scene.vector import TILE, read_table, tiles, to_pixels

COLUMNS = (
    "class_id", "class_name", "class", "label", "category", "landcover", "land_cover", "crop", "crop_name",
    "lc", "code", "value", "dn", "type",
)  # fmt: skip
"""Names of the attribute that holds the class, tried in this order, in any case."""


@dataclass(frozen=True, eq=False)
class PolygonLabels:
    """Label polygons on a grid.

    Attributes:
        geometries: Polygons in pixel coordinates, x = column and y = row from the grid's upper left corner.
        ids: Class id of each, uint8.
        column: The attribute that names the class.
        reasons: Number in the file, from 0, of each polygon that was invalid, and what was wrong with it.
    """

    geometries: NDArray[Any] = field(repr=False)
    ids: NDArray[np.uint8] = field(repr=False)
    column: str
    reasons: tuple[tuple[int, str], ...] = field(default=(), repr=False)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read class ids in a window of the grid, uint8 (rows, columns); see ``Labels.read``.

        Where polygons of different classes overlap there is no label, whatever their order in the file.
        """
        ids = np.full(window.shape, IGNORE, np.uint8)
        for tile, common in tiles(window):
            ids[common.slices(window)] = _draw(self, tile.row, tile.col)[common.slices(tile)]
        return ids

    def close(self) -> None:
        """Do nothing: polygons are in memory."""


@lru_cache(maxsize=16)
def _draw(labels: PolygonLabels, row: int, col: int) -> NDArray[np.uint8]:
    import shapely
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    found = _tree(labels).query(shapely.box(col, row, col + TILE, row + TILE))
    if not found.size:
        return np.full((TILE, TILE), IGNORE, np.uint8)

    def burn(order: NDArray[np.intp]) -> NDArray[np.uint8]:
        drawn: NDArray[np.uint8] = rasterize(
            [(labels.geometries[i], int(labels.ids[i])) for i in order],
            (TILE, TILE),
            fill=IGNORE,
            transform=Affine.translation(col, row),
            dtype="uint8",
        )
        return drawn

    # Drawn in both orders, pixels with polygons of different classes differ.
    by_id = found[np.argsort(labels.ids[found], kind="stable")]
    highest, lowest = burn(by_id), burn(by_id[::-1])
    highest[highest != lowest] = IGNORE
    return highest


@lru_cache(maxsize=4)
def _tree(labels: PolygonLabels) -> Any:
    import shapely

    return shapely.STRtree(labels.geometries)


def open_polygons(
    path: str, grid: GridOf, make_table: Callable[[], ValueTable], column: str | None
) -> PolygonLabels:
    """Read label polygons and place them on a grid; arguments and errors as in ``open_labels``."""
    import shapely

    frame = read_table(path, "labels")
    areal = frame.geom_type.isin(["Polygon", "MultiPolygon"])
    if not areal.any():
        raise SceneError(f"{path} holds no polygon")
    frame = frame[areal]
    name = find_column(path, [key for key in frame.columns if key != frame.geometry.name], column)
    table = make_table()
    meaning = {value: table.id_of_attribute(value) for value in frame[name].dropna().unique()}
    ids = np.array([meaning.get(value, IGNORE) for value in frame[name]], np.uint8)
    shapes = np.asarray(frame.geometry.values)
    wrong = np.flatnonzero(~shapely.is_valid(shapes))
    reasons = tuple((int(i), shapely.is_valid_reason(shapes[i])) for i in wrong)
    shapes = shapes.copy()
    shapes[wrong] = shapely.make_valid(shapes[wrong])
    placed = place_polygons(shapes, frame.crs, path, grid)
    labelled = (ids != IGNORE) & _areal(placed)
    left, top, right, bottom = shapely.total_bounds(placed[labelled])
    if not (left < grid.shape[1] and right > 0 and top < grid.shape[0] and bottom > 0):
        raise SceneError(
            f"{path} holds no labelled polygon on {grid.name}; check its CRS, coordinates and column {name}"
        )
    return PolygonLabels(placed[labelled], ids[labelled], name, reasons)


def find_column(path: str, columns: list[str], wanted: str | None) -> str:
    """Find the attribute that names the class.

    Raises:
        SettingsError: If the wanted one is missing, or none has a known name and there are several.
    """
    by_name = {key.casefold(): key for key in reversed(columns)}
    if wanted is not None:
        if wanted not in columns and wanted.casefold() not in by_name:
            raise SettingsError(f"{path} has no column {wanted}; it has {', '.join(columns) or 'none'}")
        return wanted if wanted in columns else by_name[wanted.casefold()]
    for name in COLUMNS:
        if name in by_name:
            return by_name[name]
    if len(columns) == 1:
        return columns[0]
    raise SettingsError(
        f"{path} has no column with a known name for the class; name it with --label-column; "
        f"it has {', '.join(columns) or 'none'}"
    )


def place_polygons(shapes: NDArray[Any], crs: Any, path: str, grid: GridOf) -> NDArray[Any]:
    """Transform geometries to pixels of a grid, x = column and y = row; not finite outside the CRS's domain.

    Args:
        shapes: Geometries of a file.
        crs: Their CRS; without one they are assumed to be in the grid's.
        path: The file, for messages.
        grid: The grid.

    Raises:
        SceneError: If the CRS cannot be transformed to the grid's, or the grid needs warping.
    """
    return _to_pixels(_to_crs(path, shapes, crs, grid), path, grid)


def _to_crs(path: str, shapes: NDArray[Any], crs: Any, grid: GridOf) -> NDArray[Any]:
    """Transform geometries to the grid's CRS; those without a CRS are assumed to be in it."""
    target = grid.georeference.crs
    if crs is None or target is None:
        return shapes
    import geopandas
    from pyproj.exceptions import ProjError

    try:
        moved = geopandas.GeoSeries(shapes, crs=crs).to_crs(target.to_wkt())
    except ProjError as error:
        raise SceneError(f"{path}: its CRS cannot be transformed to that of {grid.name}: {error}") from error
    return np.asarray(moved.values)


def _to_pixels(shapes: NDArray[Any], path: str, grid: GridOf) -> NDArray[Any]:
    """Transform geometries to pixels; on a grid without a transform x = column, y = -row, as in QGIS."""
    from rasterio.transform import Affine

    if grid.georeference.needs_warp:
        raise SceneError(
            f"{grid.name} has only GCPs or RPCs, so {path} cannot be placed on it; warp it first (gdalwarp)"
        )
    moved: NDArray[Any] = to_pixels(shapes, grid.georeference.transform or Affine.scale(1, -1))
    return moved


def _areal(shapes: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the geometries that have an area and finite coordinates."""
    import shapely

    bounds = shapely.bounds(shapes)
    areal: NDArray[np.bool_] = np.isfinite(bounds).all(axis=1) & (shapely.area(shapes) > 0)
    return areal
