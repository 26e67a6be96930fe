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
_AT_ONCE = 20_000
"""Polygons whose neighbours are searched at once, to bound memory."""


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
    highest, lowest = _draw_both(labels, row, col)
    highest[highest != lowest] = IGNORE
    return highest


def _draw_both(labels: PolygonLabels, row: int, col: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a tile twice: the highest class of each pixel, and the lowest; they differ where polygons do."""
    import shapely
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    found = _tree(labels).query(shapely.box(col, row, col + TILE, row + TILE))

    def burn(order: NDArray[np.intp]) -> NDArray[np.uint8]:
        if not order.size:
            return np.full((TILE, TILE), IGNORE, np.uint8)
        drawn: NDArray[np.uint8] = rasterize(
            [(labels.geometries[i], int(labels.ids[i])) for i in order],
            (TILE, TILE),
            fill=IGNORE,
            transform=Affine.translation(col, row),
            dtype="uint8",
        )
        return drawn

    by_id = found[np.argsort(labels.ids[found], kind="stable")]
    return burn(by_id), burn(by_id[::-1])


def _count_contradicted(labels: PolygonLabels, shape: tuple[int, int]) -> int:
    """Count the pixels that get no label because polygons of different classes hold their centre."""
    import shapely

    tree, touched = _tree(labels), set()
    for start in range(0, len(labels.ids), _AT_ONCE):
        one, other = tree.query(labels.geometries[start : start + _AT_ONCE], predicate="intersects")
        one = one + start
        differ = (one < other) & (labels.ids[one] != labels.ids[other])
        common = shapely.intersection(labels.geometries[one[differ]], labels.geometries[other[differ]])
        for bounds in shapely.bounds(common[shapely.area(common) > 0]):
            left, top, right, bottom = (int(value // TILE) for value in bounds)
            touched |= {(row, col) for row in range(top, bottom + 1) for col in range(left, right + 1)}
    count = 0
    for row, col in touched:
        inside = Window(row * TILE, col * TILE, TILE, TILE).intersection(Window.from_shape(shape))
        if inside is not None:
            highest, lowest = _draw_both(labels, row * TILE, col * TILE)
            count += int(np.count_nonzero((highest != lowest)[: inside.height, : inside.width]))
    return count


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
    import shapely

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
    labels = PolygonLabels(placed[used], ids[used], name, polygons.repaired, assumed)
    contradicted = _count_contradicted(labels, grid.shape)
    if contradicted:
        total = max(contradicted, round(float(shapely.area(labels.geometries).sum())))
        reason, fix = "polygons of different classes overlap there", "cut them back (QGIS: Check geometries)"
        things = "labelled pixels"
        omissions += (Omission("pixels", path, contradicted, total, things, reason, fix, refuses=False),)
    return labels, omissions


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
