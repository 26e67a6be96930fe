"""Do rasters lie on one grid, and where does one begin on the other's?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geoseg.errors import SceneError

if TYPE_CHECKING:
    from affine import Affine

_TOLERANCE = 0.01
"""Pixels that corners may be off."""


def require_same_grid(classes: Any, other: Any) -> None:
    """Refuse a raster that does not have every pixel where the class map has it.

    Args:
        classes: The class map, as rasterio has it open.
        other: The other raster.

    Raises:
        SceneError: If it is larger or smaller, or lies elsewhere.
    """
    if other.shape != classes.shape:
        raise SceneError(
            f"{other.name} has {other.height} x {other.width} pixels, {classes.name} {classes.height} x "
            f"{classes.width} (rows x columns); give the raster of the same run"
        )
    corners = [(0, 0), (classes.width, 0), (0, classes.height)]
    pixel = max(map(abs, classes.transform[:6][:2] + classes.transform[:6][3:5]))
    shift = max(
        max(abs(a - b) for a, b in zip(_at(classes.transform, *c), _at(other.transform, *c), strict=True))
        for c in corners
    )
    if shift > _TOLERANCE * pixel or (classes.crs and other.crs and classes.crs != other.crs):
        raise SceneError(
            f"{other.name} does not lie on the grid of {classes.name}; give the raster of the same run"
        )


def _at(transform: Affine, column: float, row: float) -> tuple[float, float]:
    return (
        column * transform.a + row * transform.b + transform.c,
        column * transform.d + row * transform.e + transform.f,
    )


def corner_on(grid: Affine, shape: tuple[int, int], other: Affine) -> tuple[int, int] | None:
    """Row and column, on a raster's grid, of another raster's first pixel.

    Args:
        grid: The raster's transform.
        shape: Rows and columns of the other one.
        other: Its transform.

    Returns:
        They may be negative; None if its pixels are not pixels of the grid.
    """
    if grid.determinant == 0:
        return None
    to_grid = ~grid
    places = []
    for column, row in ((0, 0), (shape[1], 0), (0, shape[0])):
        x, y = _at(other, column, row)
        places.append(_at(to_grid, x, y))
    (left, top), right, lower = places
    expected = ((left + shape[1], top), (left, top + shape[0]))
    off = [
        abs(a - b)
        for place, wish in zip((right, lower), expected, strict=True)
        for a, b in zip(place, wish, strict=True)
    ]
    off += [abs(left - round(left)), abs(top - round(top))]
    return (round(top), round(left)) if max(off) <= _TOLERANCE else None
