"""Write FlatGeobuf: one file that can be read by region over HTTP.

Its spatial index sorts the rows along a Hilbert curve, so they are not in the order of the other formats; use
``id`` to find a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.arrow import as_metadata, write_with_gdal
from geoseg.polygons.writers.crs import layer_crs


@dataclass(frozen=True, slots=True)
class FlatGeobuf:
    """Writes FlatGeobuf 3 with a spatial index."""

    name: str = "FlatGeobuf"
    suffix: str = ".fgb"
    driver: str = "FlatGeobuf"
    on_earth: bool = False

    def write(self, table: PolygonTable, path: Path) -> None:
        """Write all rows."""
        write_with_gdal(
            table.batches(),
            table.schema,
            path,
            self.driver,
            crs=layer_crs(table.crs, self.driver),
            layer_options={"SPATIAL_INDEX": "YES"},
            layer_metadata=as_metadata(table.provenance),
        )


FLATGEOBUF = FlatGeobuf()
