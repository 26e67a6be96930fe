"""Write GeoJSON text sequences: one feature per line, for programs that read a file as a stream.

``.geojsons`` follows RFC 8142: a record separator (0x1E) before every feature. ``.geojsonl`` leaves it out
("newline-delimited GeoJSON"), as most web tools expect. The endings are those of GDAL. Geometry follows RFC
7946: longitude and latitude on WGS 84 with seven decimals (1 cm), outer rings counter-clockwise, polygons
    across the antimeridian cut in two. Neither format has a place for metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.arrow import write_with_gdal

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
        write_with_gdal(
            table,
            path,
            self.driver,
            days_as_text=True,
            layer_options={
                "COORDINATE_PRECISION": str(DECIMALS),
                "RS": "YES" if self.separated else "NO",
            },
        )


GEOJSON_LINES = GeoJsonSequence("newline-delimited GeoJSON", ".geojsonl", separated=False)
GEOJSON_SEQUENCE = GeoJsonSequence("GeoJSON text sequence", ".geojsons", separated=True)
