"""The polygons of a map as a table: one row per polygon, with the columns of ``schema``.

Rows are ordered by the polygon's first pixel. GeoPackage, FlatGeobuf and GeoParquet have the same columns in
the same order.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA, LandClass
from geoseg.errors import SettingsError
from geoseg.omissions import Omission
from geoseg.polygons.table.rows import Columns, Polygons, boxes_of
from geoseg.polygons.table.schema import arrow_schema
from geoseg.polygons.table.store import StoredPolygons
from geoseg.polygons.table.wkb import polygons_as_wkb
from geoseg.polygons.zonal.statistics import Zonal, ZonalSums, zonal_arrays
from geoseg.system.cpu import in_order
from geoseg.units import Area

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ClassSums:
    """Totals over the polygons of a class.

    Attributes:
        id: Class id.
        polygons: Number of polygons.
        pixels: Number of their pixels.
        area_ha: Their area in hectares; None if the map has no areas.
        mean_confidence: Mean over their pixels, 0-1; None if no pixel has a confidence.
    """

    id: int
    polygons: int
    pixels: int
    area_ha: float | None
    mean_confidence: float | None


@dataclass(frozen=True, slots=True, eq=False)
class PolygonTable:
    """The polygons of a map, with what is needed to fill their columns.

    Attributes:
        polygons: The polygons, on disk or in memory.
        legend: Every class of the map, by ascending id.
        crs: The map's CRS (anything pyproj understands), or None.
        date: Acquisition date, or None.
        provenance: How the table was made; written once, into the file's metadata.
        zonal: The statistics of other rasters that have columns, or None.
    """

    polygons: Polygons | StoredPolygons
    legend: tuple[LandClass, ...]
    crs: Any
    date: datetime.date | None
    provenance: Mapping[str, str]
    zonal: Zonal | None = None

    def __len__(self) -> int:
        return len(self.polygons)

    def take(self, chosen: NDArray[np.bool_]) -> PolygonTable:
        """Keep only the chosen rows."""
        return replace(self, polygons=self.polygons.take(chosen))

    def filter(self, *, min_area: Area | None = None, classes: set[int] | None = None) -> PolygonTable:
        """Keep only the rows that pass the filters; see ``matching``."""
        return self.take(self.matching(min_area=min_area, classes=classes))

    def matching(self, *, min_area: Area | None = None, classes: set[int] | None = None) -> NDArray[np.bool_]:
        """Tell which rows pass the filters.

        Args:
            min_area: Smallest area that passes; None for no limit.
            classes: Class ids that pass; None for all.

        Returns:
            One bool per row.

        Raises:
            SettingsError: If ``min_area`` is in hectares and the map has no areas.
        """
        if min_area is not None and not min_area.in_pixels and self.polygons.pixel_sizes is None:
            raise SettingsError(
                "the map has no CRS that ties it to the Earth, so its polygons have no area in hectares; "
                "give the least area in pixels, as in 20px"
            )
        found = [np.zeros(0, dtype=bool)]
        for portion in self.polygons.portions():
            columns = portion.columns
            keep = np.ones(len(columns), dtype=bool)
            if classes is not None:
                keep &= np.isin(columns.class_ids, sorted(classes))
            if min_area is not None:
                areas = None if min_area.in_pixels else _areas(portion)
                keep &= (columns.pixels if areas is None else areas) >= min_area.amount
            found.append(keep)
        return np.concatenate(found)

    def areas_ha(self) -> NDArray[np.float64] | None:
        """Return the ellipsoidal area of every polygon in hectares, float64; None if the map has no areas.

        Areas are whole multiples of a power of two, so their sums are exact.
        """
        if self.polygons.pixel_sizes is None:
            return None
        parts = [np.zeros(0), *(_areas(portion) for portion in self.polygons.portions())]
        return np.concatenate([part for part in parts if part is not None])

    def class_sums(self) -> list[ClassSums]:
        """Return the totals of every class, in the order of the legend."""
        sums = np.zeros((4, 256), dtype=np.int64)  # polygons, pixels, confidence, pixels with a confidence
        areas = np.zeros(256)
        for portion in self.polygons.portions():
            columns, ids = portion.columns, portion.columns.class_ids
            sums[0] += np.bincount(ids, minlength=256)
            for total, column in zip(
                sums[1:], (columns.pixels, columns.confidence, columns.confident), strict=True
            ):
                if column is not None:
                    np.add.at(total, ids, column)
            hectares = _areas(portion)
            if hectares is not None:
                areas += np.bincount(ids, hectares, minlength=256)
        known = self.polygons.pixel_sizes is not None
        return [
            ClassSums(
                item.id,
                int(sums[0, item.id]),
                int(sums[1, item.id]),
                float(areas[item.id]) if known else None,
                int(sums[2, item.id]) / int(sums[3, item.id]) / 100.0 if sums[3, item.id] else None,
            )
            for item in self.legend
        ]

    def omissions(self, confidence: str | None = None) -> list[Omission]:
        """Count the pixels for which a raster beside the map holds nothing.

        Args:
            confidence: The confidence raster; None where there is none.
        """
        names = () if self.zonal is None else tuple(measure.name for measure in self.zonal.measures)
        pixels, confident, known = 0, 0, np.zeros(len(names), np.int64)
        for portion in self.polygons.portions():
            columns = portion.columns
            pixels += int(columns.pixels.sum())
            confident += 0 if columns.confident is None else int(columns.confident.sum())
            known += 0 if columns.zonal is None else columns.zonal[:, :, 0].sum(axis=0)

        def without(source: str, count: int, what: str, *, refuses: bool) -> Omission:
            reason = f"they have a class and no {what}, which is that of a polygon's other pixels"
            return Omission("pixels", source, count, pixels, "pixels", reason, refuses=refuses)

        found = [
            # A scene may have clouds where its map has classes.
            without(f"--stats {name}", pixels - int(count), "value", refuses=False)
            for name, count in zip(names, known, strict=True)
        ]
        if confidence is not None:
            found.append(without(confidence, pixels - confident, "confidence", refuses=True))
        return [each for each in found if each.count]

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the rows."""
        return arrow_schema(() if self.zonal is None else self.zonal.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, in batches of bounded size that depend on the polygons alone."""
        return in_order(self._batch, self.polygons.batches())

    def batches_with_boxes(self) -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64]]]:
        """Yield batches with the bounding box of every row: x min, y min, x max, y max, float64 (rows, 4)."""
        return in_order(self._batch_with_boxes, self.polygons.batches())

    def _batch(self, portion: Polygons) -> pa.RecordBatch:
        return self._rows(portion, polygons_as_wkb(*portion.coordinates()))

    def _batch_with_boxes(self, portion: Polygons) -> tuple[pa.RecordBatch, NDArray[np.float64]]:
        points, rings, polygons = portion.coordinates()
        shapes = polygons_as_wkb(points, rings, polygons)
        return self._rows(portion, shapes), boxes_of(points, rings[polygons])

    def _rows(self, portion: Polygons, shapes: pa.Array) -> pa.RecordBatch:
        import pyarrow as pa

        return pa.record_batch([*self.attributes(portion), shapes], schema=self.schema)

    def attributes(self, portion: Polygons) -> list[pa.Array]:
        """Return the columns of some of the polygons, without the geometry."""
        import pyarrow as pa

        columns = portion.columns
        rows = len(portion)
        names = np.full(256, None, dtype=object)
        for item in self.legend:
            names[item.id] = item.name
        known = pa.array(names, pa.string())
        mean, least = _confidence(columns)
        second = np.where(columns.runner_up >= 0, columns.runner_up, NODATA)
        return [
            _ids(portion),
            pa.array(columns.class_ids.astype(np.int32)),
            known.take(pa.array(columns.class_ids)),
            _nullable(_areas(portion), rows),
            _nullable(_perimeters(portion), rows),
            pa.array(columns.pixels),
            _nullable(mean, rows),
            _nullable(least, rows),
            known.take(pa.array(second)),
            pa.array(columns.touches_edge),
            pa.repeat(pa.scalar(self.date, pa.date32()), rows),
            *self._statistics(columns),
        ]

    def _statistics(self, columns: Columns) -> list[pa.Array]:
        if self.zonal is None or columns.zonal is None:
            return []
        return zonal_arrays(self.zonal, ZonalSums(columns.zonal, columns.zonal_least, columns.zonal_most))


def _ids(portion: Polygons) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = portion.columns
    row, column = (
        pa.array(first.astype(np.int64) + before).cast(pa.string())
        for first, before in zip((columns.row, columns.column), portion.origin, strict=True)
    )
    return pc.binary_join_element_wise("r", row, "c", column, "")


def _areas(polygons: Polygons) -> NDArray[np.float64] | None:
    if polygons.pixel_sizes is None:
        return None
    if polygons.columns.areas is None:  # there are no polygons
        return np.zeros(0)
    hectares: NDArray[np.float64] = polygons.columns.areas.astype(np.float64) * polygons.pixel_sizes.area_unit
    return hectares


def _perimeters(polygons: Polygons) -> NDArray[np.float64] | None:
    if polygons.pixel_sizes is None or polygons.columns.perimeters is None:
        return None
    metres: NDArray[np.float64] = (
        polygons.columns.perimeters.astype(np.float64) * polygons.pixel_sizes.length_unit
    )
    return metres


def _confidence(columns: Columns) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return the mean and the least confidence, 0 to 1; NaN if no pixel has one."""
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
