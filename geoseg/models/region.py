"""Where and when a model is to be trusted: its region on the Earth, and months of the year."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError

Box = tuple[float, float, float, float]

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_FORMS = (
    "[west, south, east, north] in degrees, a list of such boxes, or a GeoJSON geometry (Polygon or "
    "MultiPolygon)"
)
_NAMED_BOXES = 3
"""A region of more boxes is put into words as one box around all."""


@dataclass(frozen=True)
class ModelRegion:
    """A part of the Earth, in longitude and latitude (WGS 84).

    Attributes:
        boxes: Bounding boxes (west, south, east, north) in degrees; one whose west is greater than its east
            crosses the antimeridian. Empty where there is a geometry.
        geometry: A GeoJSON Polygon or MultiPolygon, cut at the antimeridian, as GeoJSON wants it; or None.
    """

    boxes: tuple[Box, ...] = ()
    geometry: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, value: Any) -> ModelRegion:
        """Read a region as `mlm.json`, a recipe or a caller gives it; the inverse of `to_json`.

        Args:
            value: one box, several boxes, or a GeoJSON geometry.

        Raises:
            ModelError: saying what is wrong and what a region looks like.
        """
        if isinstance(value, ModelRegion):
            return value
        if isinstance(value, Mapping):
            return cls(geometry=_read_geometry(value))
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise ModelError(f"`region` is {value!r}; it must be {_FORMS}")
        return cls(tuple(_read_box(box) for box in ([value] if _is_number(value[0]) else value)))

    def to_json(self) -> Any:
        """Give the region as `mlm.json` holds it: a list of boxes, or a GeoJSON geometry."""
        return [list(box) for box in self.boxes] if self.geometry is None else dict(self.geometry)

    def contains(self, places: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which places lie in the region, borders included.

        Args:
            places: longitude and latitude, (places, 2), of any turn of 360 degrees; NaN where there is none.

        Returns:
            Bool, (places,).
        """
        import shapely

        lons = (places[:, 0] + 180) % 360 - 180
        inside: NDArray[np.bool_] = shapely.intersects_xy(self._shape, lons, places[:, 1])
        on_antimeridian = lons == -180
        if on_antimeridian.any():
            inside |= on_antimeridian & shapely.intersects_xy(self._shape, -lons, places[:, 1])
        return inside

    @cached_property
    def _shape(self) -> Any:
        import shapely

        if self.geometry is not None:
            shape = shapely.geometry.shape(self.geometry)
        else:
            halves = [half for box in self.boxes for half in _halves(box)]
            shape = shapely.union_all([shapely.box(*half) for half in halves])
        shapely.prepare(shape)
        return shape

    def __str__(self) -> str:
        """Say where it is: `45 to 50 N, 96 to 101 W`."""
        if self.geometry is None and len(self.boxes) <= _NAMED_BOXES:
            return "; ".join(_box_in_words(box) for box in self.boxes)
        west, south, east, north = (float(side) for side in self._shape.bounds)
        return f"an area within {_box_in_words((west, south, east, north))}"


