"""Georeferencing of a raster: CRS, transform, GCPs and RPCs; ground size of pixels; comparison of grids."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine, GCPTransformer, RPCTransformer

from geoseg.errors import SceneError
from geoseg.raster.pixel_sizes import ellipsoidal_space
from geoseg.raster.source import GDAL_ERRORS

_WGS84 = "EPSG:4326"
_TOLERANCE = 0.01
"""Pixels by which the corners of rasters on one grid may differ, because headers are rounded."""
_NEAR = 1e-3
"""Metres by which two definitions of one CRS may differ, because their parameters are rounded."""

_SPREAD = 25
"""Places a side of those that stand for all of a scene; an odd number, so that one is its centre."""


@dataclass(frozen=True)
class Georeference:
    """The georeferencing of a file, unchanged, so that an output can have the identical one.

    Attributes:
        crs: Coordinate reference system, or None.
        transform: Affine from (column, row) to (x, y), or None where the file has none.
        gcps: Ground control points (rasterio ``GroundControlPoint``); empty where the file has none.
        gcps_crs: Coordinate reference system of the ground control points.
        rpcs: Rational polynomial coefficients (rasterio ``RPC``), or None.
        area_or_point: ``"Area"`` or ``"Point"``: the file's pixel convention; None if it has none.
    """

    crs: CRS | None = None
    transform: Affine | None = None
    gcps: tuple[Any, ...] = ()
    gcps_crs: CRS | None = None
    rpcs: Any | None = None
    area_or_point: str | None = None

    @classmethod
    def of(cls, dataset: Any) -> Georeference:
        """Read the georeferencing of an open rasterio dataset."""
        gcps, gcps_crs = dataset.gcps
        transform = dataset.transform
        return cls(
            crs=dataset.crs or None,
            transform=None if transform == Affine.identity() else transform,
            gcps=tuple(gcps),
            gcps_crs=gcps_crs or None,
            rpcs=dataset.rpcs,
            area_or_point=dataset.tags().get("AREA_OR_POINT"),
        )

    @property
    def ground_crs(self) -> CRS | None:
        """The CRS in which pixels are placed: the file's own, else that of its GCPs, else WGS 84 for RPCs."""
        if self.transform is not None:
            return self.crs
        if self.gcps:
            return self.gcps_crs
        return CRS.from_user_input(_WGS84) if self.rpcs is not None else self.crs

    @property
    def map_crs(self) -> CRS | None:
        """The CRS of the coordinates that the transform gives; None without one, whatever the file says."""
        return self.crs if self.transform is not None else None

    @property
    def is_geographic(self) -> bool:
        """Whether pixels are placed in degrees."""
        crs = self.ground_crs
        return bool(crs is not None and crs.is_geographic)

    @property
    def needs_warp(self) -> bool:
        """Whether only ground control points or RPCs place the pixels."""
        return self.transform is None and (bool(self.gcps) or self.rpcs is not None)

    @property
    def is_north_up(self) -> bool:
        """Whether rows run along x, and the first row is the northernmost."""
        t = self.transform
        return t is not None and t.b == 0 and t.d == 0 and t.a > 0 and t.e < 0

    def pixel_size(self, shape: tuple[int, int]) -> tuple[float, float] | None:
        """Measure the height and width in metres of the pixel at the scene's centre, on the ellipsoid.

        Transform the ends of the pixel's two middle lines to longitude and latitude, and compute their
        geodesic distance (Karney 2013, through pyproj). So degrees, feet and projections that stretch the
        ground (Web Mercator) all give metres.

        Args:
            shape: (rows, columns) of the scene.

        Returns:
            (height, width), or None without a CRS that is tied to the Earth.
        """
        row, col = shape[0] / 2, shape[1] / 2
        points = self._on_ground([row - 0.5, row + 0.5, row, row], [col, col, col - 0.5, col + 0.5])
        return None if points is None else (_distance(*points[:2]), _distance(*points[2:]))

    def centre(self, shape: tuple[int, int]) -> tuple[float, float] | None:
        """Return (longitude, latitude) of the centre of a scene of ``shape``; None if unknown."""
        points = self._on_ground([shape[0] / 2], [shape[1] / 2])
        return None if points is None else points[0]

    def gsd(self, shape: tuple[int, int]) -> float | None:
        """Return the ground sampling distance at the scene's centre, in metres; None if unknown.

        It is the geometric mean of a pixel's height and width.
        """
        size = self.pixel_size(shape)
        return math.sqrt(size[0] * size[1]) if size else None

    def spread(self, shape: tuple[int, int]) -> NDArray[np.float64] | None:
        """Return places spread evenly over the pixels of a scene of ``shape``, its centre in the middle.

        Returns:
            Longitude and latitude, (places, 2), NaN where a pixel lies nowhere on the Earth; None if unknown.
        """
        shares = (np.arange(_SPREAD) + 0.5) / _SPREAD
        rows, cols = np.meshgrid(shares * shape[0], shares * shape[1], indexing="ij")
        return self._locate(rows.ravel().tolist(), cols.ravel().tolist())

    def _on_ground(self, rows: list[float], cols: list[float]) -> list[tuple[float, float]] | None:
        """Return (longitude, latitude) of points in pixels; None if one of them is unknown."""
        places = self._locate(rows, cols)
        if places is None or not np.isfinite(places).all():
            return None
        return [(lon, lat) for lon, lat in places.tolist()]

    def _locate(self, rows: list[float], cols: list[float]) -> NDArray[np.float64] | None:
        """Return longitude and latitude, (points, 2), of points in pixels from the upper left corner."""
        crs = self.ground_crs
        if crs is None or (self.transform is None and not self.needs_warp):
            return None
        from pyproj import Transformer
        from pyproj.exceptions import ProjError

        try:
            if self.transform is not None:
                t, points = self.transform, list(zip(rows, cols, strict=True))
                xs = [t.a * col + t.b * row + t.c for row, col in points]
                ys = [t.d * col + t.e * row + t.f for row, col in points]
            else:
                with GCPTransformer(self.gcps) if self.gcps else RPCTransformer(self.rpcs) as transformer:
                    xs, ys = transformer.xy(rows, cols, offset="ul")
            to_ground = Transformer.from_crs(crs.to_wkt(), _WGS84, always_xy=True)
            lons, lats = to_ground.transform(list(xs), list(ys))
        except (*GDAL_ERRORS, ProjError, ValueError):
            return None
        places = np.array([lons, lats], np.float64).T
        places[~np.isfinite(places).all(1)] = np.nan
        return places

    def cut(self, row: int, col: int) -> Georeference:
        """Return the georeferencing of a raster whose first pixel is a given pixel of this one.

        Args:
            row: The pixel's row; may be negative.
            col: The pixel's column; may be negative.
        """
        t, rpcs = self.transform, self.rpcs
        if t is not None:
            t = Affine(t.a, t.b, t.a * col + t.b * row + t.c, t.d, t.e, t.d * col + t.e * row + t.f)
        if rpcs is not None:
            moved = {"line_off": rpcs.line_off - row, "samp_off": rpcs.samp_off - col}
            rpcs = type(rpcs)(**(rpcs.to_dict() | moved))
        gcps = tuple(
            GroundControlPoint(p.row - row, p.col - col, p.x, p.y, p.z, p.id, p.info) for p in self.gcps
        )
        return replace(self, transform=t, gcps=gcps, rpcs=rpcs)


