"""The ``.aux.xml`` sidecar of a class map (GDAL's PAM): class names and a raster attribute table.

GDAL reads category names and attribute tables of a GeoTIFF from this file only; inside the TIFF they are
ignored. Layout: https://gdal.org/en/stable/user/raster_data_model.html and GDAL's gdalraster attribute table
serialisation (usage codes of GDALRATFieldUsage).
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

_INTEGER, _STRING = ("0", "Integer"), ("2", "String")
_COLUMNS = (
    ("Value", _INTEGER, ("5", "MinMax")),
    ("Class", _STRING, ("2", "Name")),
    ("Red", _INTEGER, ("6", "Red")),
    ("Green", _INTEGER, ("7", "Green")),
    ("Blue", _INTEGER, ("8", "Blue")),
)


def class_table_xml(classes: Sequence[tuple[int, str, tuple[int, int, int]]]) -> str:
    """Return the names and colours of classes as PAM XML.

    Args:
        classes: (id, name, (red, green, blue)) by ascending id.

    Returns:
        The XML: category names indexed by id, and a thematic attribute table with one row per class.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = {value: name for value, name, _ in classes}
    categories = ET.SubElement(band, "CategoryNames")
    for value in range(max(names, default=-1) + 1):
        ET.SubElement(categories, "Category").text = names.get(value)
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        ET.SubElement(column, "Name").text = name
        ET.SubElement(column, "Type", typeAsString=kind[1]).text = kind[0]
        ET.SubElement(column, "Usage", typeAsString=usage[1]).text = usage[0]
    for index, (value, name, color) in enumerate(classes):
        row = ET.SubElement(table, "Row", index=str(index))
        for cell in (value, name, *color):
            ET.SubElement(row, "F").text = str(cell)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
