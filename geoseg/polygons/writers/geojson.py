"""Write GeoJSON text sequences: one feature per line, for programs that read a file as a stream.

``.geojsons`` follows RFC 8142: a record separator (0x1E) before every feature. ``.geojsonl`` leaves it out
("newline-delimited GeoJSON"), as most web tools expect. The endings are those of GDAL. Geometry follows RFC
7946: longitude and latitude on WGS 84 with seven decimals (1 cm), outer rings counter-clockwise, polygons
across the antimeridian cut in two. Neither format has a place for metadata.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.polygons.table.schema import GEOMETRY
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.antimeridian import DECIMALS, antimeridian, cut_degrees, on_lonlat
from geoseg.polygons.writers.arrow import write_with_gdal
from geoseg.polygons.writers.earth import LONLAT, NEAR, is_across, lonlat_bounds

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class GeoJsonSequence:
    """Writes one feature per line, in order.

    Attributes:
        name: Name of the format, for messages.
        suffix: File name ending.
        separated: Whether a record separator precedes every feature.
    """

    name: str
    suffix: str
    separated: bool
    driver: str = "GeoJSONSeq"
    on_earth: bool = True

    def write(self, table: PolygonTable, path: Path) -> None:
        """Write all rows, in order; the format has no place for provenance."""
        rows, crs = _within_a_turn(table)
        write_with_gdal(
            rows,
            _with_text_for_days(table.schema),
            path,
            self.driver,
            crs=crs,
            layer_options={
                "COORDINATE_PRECISION": str(DECIMALS),
                "RS": "YES" if self.separated else "NO",
            },
        )


GEOJSON_LINES = GeoJsonSequence("newline-delimited GeoJSON", ".geojsonl", separated=False)
GEOJSON_SEQUENCE = GeoJsonSequence("GeoJSON text sequence", ".geojsons", separated=True)


def _within_a_turn(table: PolygonTable) -> tuple[Iterator[pa.RecordBatch], str]:
    """Return rows and their CRS; at the antimeridian and the poles they are cut, as RFC 7946 asks."""
    import pyarrow as pa
    import pyproj
    import shapely

    crs = pyproj.CRS.from_user_input(table.crs).to_2d()
    is_in_degrees = crs.is_geographic and not crs.is_derived
    bounds = lonlat_bounds(table)
    at_pole = max(-bounds[1], bounds[3]) > 90 - NEAR
    if not is_in_degrees and not at_pole and not is_across(bounds):
        return table.batches(), crs.to_wkt()
    pixel = math.hypot(table.polygons.transform.a, table.polygons.transform.d)

    def cut(batch: pa.RecordBatch) -> pa.RecordBatch:
        at = batch.schema.get_field_index(GEOMETRY)
        shapes = shapely.from_wkb(batch.column(at).to_numpy(zero_copy_only=False))
        if is_in_degrees:
            cut_degrees(shapes, *antimeridian(crs))
        else:
            to = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True)
            on_lonlat(shapes, to, pixel / 4 * (1 + NEAR) if at_pole else None)
        return batch.set_column(at, batch.schema.field(at), pa.array(shapely.to_wkb(shapes), pa.binary()))

    return map(cut, table.batches()), (crs if is_in_degrees else pyproj.CRS.from_user_input(LONLAT)).to_wkt()


def _with_text_for_days(schema: pa.Schema) -> pa.Schema:
    """Dates as text, ``2024-07-31``: JSON has no dates, and GDAL would write slashes."""
    import pyarrow as pa

    return pa.schema(
        field.with_type(pa.string()) if pa.types.is_date32(field.type) else field for field in schema
    )
