"""Place polygons of any CRS on a raster grid, in pixels, and draw them tile by tile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.raster.georeference import Georeference
from geoseg.scene.vector import area_of

if TYPE_CHECKING:
    from geoseg.scene.scene import Scene

TILE = 1024
"""Side in pixels of the fixed tiles in which polygons are rasterised, so that a pixel whose centre lies on an
edge gets the same value whatever window is read."""
_TURN, _LONG, _STEP = 360.0, 5.0, 0.1
"""Degrees of a turn; an edge longer than the second is straight in longitude and latitude and curved in a
projection, so it is cut into pieces of the third."""
_NO_DEGREES = 100 * _TURN
"""An edge longer than this has no meaning in degrees."""


@dataclass(frozen=True)
class GridOf:
    """The grid on which polygons and labels are placed.

    Attributes:
        name: The file it comes from, for messages.
        shape: (rows, columns).
        georeference: Its CRS and transform.
    """

    name: str
    shape: tuple[int, int]
    georeference: Georeference

    @classmethod
    def of(cls, scene: Scene) -> GridOf:
        """The grid of a scene."""
        return cls(scene.paths[0], scene.shape, scene.georeference)

    @property
    def transform(self) -> Any:
        """Pixel to CRS; without one x = column and y = -row, as QGIS draws such an image."""
        from rasterio.transform import Affine

        return self.georeference.transform or Affine.scale(1, -1)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Least x and y, largest x and y of its corners."""
        rows, cols = self.shape
        corners = [self.transform * corner for corner in ((0, 0), (cols, 0), (0, rows), (cols, rows))]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def touches(self, placed: NDArray[Any]) -> NDArray[np.bool_]:
        """Mark placed polygons whose bounding box reaches into the grid."""
        import shapely

        left, top, right, bottom = shapely.bounds(placed).T
        with np.errstate(invalid="ignore"):  # what lies outside the CRS's domain has no bounds
            inside: NDArray[np.bool_] = (
                (left < self.shape[1]) & (right > 0) & (top < self.shape[0]) & (bottom > 0)
            )
        return inside


def place_polygons(shapes: NDArray[Any], crs: Any, path: str, grid: GridOf) -> NDArray[Any]:
    """Transform polygons to pixels of a grid: x = column and y = row from its upper left corner.

    In degrees, polygons are brought to the grid's turn of 360, so that -179.9 and 180.1 are one place.

    Args:
        shapes: Valid polygons of a file.
        crs: Their CRS; without one they are assumed to be in the grid's.
        path: The file, for messages.
        grid: The grid.

    Returns:
        As many geometries; None outside the domain of the grid's CRS.

    Raises:
        SceneError: If the CRS cannot be transformed to the grid's, or the grid needs warping.
    """
    if grid.georeference.needs_warp:
        raise SceneError(
            f"{grid.name} has only GCPs or RPCs, so {path} cannot be placed on it; warp it first (gdalwarp)"
        )
    target = grid.georeference.crs
    if crs is not None and target is not None:
        from pyproj.exceptions import ProjError

        try:
            shapes = _to_crs(shapes, crs, target, path, grid)
        except ProjError as error:
            raise SceneError(
                f"{path}: its CRS cannot be transformed to that of {grid.name}: {error}"
            ) from error
    if target is not None and target.is_geographic:
        turn = round(math.tau / target.units_factor[1], 9)
        is_projected = crs is not None and not crs.is_geographic
        shapes = _to_turn(shapes, turn, path, grid, is_projected=is_projected)
    placed: NDArray[Any] = to_pixels(shapes, grid.transform)
    return placed


