"""Write GeoPackage 1.3 with a default style for QGIS: every class in its colour."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.classes import LandClass
from geoseg.polygons.table.schema import GEOMETRY, LAYER
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.writers.arrow import FIXED_TIME, as_metadata, write_with_gdal
from geoseg.polygons.writers.crs import layer_crs

# The table that QGIS creates when a style is saved into a GeoPackage.
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
            table.batches(),
            table.schema,
            path,
            self.driver,
            crs=layer_crs(table.crs, self.driver),
            dataset_options={"VERSION": "1.3"},
            layer_options={"SPATIAL_INDEX": "YES", "GEOMETRY_NAME": GEOMETRY},
            layer_metadata=as_metadata(table.provenance),
        )
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(_STYLES)
            database.execute(_CONTENT, (FIXED_TIME,))
            database.execute(_STYLE, (LAYER, GEOMETRY, categories_qml(table.legend), FIXED_TIME))


GEOPACKAGE = GeoPackage()


def categories_qml(legend: Iterable[LandClass]) -> str:
    """Return a categorised renderer with one named, coloured fill per class.

    Args:
        legend: The classes.

    Returns:
        The style as QML, the XML of QGIS layer styles.
    """
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = ET.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="class_id", symbollevels="0", enableorderby="0"
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, item in enumerate(legend):
        ET.SubElement(
            categories,
            "category",
            value=str(item.id),
            type="long",
            symbol=str(number),
            label=item.name,
            render="true",
        )
        symbol = ET.SubElement(
            symbols, "symbol", type="fill", name=str(number), alpha="1", clip_to_extent="1", force_rhr="0"
        )
        layer = ET.SubElement(
            symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}
        )
        options = ET.SubElement(layer, "Option", type="Map")
        for name, value in _fill(item.color).items():
            ET.SubElement(options, "Option", type="QString", name=name, value=value)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _fill(color: str) -> dict[str, str]:
    """Return a solid fill with a darker hairline outline, which separates neighbours of similar colour."""
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    darker = [round(channel * 0.6) for channel in rgb]
    return {
        "color": ",".join(map(str, [*rgb, 255])),
        "style": "solid",
        "outline_color": ",".join(map(str, [*darker, 255])),
        "outline_style": "solid",
        "outline_width": "0.1",
        "outline_width_unit": "MM",
        "joinstyle": "bevel",
    }
