"""Write a polygon table to a file: one protocol, one module per format; ``WRITERS`` lists them.

To add a format, write its writer in a file beside these, as ``writing.PolygonWriter`` says, and add one line
to ``WRITERS``. The command line, the checks before a run and the tests that every format passes know it from
there.
"""

from __future__ import annotations

from collections.abc import Mapping

# Names instead of writers, so that the command line lists them without importing what they write with.
WRITERS: Mapping[str, str] = {
    ".gpkg": "geopackage.GEOPACKAGE",
    ".fgb": "flatgeobuf.FLATGEOBUF",
    ".parquet": "geoparquet.GEOPARQUET",
    ".geojsonl": "geojson.GEOJSON_LINES",
    ".geojsons": "geojson.GEOJSON_SEQUENCE",
    ".pmtiles": "pmtiles.writer.PMTILES",
}
"""Module and name of the writer of each format, by the ending of its files."""
