"""Longitudes from -180 to 180, as GeoJSON wants them: polygons are cut where they cross the antimeridian.

GDAL cuts too, but leaves degrees as they are, misplaces some pixels at 180 degrees, and knows no poles.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.writers.earth import NEAR, TURN

if TYPE_CHECKING:
    import pyproj

DECIMALS = 7
"""Decimals of a degree that GeoJSON has: 1 cm."""
_POLE = 90.0
_AT_POLE = 1e-9
"""Degrees from a pole below which a longitude says nothing."""


def antimeridian(crs: pyproj.CRS) -> tuple[float, float]:
    """Return where a geographic CRS has the antimeridian in the west, and a full turn, in its unit."""
    turn = 2 * math.pi / crs.axis_info[0].unit_conversion_factor
    zero = crs.prime_meridian
    east = 0.0 if zero is None else zero.longitude * zero.unit_conversion_factor / (2 * math.pi) * turn
    return -turn / 2 - east, turn


def cut_degrees(shapes: NDArray[np.object_], west: float = -TURN / 2, turn: float = TURN) -> None:
    """Bring polygons of a geographic CRS into one turn, in place, cut in two where they lie across.

    Args:
        shapes: Shapely geometries.
        west: The antimeridian in the west.
        turn: A full turn in the CRS's unit.
    """
    import shapely

    left, bottom, right, top = shapely.bounds(shapes).T
    first, last = np.floor((left - west) / turn + NEAR), np.ceil((right - west) / turn - NEAR) - 1
    pole = turn / 4 * (1 + NEAR)
    for row in np.flatnonzero((first != 0) | (last != 0) | (bottom < -pole) | (top > pole)):
        parts = []
        for number in range(int(first[row]), int(last[row]) + 1):
            begin = west + number * turn
            part = shapely.intersection(shapes[row], shapely.box(begin, -turn / 4, begin + turn, turn / 4))
            parts.append(_moved(part, -number * turn))
        found = shapely.get_parts(shapely.union_all(parts) if len(parts) > 1 else parts[0])
        found = found[shapely.get_dimensions(found) == 2]
        shapes[row] = found[0] if found.size == 1 else shapely.multipolygons(found)


def on_lonlat(shapes: NDArray[np.object_], to: pyproj.Transformer, longest: float | None) -> None:
    """Project polygons to longitude and latitude, in place, across the antimeridian and around the poles.

    Args:
        shapes: Shapely polygons in a projected CRS.
        to: Projects to longitude and latitude.
        longest: Length above which sides get more vertices, or None: near a pole, what is straight on the map
            is not so in degrees.
    """
    import shapely

    if longest is not None:
        shapes[:] = shapely.segmentize(shapes, longest)
    for row, shape in enumerate(shapes):
        outer, *inner = (
            _as_polygon(np.array(ring.coords), to) for ring in (shape.exterior, *shape.interiors)
        )
        for hole in inner:
            for turns in (-TURN, 0.0, TURN):  # a hole may have begun in another turn than the ring around it
                outer = shapely.difference(outer, _moved(hole, turns))
        shapes[row] = outer
    cut_degrees(shapes)
    rounded = shapely.set_precision(shapes, 10.0**-DECIMALS)  # as it is written, and still valid
    shapes[:] = np.where(shapely.is_empty(rounded), shapes, rounded)


def _as_polygon(ring: NDArray[np.float64], to: pyproj.Transformer) -> Any:
    """Return what a closed ring holds, in longitudes that go on beyond 180 and latitudes up to the poles."""
    import shapely

    if not shapely.is_ccw(shapely.linearrings(ring)):
        ring = ring[::-1]
    lons, lats = to.transform(ring[:-1, 0], ring[:-1, 1])
    begin = int(np.argmin(np.abs(lats)))  # no pole
    lons, lats = (np.append(values[begin:], values[: begin + 1]) for values in (lons, lats))
    points = [(lons[0], lats[0])]
    at_pole = 0.0
    for lon, lat in zip(lons[1:], lats[1:], strict=True):
        if abs(lat) > _POLE - _AT_POLE:
            at_pole = math.copysign(_POLE, lat)
            continue
        last = points[-1][0]
        step = math.remainder(lon - last, TURN)
        if at_pole:  # what lies to the left of the ring is inside, so its angle at the pole is known
            step = -((last - lon) % TURN) if at_pole > 0 else (lon - last) % TURN
            points += [(last, at_pole), (last + step, at_pole)]
            at_pole = 0.0
        points.append((last + step, lat))
    winding = points[-1][0] - points[0][0]
    if abs(winding) > TURN / 2:  # around a pole: the north pole if it runs eastwards
        pole = math.copysign(_POLE, winding)
        points += [(points[-1][0], pole), (points[0][0], pole)]
    return shapely.make_valid(shapely.Polygon(points))


def _moved(shape: Any, by: float) -> Any:
    import shapely

    return shapely.transform(shape, lambda points: points + np.array([by, 0.0]))
