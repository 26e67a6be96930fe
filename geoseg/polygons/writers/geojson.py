"""Write GeoJSON text sequences: one feature per line, for programs that read a file as a stream.

``.geojsons`` follows RFC 8142: a record separator (0x1E) before every feature. ``.geojsonl`` leaves it out
("newline-delimited GeoJSON"), as most web tools expect. The endings are those of GDAL. Geometry follows RFC
7946: longitude and latitude on WGS 84 with seven decimals (1 cm), outer rings counter-clockwise, polygons
across the antimeridian cut in two. Neither format has a place for metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg.polygons.table.schema import GEOMETRY
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.arrow import write_with_gdal
from geoseg.polygons.writers.earth import NEAR, antimeridian

if TYPE_CHECKING:
    import pyarrow as pa
    import pyproj

DECIMALS = 7


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
        import pyproj

        crs = pyproj.CRS.from_user_input(table.crs)
        write_with_gdal(
            (cut_at_antimeridian(batch, crs) for batch in table.batches()),
            _with_text_for_days(table.schema),
            path,
            self.driver,
            crs=crs.to_wkt(),
            layer_options={
                "COORDINATE_PRECISION": str(DECIMALS),
                "RS": "YES" if self.separated else "NO",
            },
        )


GEOJSON_LINES = GeoJsonSequence("newline-delimited GeoJSON", ".geojsonl", separated=False)
GEOJSON_SEQUENCE = GeoJsonSequence("GeoJSON text sequence", ".geojsons", separated=True)


def cut_at_antimeridian(batch: pa.RecordBatch, crs: pyproj.CRS) -> pa.RecordBatch:
    """Bring polygons to longitudes from -180 to 180, cut in two where they lie across.

    GDAL does so where it projects. Longitudes and latitudes it would write as they are, or refuse to.

    Args:
        batch: Rows with polygons, in their CRS.
        crs: The CRS.
    """
    if not crs.is_geographic:
        return batch
    import pyarrow as pa
    import shapely

    west, turn = antimeridian(crs)
    at = batch.schema.get_field_index(GEOMETRY)
    shapes = shapely.from_wkb(batch.column(at).to_numpy(zero_copy_only=False))
    bounds = shapely.bounds(shapes)
    first = np.floor((bounds[:, 0] - west) / turn + NEAR)
    last = np.ceil((bounds[:, 2] - west) / turn - NEAR) - 1
    pole = turn / 4 * (1 + NEAR)
    beyond = np.flatnonzero((first != 0) | (last != 0) | (bounds[:, 1] < -pole) | (bounds[:, 3] > pole))
    if beyond.size == 0:
        return batch
    for row in beyond:
        parts = []
        for number in range(int(first[row]), int(last[row]) + 1):
            left = west + number * turn
            part = shapely.intersection(shapes[row], shapely.box(left, -turn / 4, left + turn, turn / 4))
            parts.append(shapely.transform(part, lambda points, by=number * turn: points - (by, 0.0)))
        found = shapely.get_parts(parts)
        found = found[shapely.get_dimensions(found) == 2]
        shapes[row] = found[0] if found.size == 1 else shapely.multipolygons(found)
    return batch.set_column(at, batch.schema.field(at), pa.array(shapely.to_wkb(shapes), pa.binary()))


def _with_text_for_days(schema: pa.Schema) -> pa.Schema:
    """Dates as text, ``2024-07-31``: JSON has no dates, and GDAL would write slashes."""
    import pyarrow as pa

    return pa.schema(
        field.with_type(pa.string()) if pa.types.is_date32(field.type) else field for field in schema
    )
