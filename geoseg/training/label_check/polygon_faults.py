"""Find faults of label polygons: invalid, outside the scene, tiny, duplicate, or overlapping.

Everything is measured in pixels of the scene, because training reads polygons as pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.labels.polygons import class_ids_of
from geoseg.labels.values import ValueTable, make_table
from geoseg.raster.pixel_sizes import PixelSizes, measure_pixel_sizes
from geoseg.scene.placing import GridOf, place_polygons
from geoseg.scene.scene import Scene
from geoseg.scene.vector import read_polygons
from geoseg.training.recipe.recipe import Recipe

_AT_ONCE = 20_000
"""Polygons whose neighbours are searched at once, to bound memory."""
_TOUCHES = 1e-6
"""Overlaps below this share of a pixel come from rounded coordinates."""


@dataclass(frozen=True)
class PolygonFaults:
    """Faults of a layer of label polygons; polygons are numbered from 1, as in QGIS.

    Attributes:
        count: Polygons with a class.
        no_area: Rows that are not polygons: no geometry, empty, points, lines.
        unlabelled: Polygons that mean no label.
        invalid: Number of each invalid polygon, and what is wrong with it.
        outside: Numbers of polygons outside the scene.
        tiny: Numbers of polygons smaller than a pixel.
        doubled: Polygons that repeat another one exactly.
        doubled_otherwise: Those of them with another class.
        overlapping: Overlapping pairs of one class.
        contradicting: Overlapping pairs of different classes.
        contradicted: Area in pixels where polygons of different classes overlap; it gets no label.
        contradicted_ha: The same in hectares; None without a CRS.
        first: An example of a pair of different classes; None if there is none.
    """

    count: int
    no_area: int
    unlabelled: int
    invalid: tuple[tuple[int, str], ...]
    outside: tuple[int, ...]
    tiny: tuple[int, ...]
    doubled: int
    doubled_otherwise: int
    overlapping: int
    contradicting: int
    contradicted: float
    contradicted_ha: float | None
    first: tuple[int, int] | None


def find_polygon_faults(path: str, scene: Scene, recipe: Recipe) -> PolygonFaults:
    """Examine label polygons as training would read them.

    Args:
        path: The vector file.
        scene: The scene that they label.
        recipe: The recipe; its ``[label_values]`` say what attributes mean.

    Raises:
        InputError: If the file cannot be read, or an attribute is not a class.
    """
    import shapely

    polygons, settings = read_polygons(path, "labels"), recipe.label_values
    remap = cast("Mapping[int | str, int]", settings.remap) or None

    def table() -> ValueTable:
        return make_table(path, recipe.classes, remap=remap, ignore=settings.ignore)

    _, ids = class_ids_of(polygons, table, settings.column)
    has_class = ids != IGNORE
    number, ids = polygons.rows[has_class], ids[has_class]
    grid = GridOf.of(scene)
    placed = place_polygons(polygons.shapes[has_class], polygons.crs, path, grid)
    touches = grid.touches(placed)
    tiny = touches & (shapely.area(placed) < 1)
    doubled, otherwise = _doubled(placed[touches], ids[touches])
    pairs = _overlaps(placed[touches], ids[touches], scene)
    return PolygonFaults(
        count=number.size,
        no_area=polygons.count - polygons.rows.size,
        unlabelled=int(np.count_nonzero(~has_class)),
        invalid=tuple((row + 1, why) for row, why in polygons.repaired),
        outside=tuple((number[~touches] + 1).tolist()),
        tiny=tuple((number[tiny] + 1).tolist()),
        doubled=doubled,
        doubled_otherwise=otherwise,
        overlapping=pairs.same,
        contradicting=pairs.different,
        contradicted=pairs.pixels,
        contradicted_ha=pairs.hectares,
        first=None if pairs.first is None else _numbers(pairs.first, number[touches]),
    )


def _numbers(pair: tuple[int, int], number: NDArray[np.intp]) -> tuple[int, int]:
    one, other = sorted(int(number[i]) + 1 for i in pair)
    return one, other


def _doubled(shapes: NDArray[Any], ids: NDArray[np.uint8]) -> tuple[int, int]:
    """Count polygons that repeat an earlier one point for point, and those of them with another class."""
    import shapely

    first: dict[bytes, int] = {}
    doubled = otherwise = 0
    for shape, ident in zip(shapely.to_wkb(shapely.normalize(shapes)), ids.tolist(), strict=True):
        known = first.setdefault(shape, ident)
        doubled += 1
        otherwise += known != ident
    return doubled - len(first), otherwise


@dataclass(frozen=True)
class _Pairs:
    """Counts of overlapping polygons."""

    same: int
    different: int
    pixels: float
    hectares: float | None
    first: tuple[int, int] | None


def _overlaps(shapes: NDArray[Any], ids: NDArray[np.uint8], scene: Scene) -> _Pairs:
    """Find overlaps; an area where three polygons overlap counts once."""
    import shapely

    tree = shapely.STRtree(shapes)
    frame = shapely.box(0, 0, scene.shape[1], scene.shape[0])
    same = different = 0
    first: tuple[int, int] | None = None
    pieces: list[NDArray[Any]] = []
    for start in range(0, len(shapes), _AT_ONCE):
        one, other = tree.query(shapes[start : start + _AT_ONCE], predicate="intersects")
        one = one + start
        one, other = one[one < other], other[one < other]
        common = shapely.intersection(shapely.intersection(shapes[one], shapes[other]), frame)
        real = shapely.area(common) > _TOUCHES
        differ = real & (ids[one] != ids[other])
        same, different = (
            same + int(np.count_nonzero(real & ~differ)),
            different + int(np.count_nonzero(differ)),
        )
        pieces.append(common[differ])
        if first is None and differ.any():
            at = int(np.argmax(differ))
            first = int(one[at]), int(other[at])
    if first is None:
        return _Pairs(same, 0, 0.0, None if _pixel_sizes(scene) is None else 0.0, None)
    parts = shapely.get_parts(shapely.union_all(np.concatenate(pieces)))
    return _Pairs(
        same, different, float(shapely.area(parts).sum()), _hectares(parts, _pixel_sizes(scene), scene), first
    )


def _pixel_sizes(scene: Scene) -> PixelSizes | None:
    return measure_pixel_sizes(scene.georeference.crs, scene.georeference.transform, scene.shape)


def _hectares(parts: NDArray[Any], pixel_sizes: PixelSizes | None, scene: Scene) -> float | None:
    """Compute the ellipsoidal area of shapes in pixels: size times the central pixel's area."""
    import shapely

    if pixel_sizes is None:
        return None
    parts = parts[shapely.area(parts) > 0]
    centres = shapely.centroid(parts)
    rows = np.clip(shapely.get_y(centres).astype(int), 0, scene.shape[0] - 1)
    cols = np.clip(shapely.get_x(centres).astype(int), 0, scene.shape[1] - 1)
    sizes = [
        float(pixel_sizes.pixel_areas(row, col, 1, 1)[0, 0])
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True)
    ]
    return float((shapely.area(parts) * np.array(sizes)).sum() * pixel_sizes.area_unit)