def read_months(value: Any) -> tuple[int, ...]:
    """Read months, 1 to 12, in ascending order.

    Raises:
        ModelError: if one is no month, or stands there twice.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | Mapping):
        raise ModelError(f"`months` is {value!r}; it must be a list of months, such as [8, 9]")
    months = list(value)
    for month in months:
        if isinstance(month, bool) or not isinstance(month, int) or not 1 <= month <= 12:
            raise ModelError(f"`months` holds {month!r}; a month is a whole number from 1 to 12")
        if months.count(month) > 1:
            raise ModelError(f"`months` holds {month} twice; name each month once")
    return tuple(sorted(months))


def read_gsd_range(value: Any) -> tuple[float, float]:
    """Read the least and the most metres a pixel.

    Raises:
        ModelError: if they are no such two numbers.
    """
    is_pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    if not is_pair or not all(_is_number(number) for number in value):
        raise ModelError(
            f"`gsd_range` is {value!r}; it must be two numbers, the least and the most metres a pixel"
        )
    least, most = (float(number) for number in value)
    if not 0 < least <= most:
        raise ModelError(f"`gsd_range` is {least:g} to {most:g}; it must be above 0, the least first")
    return least, most


def months_in_words(months: Sequence[int]) -> str:
    """Say which months: `August and September`, `November to February`, `May and July`."""
    if len(months) == 12:
        return "all year"
    starts = [month for month in months if (month - 2) % 12 + 1 not in months]
    parts = []
    for start in starts:
        run = [start]
        while run[-1] % 12 + 1 in months:
            run.append(run[-1] % 12 + 1)
        names = [_MONTHS[month - 1] for month in run]
        parts += [f"{names[0]} to {names[-1]}"] if len(names) > 2 else names
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def place_in_words(lon: float, lat: float) -> str:
    """Say where a place is: `45.7 N, 13.4 E`."""
    lon = (lon + 180) % 360 - 180
    return f"{abs(lat):.1f} {'S' if lat < 0 else 'N'}, {abs(lon):.1f} {'W' if lon < 0 else 'E'}"


def _read_box(value: Any) -> Box:
    is_box = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 4
    if not is_box or not all(_is_number(side) for side in value):
        raise ModelError(f"`region` holds {value!r}; it must be {_FORMS}")
    west, south, east, north = (float(side) for side in value)
    if not -90 <= south < north <= 90:
        raise ModelError(
            f"`region` reaches from {south:g} to {north:g} degrees north; use -90 to 90, south before north"
        )
    if not (-180 <= west <= 180 and -180 <= east <= 180) or west == east:
        raise ModelError(
            f"`region` reaches from {west:g} to {east:g} degrees east; use -180 to 180, west before east "
            "(greater than east where a box crosses the antimeridian)"
        )
    return west, south, east, north


def _read_geometry(value: Mapping[str, Any]) -> Mapping[str, Any]:
    import shapely

    if value.get("type") not in ("Polygon", "MultiPolygon"):
        raise ModelError(f"`region` is GeoJSON of type {value.get('type')!r}; it must be {_FORMS}")
    try:
        geometry: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
        shape = shapely.force_2d(shapely.geometry.shape(geometry))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, shapely.GEOSException) as error:
        raise ModelError(f"`region` is no GeoJSON geometry: {error}") from error
    if not shape.is_valid or not shape.area:
        raise ModelError(f"`region` has no sound area: {shapely.is_valid_reason(shape)}; repair the geometry")
    west, south, east, north = shape.bounds
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise ModelError(
            f"`region` reaches from {west:g} to {east:g} degrees east and {south:g} to {north:g} degrees "
            "north; GeoJSON is longitude and latitude, -180 to 180 and -90 to 90"
        )
    if any(_is_torn(ring) for ring in _rings(shape)):
        raise ModelError("`region` crosses the antimeridian; cut it there in two, as GeoJSON wants it")
    return geometry


def _rings(shape: Any) -> Iterator[NDArray[np.float64]]:
    import shapely

    for polygon in shapely.get_parts(shape):
        for ring in (polygon.exterior, *polygon.interiors):
            yield shapely.get_coordinates(ring)


def _is_torn(ring: NDArray[np.float64]) -> bool:
    """Tell whether a side of a ring leaps over the globe, if it does not run along it from end to end."""
    leaps = np.abs(np.diff(ring[:, 0]))
    return bool(((leaps > 180) & (leaps < 360)).any())


def _halves(box: Box) -> list[Box]:
    """Cut a box at the antimeridian."""
    west, south, east, north = box
    if west < east:
        return [box]
    return [half for half in ((west, south, 180.0, north), (-180.0, south, east, north)) if half[0] < half[2]]


def _box_in_words(box: Box) -> str:
    west, south, east, north = box
    return f"{_span(south, north, 'S', 'N')}, {_span(west, east, 'W', 'E')}"


def _span(low: float, high: float, negative: str, positive: str) -> str:
    """Say from where to where: `45 to 50 N`, `96 to 101 W`, `5 S to 10 N`."""
    if 0 <= low < high:
        return f"{_degrees(low)} to {_degrees(high)} {positive}"
    if low < high <= 0:
        return f"{_degrees(high)} to {_degrees(low)} {negative}"
    return " to ".join(f"{_degrees(side)} {negative if side < 0 else positive}" for side in (low, high))


def _degrees(side: float) -> str:
    return f"{round(abs(side), 2):g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