def _to_crs(shapes: NDArray[Any], crs: Any, target: Any, path: str, grid: GridOf) -> NDArray[Any]:
    """Transform polygons from one CRS to the grid's."""
    import geopandas
    import shapely

    wkt = target.to_wkt()
    if crs.is_geographic and not target.is_geographic:
        shapes = _of_large_ones(shapes, crs, path, grid)

    def moved(these: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(geopandas.GeoSeries(these, crs=crs).to_crs(wkt).values, object)

    placed = moved(shapes)
    beyond = np.flatnonzero(~np.isfinite(shapely.bounds(placed)).all(axis=1))
    if beyond.size:  # of a country or a continent, the part around the grid is in the domain of its CRS
        placed[beyond] = moved(_cut(shapes[beyond], crs, grid))
        lost = ~np.isfinite(shapely.bounds(placed[beyond])).all(axis=1)
        placed[beyond[lost]] = None
    return placed


def _of_large_ones(shapes: NDArray[Any], crs: Any, path: str, grid: GridOf) -> NDArray[Any]:
    """Reduce polygons of many degrees to what lies around the grid, with their long edges in short pieces."""
    import shapely

    left, bottom, right, top = shapely.bounds(shapes).T
    large = np.flatnonzero(np.fmax(right - left, top - bottom) > _LONG)
    if not large.size:
        return shapes
    shapes, edges = shapes.copy(), _longest_edges(shapes[large])
    if (edges > _NO_DEGREES).any():
        raise SceneError(
            f"{path}: has an edge of {edges.max():.3g} degrees, so its coordinates are none; check its CRS"
        )
    if _is_across(grid):
        for i in large[(edges > _TURN / 2) & (edges < _TURN)]:
            shapes[i] = _unwrapped(shapes[i], _TURN, path, grid)
    long = large[edges > _LONG]
    shapes[long] = shapely.segmentize(shapes[long], _STEP)
    shapes[large] = _cut(shapes[large], crs, grid)
    return shapes


def _cut(shapes: NDArray[Any], crs: Any, grid: GridOf) -> NDArray[Any]:
    """Cut polygons at the grid's surroundings, where these are known."""
    import shapely

    near = _surroundings(crs, grid)
    if near is None:
        return shapes
    cut: NDArray[Any] = shapely.intersection(shapes, near)
    for i in np.flatnonzero(shapely.get_type_id(cut) == shapely.GeometryType.GEOMETRYCOLLECTION):
        cut[i] = area_of(cut[i])
    return cut


def _is_across(grid: GridOf) -> bool:
    """Tell whether a grid lies on the antimeridian's side of the Earth, all of it.

    Only there a polygon that seems to go round the Earth is read as one that crosses the antimeridian.
    """
    rows, cols = grid.shape
    places = [grid.georeference.cut(rows // 2, cols * quarter // 4).centre((0, 0)) for quarter in range(5)]
    return all(place is not None and 90 < place[0] % _TURN < 270 for place in places)


def _surroundings(crs: Any, grid: GridOf) -> Any:
    """The grid's bounding box and a margin of its size in another CRS; None where it cannot be known."""
    import shapely
    from pyproj import Transformer
    from shapely import affinity

    target = grid.georeference.crs
    assert target is not None  # or nothing is transformed
    to_other = Transformer.from_crs(target.to_wkt(), crs, always_xy=True)
    left, bottom, right, top = to_other.transform_bounds(*grid.bounds, densify_pts=21)
    if not np.isfinite([left, bottom, right, top]).all():
        return None
    if left > right:  # across the antimeridian
        right += _TURN
    wide, high = right - left, top - bottom
    box = shapely.box(left - wide, bottom - high, right + wide, top + high)
    if not crs.is_geographic:
        return box
    return shapely.union_all([affinity.translate(box, turn) for turn in (-_TURN, 0, _TURN)])


def _longest_edges(shapes: NDArray[Any]) -> NDArray[np.float64]:
    """Measure the longest edge of each polygon along x or y."""
    import shapely

    parts, owner = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    longest = np.zeros(len(shapes))
    lengths = np.abs(np.diff(points, axis=0)).max(axis=1, initial=0)
    lengths[np.diff(ring) != 0] = 0  # from one ring to the next
    np.maximum.at(longest, owner[part[ring[1:]]], lengths)
    return longest


def _to_turn(
    shapes: NDArray[Any], turn: float, path: str, grid: GridOf, *, is_projected: bool
) -> NDArray[Any]:
    """Bring polygons in degrees to the grid's turn of 360 degrees; what lies in two turns gets two parts."""
    import shapely
    from shapely import affinity

    west, _, east, _ = grid.bounds
    shapes = shapes.copy()
    left, _, right, _ = shapely.bounds(shapes).T
    if is_projected or _is_across(grid):
        wide = np.flatnonzero(right - left > turn / 2)
        edges = _longest_edges(shapes[wide])
        for i in wide[(edges > turn / 2) & (edges < turn)]:
            shapes[i] = _unwrapped(shapes[i], turn, path, grid)
        left, _, right, _ = shapely.bounds(shapes).T
    with np.errstate(invalid="ignore"):
        shifts = {n: (left + n * turn < east) & (right + n * turn > west) for n in range(-3, 4)}
    moved = np.any([hits for n, hits in shifts.items() if n], axis=0)
    for i in np.flatnonzero(moved):
        copies = [affinity.translate(shapes[i], n * turn) for n, hits in shifts.items() if hits[i]]
        parts = shapely.get_parts(copies)
        x = shapely.bounds(parts)
        shapes[i] = shapely.union_all(parts[(x[:, 0] < east) & (x[:, 2] > west)])
    return shapes


def _unwrapped(shape: Any, turn: float, path: str, grid: GridOf) -> Any:
    """Draw a polygon that jumps from one end of the turn to the other beyond the end instead."""
    import shapely

    polygons = []
    for part in shapely.get_parts([shape]):
        rings: list[NDArray[np.float64]] = []
        for ring in shapely.get_rings([part]):
            points = shapely.get_coordinates(ring)
            x = np.unwrap(points[:, 0], period=turn)
            if not math.isclose(x[0], x[-1], abs_tol=turn / 1000):
                raise SceneError(
                    f"{path}: a polygon holds a pole, which cannot be drawn in the degrees of {grid.name}; "
                    "cut it (QGIS: Clip), or warp the scene to a polar projection"
                )
            if rings:  # a hole lies in the turn of its polygon
                x += turn * np.rint((rings[0][:, 0].mean() - x.mean()) / turn)
            rings.append(np.column_stack([x, points[:, 1]]))
        polygons.append(shapely.Polygon(rings[0], rings[1:]))
    return shapely.union_all(shapely.make_valid(polygons))


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