def same_crs(one: Any, other: Any) -> bool:
    """Tell whether two CRSs place all coordinates alike, as one and its copy in a file should.

    Heights are no matter. Definitions that differ are compared by what they do to points all over the globe,
    up to a millimetre.

    Args:
        one: A CRS, anything pyproj understands, or None.
        other: Another CRS, or None.
    """
    if one is None or other is None:
        return one is other
    import pyproj

    try:
        first, second = (pyproj.CRS.from_user_input(crs).to_2d() for crs in (one, other))
        if first == second:
            return True
        here, there = ellipsoidal_space(first), ellipsoidal_space(second)
        if here is None or there is None:
            return here is there and _axis_units(first) == _axis_units(second)
        base = first.geodetic_crs.to_2d()
        degree = math.radians(1) / base.axis_info[0].unit_conversion_factor
        lons, lats = np.meshgrid(np.arange(-179.5, 180, 5) * degree, np.arange(-89.5, 90, 5) * degree)
        xs, ys = pyproj.Transformer.from_crs(base, first, always_xy=True).transform(
            lons.ravel(), lats.ravel()
        )
        known = np.isfinite(xs) & np.isfinite(ys)
        places, others = (locate(xs[known], ys[known]) for locate in (here[0], there[0]))
    except pyproj.exceptions.ProjError:
        return False
    meridians = [math.remainder(_meridian(crs), 360) for crs in (first, second)]
    # Where the first cannot find its own points again, far outside its domain, nothing can be compared.
    near = np.abs(places - others)[np.isfinite(places)] <= _NEAR
    return bool(near.all()) and math.isclose(*meridians, abs_tol=1e-9)


