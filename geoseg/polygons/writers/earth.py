"""Longitude and latitude of a map, and its zoom levels, for formats that know no other CRS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.pmtiles.vector_tile import TILE_UNITS

if TYPE_CHECKING:
    import pyproj

UNITS_A_PIXEL = 8
"""Least width of a map pixel in the most detailed tiles, in tile units: corners are off by 1/16 pixel."""
MERCATOR_SIDE = 2 * math.pi * 6_378_137.0
"""Side of Web Mercator's square, in metres of EPSG:3857."""
MERCATOR_LATITUDE = 85.0
MAX_ZOOM = 22
LONLAT = "EPSG:4326"
TURN = 360.0
NEAR = 1e-9
"""Share of a turn by which rounded longitudes may exceed it."""


def is_on_earth(crs: Any) -> bool:
    """Tell whether a CRS (anything pyproj understands, or None) leads to longitude and latitude on Earth."""
    import pyproj

    if crs is None or pyproj.CRS.from_user_input(crs).geodetic_crs is None:
        return False
    try:
        pyproj.Transformer.from_crs(crs, LONLAT)
    except pyproj.exceptions.ProjError:  # another planet, or a local grid
        return False
    return True


def zoom_range(table: PolygonTable) -> tuple[int, int]:
    """Choose the zoom levels of web map tiles for a map.

    The lowest level shows the whole map in about one tile. In the highest a pixel is 8 to 16 tile units wide;
    viewers magnify it for higher zooms.

    Args:
        table: Polygons of a map on Earth.

    Returns:
        The lowest and the highest zoom level, 0 to 22.
    """
    across, down, pixel = _in_mercator(table)
    lowest = math.floor(math.log2(MERCATOR_SIDE / max(across, down)))
    highest = math.ceil(math.log2(MERCATOR_SIDE * UNITS_A_PIXEL / TILE_UNITS / pixel))
    highest = min(max(highest, 0), MAX_ZOOM)
    return min(max(lowest, 0), highest), highest


def lonlat_bounds(table: PolygonTable) -> tuple[float, float, float, float]:
    """Return the bounding box of a map in degrees: (west, south, east, north).

    West is at most east, which is beyond 180 if the map lies across the antimeridian.
    """
    west, south, east, north = _to_lonlat(table).transform_bounds(*_box(table))
    if west > east:
        east += TURN
    # A CRS in degrees may be in another turn, and its bounds rounded.
    turns = math.floor((west + TURN / 2) / TURN + NEAR) * TURN
    return west - turns, south, east - turns, north


def is_across(bounds: tuple[float, float, float, float]) -> bool:
    """Tell whether a map with these bounds lies across the antimeridian."""
    return bounds[2] / TURN > 0.5 + NEAR


def _in_mercator(table: PolygonTable) -> tuple[float, float, float]:
    """Measure a map's width, height and shorter side of its middle pixel in metres of Web Mercator."""
    west, south, east, north = lonlat_bounds(table)
    across = MERCATOR_SIDE * (east - west) / TURN
    down = _northing(north) - _northing(south)
    t = table.polygons.transform
    left, bottom, right, top = _box(table)
    x, y = (left + right) / 2, (bottom + top) / 2
    lon, lat = _to_lonlat(table).transform([x, x + t.a, x + t.b], [y, y + t.d, y + t.e])
    sides = [
        math.hypot(
            MERCATOR_SIDE * math.remainder(lon[i] - lon[0], TURN) / TURN,
            _northing(lat[i]) - _northing(lat[0]),
        )
        for i in (1, 2)
    ]
    pixel = min((side for side in sides if side > 0 and math.isfinite(side)), default=1.0)
    return max(across, pixel), max(down, pixel), pixel


def _northing(latitude: float) -> float:
    """Compute Web Mercator's y of a latitude, which is clipped to 85 degrees."""
    phi = math.radians(max(min(latitude, MERCATOR_LATITUDE), -MERCATOR_LATITUDE))
    return MERCATOR_SIDE / (2 * math.pi) * math.asinh(math.tan(phi))


def _box(table: PolygonTable) -> tuple[float, float, float, float]:
    """Return the raster's bounding box in the map's CRS; without its shape, that of the polygons."""
    shape, t = table.polygons.shape, table.polygons.transform
    if shape is None:
        return table.polygons.bounds() or (t.c, t.f, t.c + t.a, t.f + t.e)
    corners = [t @ corner for corner in ((0, 0), (shape[1], 0), (0, shape[0]), (shape[1], shape[0]))]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _to_lonlat(table: PolygonTable) -> pyproj.Transformer:
    import pyproj

    return pyproj.Transformer.from_crs(table.crs, LONLAT, always_xy=True)
