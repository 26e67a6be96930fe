"""Areas and lengths of pixels on the ellipsoid, rounded so that they add up exactly.

A map projection stretches the ground by a factor that changes slowly. It is computed on a coarse lattice, at
most 10 km or 0.1 degrees apart, and interpolated in between. At each lattice point the derivatives of the
position in space (X, Y, Z) with respect to row and column are taken by central differences, along pixel ->
longitude, latitude -> X, Y, Z; the antimeridian and the poles need no special care. The lengths of the two
derivatives are those of a pixel's sides, the length of their cross product is its area.

Sizes are rounded once, to whole multiples of a power of two, so that sums are exact in any order and do not
depend on how a raster is cut into blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from affine import Affine

_SPACING_METRES = 10_000.0
_SPACING_DEGREES = 0.1
_MAX_LATTICE = 2048
"""Most lattice points along an axis; only rasters wider than 20,000 km or 200 degrees reach it."""
_BITS = 24
"""A pixel's area is a whole number below 2^24: a sum over 2^29 pixels is still exact in float64."""
_LONG_LINE = 64.0
"""Length in pixels above which lines are integrated by Simpson's rule instead of the midpoint rule."""
_PORTION = 2**18
"""Lines processed at once."""
HECTARE = 10_000.0


@dataclass(frozen=True, slots=True, eq=False)
class PixelSizes:
    """Sizes of the pixels of one raster.

    Attributes:
        step: Pixels between two lattice points, a power of two.
        corner: Row and column of the first lattice point, in pixels of the raster; may be negative.
        areas: Area of a pixel at the lattice points, in ``area_unit``, float64 (lattice rows, columns).
        along_columns: Length of a pixel's upper side, in ``length_unit``.
        along_rows: Length of a pixel's left side, in ``length_unit``.
        area_unit: Unit of areas in hectares, a power of two.
        length_unit: Unit of lengths in metres, a power of two.
        skew: Dot product of a pixel's upper and left sides, in ``length_unit`` squared.
    """

    step: int
    corner: tuple[int, int]
    areas: NDArray[np.float64]
    along_columns: NDArray[np.float64]
    along_rows: NDArray[np.float64]
    area_unit: float
    length_unit: float
    skew: NDArray[np.float64]

    def pixel_areas(self, row: int, column: int, height: int, width: int) -> NDArray[np.float64]:
        """Return the area of every pixel of a window.

        Args:
            row: First row of the window.
            column: First column.
            height: Rows.
            width: Columns.

        Returns:
            Whole numbers of ``area_unit``, float64 (height, width); 0 outside the CRS's domain.
        """
        across, u = self.locate(np.arange(column, column + width) + 0.5, 1)
        down, t = self.locate(np.arange(row, row + height) + 0.5, 0)
        first = int(down[0])
        lines = self.areas[first : int(down[-1]) + 2]
        lines = lines[:, across] * (1.0 - u) + lines[:, across + 1] * u
        areas = np.empty((height, width))
        for i in range(lines.shape[0] - 1):
            band = slice(*np.searchsorted(down, [first + i, first + i + 1]))
            np.multiply((lines[i + 1] - lines[i])[None, :], t[band, None], out=areas[band])
            areas[band] += lines[i]
            np.rint(areas[band], out=areas[band])
        return np.nan_to_num(areas, copy=False) if np.isnan(lines).any() else areas

    def side_lengths(
        self,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        tails: NDArray[np.int32],
        heads: NDArray[np.int32],
    ) -> NDArray[np.int64]:
        """Measure straight lines along rows or columns between pixel corners.

        Args:
            rows: Rows of corners.
            columns: Their columns.
            tails: Index of the corner where each line begins.
            heads: Index of the corner where it ends.

        Returns:
            Whole numbers of ``length_unit``, int64; the same in both directions.
        """
        lengths = np.empty(tails.size, dtype=np.int64)
        for start in range(0, tails.size, _PORTION):  # bounds the memory of temporary arrays
            part = slice(start, start + _PORTION)
            tail, head = tails[part], heads[part]
            lengths[part] = self._side_lengths(rows[tail], columns[tail], rows[head], columns[head])
        return lengths

    def ellipsoidal_lengths(
        self, tails: NDArray[np.float64], heads: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Measure on the ellipsoid lines that are straight on the map, in any direction.

        Args:
            tails: Row and column of the beginning of each line, in pixels, float64 (lines, 2).
            heads: Row and column of its end.

        Returns:
            Whole numbers of ``length_unit``, int64; the same in both directions.
        """
        lengths = np.empty(len(tails), dtype=np.int64)
        for start in range(0, len(tails), _PORTION):
            tail, head = tails[start : start + _PORTION], heads[start : start + _PORTION]
            way = head - tail
            length = self._step_lengths(way, (tail + head) * 0.5)
            far = np.flatnonzero(np.maximum(np.abs(way[:, 0]), np.abs(way[:, 1])) > _LONG_LINE)
            if far.size:
                one, other = self._step_lengths(way[far], tail[far]), self._step_lengths(way[far], head[far])
                length[far] = (one + other + 4.0 * length[far]) / 6.0
            lengths[start : start + _PORTION] = np.nan_to_num(np.rint(length))
        return lengths

    def metres_at(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the lengths of a pixel's left and upper sides at some positions, in metres.

        Args:
            positions: Row and column in pixels, float64 (positions, 2).

        Returns:
            float64 (positions, 2); 1 outside the CRS's domain.
        """
        at = _LatticePlaces(self, positions)
        sides = [at.interpolate(lattice) for lattice in (self.along_rows, self.along_columns)]
        metres: NDArray[np.float64] = np.stack(sides, axis=1) * self.length_unit
        return np.where(np.isfinite(metres) & (metres > 0), metres, 1.0)

    def _side_lengths(
        self,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        to_rows: NDArray[np.int32],
        to_columns: NDArray[np.int32],
    ) -> NDArray[np.float64]:
        span = np.abs(to_rows - rows) + np.abs(to_columns - columns)
        level = to_rows == rows
        length = self._side_at(level, (rows + to_rows) * 0.5, (columns + to_columns) * 0.5)
        far = np.flatnonzero(span > _LONG_LINE)
        if far.size:
            one = self._side_at(level[far], rows[far] * 1.0, columns[far] * 1.0)
            other = self._side_at(level[far], to_rows[far] * 1.0, to_columns[far] * 1.0)
            length[far] = (one + other + 4.0 * length[far]) / 6.0
        length *= span
        return np.nan_to_num(np.rint(length, out=length), copy=False)

    def _side_at(
        self, level: NDArray[np.bool_], rows: NDArray[np.floating], columns: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Interpolate the length of a pixel's side: the upper side where ``level``, else the left one."""
        i, t = self.locate(rows, 0)
        j, u = self.locate(columns, 1)
        width = self.areas.shape[1]
        both = np.concatenate([self.along_rows.ravel(), self.along_columns.ravel()])
        at = i * width + j + level * self.areas.size
        upper: NDArray[np.float64] = both[at] * (1.0 - u) + both[at + 1] * u
        at += width
        lower: NDArray[np.float64] = both[at] * (1.0 - u) + both[at + 1] * u
        return upper * (1.0 - t) + lower * t

    def _step_lengths(self, way: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Measure steps in any direction, with the pixel size at the given positions."""
        at = _LatticePlaces(self, positions)
        down = way[:, 0] * at.interpolate(self.along_rows)
        across = way[:, 1] * at.interpolate(self.along_columns)
        skew = 2.0 * way[:, 0] * way[:, 1] * at.interpolate(self.skew)
        return np.sqrt(np.maximum(down * down + across * across + skew, 0.0))

    def locate(
        self, position: NDArray[np.floating], axis: int
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Find the lattice cell of positions along an axis, and the fraction (0 to 1) inside the cell."""
        cells = (position - self.corner[axis]) / self.step
        index = np.minimum(cells.astype(np.intp), self.areas.shape[axis] - 2)
        return index, cells - index


class _LatticePlaces:
    """Positions located on the lattice, for bilinear interpolation."""

    def __init__(self, sizes: PixelSizes, positions: NDArray[np.float64]) -> None:
        row, self._down = sizes.locate(positions[:, 0], 0)
        column, self._across = sizes.locate(positions[:, 1], 1)
        self._first = row * sizes.areas.shape[1] + column

    def interpolate(self, lattice: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate the values of a lattice bilinearly."""
        flat, below = lattice.ravel(), self._first + lattice.shape[1]
        u = self._across
        upper: NDArray[np.float64] = flat[self._first] * (1.0 - u) + flat[self._first + 1] * u
        lower: NDArray[np.float64] = flat[below] * (1.0 - u) + flat[below + 1] * u
        return upper * (1.0 - self._down) + lower * self._down


def measure_pixel_sizes(
    crs: Any, transform: Affine | None, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)
) -> PixelSizes | None:
    """Measure the sizes of a raster's pixels on the ellipsoid of its CRS.

    Args:
        crs: The raster's CRS, anything pyproj understands; None if it has none.
        transform: Pixel to CRS; None if the raster has none.
        shape: Rows and columns.
        origin: Row and column of the raster's first pixel on the scene's grid. The lattice follows that grid,
            so that a raster cut from a scene has the scene's areas.

    Returns:
        The sizes; None without a CRS or transform, or with a CRS that is not tied to the Earth (local,
        engineering).
    """
    to_space = ellipsoidal_space(crs) if crs and transform is not None else None
    if to_space is None or transform is None:
        return None
    locate, spacing = to_space
    pixel = max(math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e))
    step = 2 ** max(0, math.floor(math.log2(spacing / pixel)))
    while max(shape) / step > _MAX_LATTICE:
        step *= 2
    corner = tuple((start // step) * step - start for start in origin)
    points = [
        np.arange(first, size + step + 1, step, dtype=np.float64)
        for first, size in zip(corner, shape, strict=True)
    ]
    down, across = (axis if axis.size > 1 else np.append(axis, axis + step) for axis in points)
    rows, columns = np.meshgrid(down, across, indexing="ij")

    def derivative(row: float, column: float) -> NDArray[np.float64]:
        ends = []
        for sign in (1, -1):
            r, c = rows + sign * row, columns + sign * column
            ends.append(
                locate(
                    c * transform.a + r * transform.b + transform.c,
                    c * transform.d + r * transform.e + transform.f,
                )
            )
        slope: NDArray[np.float64] = (ends[0] - ends[1]) / (2 * (row + column))
        return slope

    with np.errstate(invalid="ignore"):
        along_rows = derivative(step / 64, 0)
        along_columns = derivative(0, step / 64)
        areas = np.linalg.norm(np.cross(along_columns, along_rows), axis=-1) / HECTARE
        skew = (along_columns * along_rows).sum(axis=-1)
        right = np.linalg.norm(along_columns, axis=-1)
        downward = np.linalg.norm(along_rows, axis=-1)
    if not np.isfinite(areas).any() or np.nanmax(areas) == 0:
        return None
    area_unit = _unit(float(np.nanmax(areas)))
    length_unit = _unit(float(np.nanmax(np.maximum(right, downward))))
    return PixelSizes(
        step,
        (corner[0], corner[1]),
        areas / area_unit,
        right / length_unit,
        downward / length_unit,
        area_unit,
        length_unit,
        skew / length_unit**2,
    )


def _unit(largest: float) -> float:
    return 2.0 ** (math.ceil(math.log2(largest)) - _BITS)


def _on_ellipsoid(system: Any) -> Any:
    """Return the CRS of longitude and latitude under a CRS; of a rotated pole, the one not rotated."""
    base = system.geodetic_crs
    return base.source_crs if base is not None and base.is_derived else base


def ellipsoidal_space(crs: Any) -> tuple[Any, float] | None:
    """Return the function from CRS coordinates to X, Y, Z on the ellipsoid, and the lattice's spacing.

    Args:
        crs: Anything pyproj understands.

    Returns:
        The function of arrays x and y to metres (..., 3), X towards the CRS's own prime meridian; and the
        spacing in units of the CRS. None for a CRS that is not tied to a globe.
    """
    import pyproj
    from pyproj.exceptions import ProjError

    try:
        system = pyproj.CRS.from_user_input(crs).to_2d()
        base, ellipsoid = _on_ellipsoid(system), system.ellipsoid
        if base is None or ellipsoid is None or not (system.is_geographic or system.is_projected):
            return None
        to_base = pyproj.Transformer.from_crs(system, base.to_2d(), always_xy=True)
        radians = base.to_2d().axis_info[0].unit_conversion_factor
        unit = system.axis_info[0].unit_conversion_factor
    except (ProjError, IndexError):
        return None
    spacing = math.radians(_SPACING_DEGREES) if system.is_geographic else _SPACING_METRES
    semi_major = ellipsoid.semi_major_metre
    flat = 1.0 - (ellipsoid.semi_minor_metre / semi_major) ** 2  # first eccentricity squared

    def locate(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert CRS coordinates to X, Y, Z on the ellipsoid, the standard formula of geodesy."""
        longitude, latitude = to_base.transform(x, y)
        finite = np.isfinite(longitude) & np.isfinite(latitude)
        longitude = np.where(finite, longitude, np.nan) * radians
        latitude = np.where(finite, latitude, np.nan) * radians
        prime = semi_major / np.sqrt(1.0 - flat * np.sin(latitude) ** 2)
        return np.stack(
            [
                prime * np.cos(latitude) * np.cos(longitude),
                prime * np.cos(latitude) * np.sin(longitude),
                prime * (1.0 - flat) * np.sin(latitude),
            ],
            axis=-1,
        )

    return locate, spacing / unit