def _axis_units(crs: Any) -> list[float]:
    return [axis.unit_conversion_factor for axis in crs.axis_info]


def _meridian(crs: Any) -> float:
    """Return the prime meridian in degrees east of Greenwich, or of another globe's own origin."""
    found = crs.prime_meridian
    return 0.0 if found is None else math.degrees(found.longitude * found.unit_conversion_factor)


def same_transform(one: Affine | None, other: Affine | None, shape: tuple[int, int]) -> bool:
    """Tell whether two transforms place a raster alike, up to a hundredth of a pixel.

    Args:
        one: A transform, or None.
        other: Another transform, or None.
        shape: Rows and columns of the raster.
    """
    if one is None or other is None:
        return one is other
    pixel = max(abs(one.a), abs(one.b), abs(one.d), abs(one.e))
    corners = ((0, 0), (shape[1], 0), (0, shape[0]))
    pairs = zip((_at(one, *c) for c in corners), (_at(other, *c) for c in corners), strict=True)
    return all(max(abs(x - u), abs(y - v)) <= _TOLERANCE * pixel for (x, y), (u, v) in pairs)


def require_same_grid(classes: Any, other: Any) -> None:
    """Refuse a raster that does not lie on the grid of the class map.

    Args:
        classes: The class map, an open rasterio dataset.
        other: The other raster, an open rasterio dataset.

    Raises:
        SceneError: If its shape, CRS or transform differs.
    """
    if other.shape != classes.shape:
        raise SceneError(
            f"{other.name} has {other.height} x {other.width} pixels, {classes.name} {classes.height} x "
            f"{classes.width} (rows x columns); give the raster of the same run"
        )
    same_crs = not (classes.crs and other.crs) or classes.crs == other.crs
    if not same_crs or not same_transform(classes.transform, other.transform, classes.shape):
        raise SceneError(
            f"{other.name} does not lie on the grid of {classes.name}; give the raster of the same run"
        )


def corner_on(grid: Affine, shape: tuple[int, int], other: Affine) -> tuple[int, int] | None:
    """Find the row and column of a raster's first pixel on the grid of another raster.

    Args:
        grid: Transform of the grid.
        shape: Rows and columns of the raster.
        other: Transform of the raster.

    Returns:
        (row, column), which may be negative; None if the raster's pixels are not pixels of the grid.
    """
    if grid.determinant == 0:
        return None
    to_grid = ~grid
    left, top = _at(to_grid, *_at(other, 0, 0))
    row, column = round(top), round(left)
    expected = ((0, 0), (shape[1], 0), (0, shape[0]))
    places = (_at(to_grid, *_at(other, *corner)) for corner in expected)
    off = (
        max(abs(x - column - u), abs(y - row - v)) for (x, y), (u, v) in zip(places, expected, strict=True)
    )
    return (row, column) if max(off) <= _TOLERANCE else None


def _at(transform: Affine, column: float, row: float) -> tuple[float, float]:
    return (
        column * transform.a + row * transform.b + transform.c,
        column * transform.d + row * transform.e + transform.f,
    )


def _distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    from pyproj import Geod

    return float(Geod(ellps="WGS84").inv(*a, *b)[2])
