"""The polygons of a map as a table, with the columns of ``schema``.

One row a polygon, ordered by the polygon's first pixel; GeoPackage, FlatGeobuf and GeoParquet have the same
columns in the same order.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SettingsError
from geoseg.models.card import LandClass
from geoseg.polygons.components import NODATA
from geoseg.polygons.schema import arrow_schema
from geoseg.polygons.store import Columns, Polygons
from geoseg.polygons.units import AreaLimit

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, eq=False)
class PolygonTable:
    """The polygons of a map with what their columns need.

    Attributes:
        polygons: The polygons.
        legend: Every class of the map, by ascending id.
        crs: The map's CRS (anything pyproj understands), or None.
        date: Acquisition date, or None.
        provenance: What made the map: kept once in a file's metadata.
    """

    polygons: Polygons
    legend: tuple[LandClass, ...]
    crs: Any
    date: datetime.date | None
    provenance: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.polygons)

    def take(self, chosen: NDArray[np.bool_]) -> PolygonTable:
        """Only the chosen rows."""
        return replace(self, polygons=self.polygons.take(chosen))

    def filter(self, *, min_area: AreaLimit | None = None, classes: set[int] | None = None) -> PolygonTable:
        """Leave rows out; the others stay as they are. See ``matching``."""
        return self.take(self.matching(min_area=min_area, classes=classes))

    def matching(
        self, *, min_area: AreaLimit | None = None, classes: set[int] | None = None
    ) -> NDArray[np.bool_]:
        """Which rows pass filters.

        Args:
            min_area: Polygons smaller than this do not.
            classes: Only polygons of these class ids do.

        Returns:
            bool, one a row.

        Raises:
            SettingsError: If ``min_area`` is in hectares and the map has no areas.
        """
        columns = self.polygons.columns
        keep = np.ones(len(self), dtype=bool)
        if classes is not None:
            keep &= np.isin(columns.class_ids, sorted(classes))
        if min_area is not None and min_area.in_pixels:
            keep &= columns.pixels >= min_area.amount
        elif min_area is not None:
            areas = self.areas_ha()
            if areas is None:
                raise SettingsError(
                    "the map has no CRS that ties it to the Earth, so its polygons have no area in hectares; "
                    "give the least area in pixels, as in 20px"
                )
            keep &= areas >= min_area.amount
        return keep

    def areas_ha(self) -> NDArray[np.float64] | None:
        """Ellipsoidal area of every polygon in hectares, float64; None if the map has none.

        Areas are whole multiples of a power of two, so sums of them are exact.
        """
        return _areas(self.polygons)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in order, in portions of bounded size that depend on the polygons alone."""
        for portion in self.polygons.batches():
            yield self._batch(portion)

    def _batch(self, portion: Polygons) -> pa.RecordBatch:
        import pyarrow as pa
        import shapely

        columns = portion.columns
        rows = len(portion)
        names = np.full(256, None, dtype=object)
        for item in self.legend:
            names[item.id] = item.name
        mean, least = _confidence(columns)
        second = np.where(columns.runner_up >= 0, columns.runner_up, NODATA)
        values = (
            pa.array(_ids(portion), pa.string()),
            pa.array(columns.class_ids.astype(np.int32)),
            pa.array(names[columns.class_ids], pa.string()),
            _nullable(_areas(portion), rows),
            _nullable(_perimeters(portion), rows),
            pa.array(columns.pixels),
            _nullable(mean, rows),
            _nullable(least, rows),
            pa.array(names[second], pa.string()),
            pa.array(columns.touches_edge),
            pa.array([self.date] * rows, pa.date32()),
            pa.array(shapely.to_wkb(portion.geometries()), pa.binary()),
        )
        return pa.record_batch(list(values), schema=arrow_schema())


def _ids(portion: Polygons) -> list[str]:
    rows = (portion.columns.row.astype(np.int64) + portion.origin[0]).tolist()
    columns = (portion.columns.column.astype(np.int64) + portion.origin[1]).tolist()
    return [f"r{row}c{column}" for row, column in zip(rows, columns, strict=True)]


def _areas(polygons: Polygons) -> NDArray[np.float64] | None:
    if polygons.surface is None:
        return None
    if polygons.columns.areas is None:  # there are no polygons
        return np.zeros(0)
    hectares: NDArray[np.float64] = polygons.columns.areas.astype(np.float64) * polygons.surface.area_unit
    return hectares


def _perimeters(polygons: Polygons) -> NDArray[np.float64] | None:
    if polygons.surface is None or polygons.columns.perimeters is None:
        return None
    metres: NDArray[np.float64] = (
        polygons.columns.perimeters.astype(np.float64) * polygons.surface.length_unit
    )
    return metres


def _confidence(columns: Columns) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Mean and least confidence, 0 to 1; NaN where no pixel has one."""
    if columns.confidence is None or columns.confident is None or columns.least is None:
        return None, None
    unknown = columns.confident == 0
    mean: NDArray[np.float64] = columns.confidence / np.where(unknown, 1, columns.confident) / 100.0
    return np.where(unknown, np.nan, mean), np.where(unknown, np.nan, columns.least / 100.0)


def _nullable(values: NDArray[np.float64] | None, rows: int) -> pa.Array:
    import pyarrow as pa

    if values is None:
        return pa.nulls(rows, pa.float64())
    return pa.array(values, pa.float64(), from_pandas=True)
