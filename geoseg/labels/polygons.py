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
from geoseg.labels.values import ValueTable
from geoseg.names import name_key
from geoseg.omissions import Omission
from geoseg.scene.placing import TILE, GridOf, place_polygons, tiles
from geoseg.scene.vector import VectorPolygons, read_polygons

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
        assumed_crs: Whether the file has no CRS, so that the grid's was assumed.
    """

    geometries: NDArray[Any] = field(repr=False)
    ids: NDArray[np.uint8] = field(repr=False)
    column: str
    reasons: tuple[tuple[int, str], ...] = field(default=(), repr=False)
    assumed_crs: bool = False

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
) -> tuple[PolygonLabels, tuple[Omission, ...]]:
    """Read label polygons and place them on a grid; arguments and errors as in ``open_labels``.

    Returns:
        The polygons, and the rows that are left out: without an area, without a class, beyond the grid.
    """
    polygons = read_polygons(path, "labels")
    name, ids = class_ids_of(polygons, make_table, column)
    placed = place_polygons(polygons.shapes, polygons.crs, path, grid)
    has_class, here = ids != IGNORE, grid.touches(placed)
    used = has_class & here
    if not used.any():
        raise SceneError(
            f"{path} holds no labelled polygon on {grid.name}; check its CRS, coordinates and column {name}"
        )
    unlabelled, beyond = int(np.count_nonzero(~has_class)), int(np.count_nonzero(has_class & ~here))
    omissions = (
        *polygons.omissions,
        *polygons.left_out(unlabelled, f"their {name} is empty or means no label", "label polygons"),
        *polygons.left_out(beyond, f"they lie outside {grid.name}", "label polygons"),
    )
    assumed = polygons.crs is None and grid.georeference.crs is not None
    return PolygonLabels(placed[used], ids[used], name, polygons.repaired, assumed), omissions


def class_ids_of(
    polygons: VectorPolygons, make_table: Callable[[], ValueTable], column: str | None
) -> tuple[str, NDArray[np.uint8]]:
    """Find the column that names the class, and the class id of every polygon, ``IGNORE`` for none."""
    name = find_column(polygons.path, list(polygons.attributes.columns), column)
    table, values = make_table(), polygons.attributes[name]
    meaning = {value: table.id_of_attribute(value) for value in values.dropna().unique()}
    return name, np.array([meaning.get(value, IGNORE) for value in values], np.uint8)


def find_column(path: str, columns: list[str], wanted: str | None) -> str:
    """Find the attribute that names the class.

    Raises:
        SettingsError: If the wanted one is missing, or none has a known name and there are several.
    """
    by_name = {name_key(key): key for key in reversed(columns)}
    if wanted is not None:
        if wanted not in columns and name_key(wanted) not in by_name:
            raise SettingsError(f"{path} has no column {wanted}; it has {', '.join(columns) or 'none'}")
        return wanted if wanted in columns else by_name[name_key(wanted)]
    for name in COLUMNS:
        if name in by_name:
            return by_name[name]
    if len(columns) == 1:
        return columns[0]
    raise SettingsError(
        f"{path} has no column with a known name for the class; name it with --label-column; "
        f"it has {', '.join(columns) or 'none'}"
    )
