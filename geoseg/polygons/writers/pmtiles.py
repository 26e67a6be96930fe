"""PMTiles: a pyramid of vector tiles in one file, for web maps without a tile server.

A polygon lies in every tile it touches, cut at the tile's border and rounded to its grid: a picture of the
table, not the table.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import SettingsError
from geoseg.polygons.schema import LAYER
from geoseg.polygons.table import PolygonTable
from geoseg.polygons.writers.arrow import as_metadata, write_with_gdal
from geoseg.polygons.writers.earth import lonlat_bounds, zoom_range


@dataclass(frozen=True, slots=True)
class PMTiles:
    """Writes PMTiles 3 of Mapbox Vector Tiles, zoom levels by the map's extent and pixel size."""

    name: str = "PMTiles"
    suffix: str = ".pmtiles"
    driver: str = "PMTiles"
    on_earth: bool = True

    def write(self, table: PolygonTable, path: Path) -> None:
        """Write all rows into the tiles they touch; the provenance is JSON in the description.

        Raises:
            SettingsError: If there are no rows, or tiles cannot show them.
        """
        _check_drawable(table)
        lowest, highest = zoom_range(table)
        write_with_gdal(
            table,
            path,
            self.driver,
            days_as_text=True,
            dataset_options={
                "NAME": LAYER,
                "DESCRIPTION": json.dumps(as_metadata(table.provenance)),
                "MINZOOM": str(lowest),
                "MAXZOOM": str(highest),
            },
        )


def _check_drawable(table: PolygonTable) -> None:
    if len(table) == 0:
        raise SettingsError(
            "no polygon is left to draw, and PMTiles cannot be empty; loosen the filters, or write "
            "another format"
        )
    west, _, east, _ = lonlat_bounds(table)
    if west > east:
        raise SettingsError(
            "the map lies across the antimeridian, where the tiles of web maps end; cut it at 180 degrees, "
            "or write .geojsonl, which cuts polygons there"
        )
