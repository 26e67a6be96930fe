"""GeoPackage 1.3 with a default style that QGIS picks up."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from geoseg.polygons.table.schema import GEOMETRY, LAYER
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.arrow import FIXED_TIME, as_metadata, write_with_gdal
from geoseg.polygons.writers.style import categories_qml

# The table QGIS itself makes when a style is saved into a GeoPackage.
_STYLES = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256),
    f_table_schema TEXT(256),
    f_table_name TEXT(256),
    f_geometry_column TEXT(256),
    styleName TEXT(30),
    styleQML TEXT,
    styleSLD TEXT,
    useAsDefault BOOLEAN,
    description TEXT,
    owner TEXT(30),
    ui TEXT(30),
    update_time DATETIME
)
"""
_CONTENT = """
INSERT INTO gpkg_contents (table_name, identifier, description, data_type, last_change)
VALUES ('layer_styles', 'layer_styles', '', 'attributes', ?)
"""
_STYLE = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,
    styleQML, styleSLD, useAsDefault, description, owner, update_time)
VALUES ('', '', ?, ?, 'classes', ?, '', 1, 'Classes', '', ?)
"""


@dataclass(frozen=True, slots=True)
class GeoPackage:
    """Writes GeoPackage 1.3 with a spatial index and a default style."""

    name: str = "GeoPackage"
    suffix: str = ".gpkg"
    driver: str = "GPKG"
    on_earth: bool = False

    def write(self, table: PolygonTable, path: Path) -> None:
        """Write all rows, in order."""
        write_with_gdal(
            table,
            path,
            self.driver,
            dataset_options={"VERSION": "1.3"},
            layer_options={"SPATIAL_INDEX": "YES", "GEOMETRY_NAME": GEOMETRY},
            layer_metadata=as_metadata(table.provenance),
        )
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(_STYLES)
            database.execute(_CONTENT, (FIXED_TIME,))
            database.execute(_STYLE, (LAYER, GEOMETRY, categories_qml(table.legend), FIXED_TIME))
