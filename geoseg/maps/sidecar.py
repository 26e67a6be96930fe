"""Files beside a map: GDAL's sidecar with the class table (.aux.xml), and QGIS's style (.qml)."""

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


_RAMP = ((0.0, "#d7191c"), (0.25, "#fdae61"), (0.5, "#ffffbf"), (0.75, "#a6d96a"), (1.0, "#1a9641"))


def palette_qml(classes: Sequence[tuple[int, str, str]]) -> str:
    """Return the style of a class map: a paletted renderer with one named, coloured entry per class.

    Args:
        classes: (id, name, "#rrggbb").
    """
    root, pipe = _document()
    renderer = ET.SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    palette = ET.SubElement(renderer, "colorPalette")
    for value, name, color in classes:
        ET.SubElement(palette, "paletteEntry", value=str(value), label=name, color=color, alpha="255")
    return _text(root)


def ramp_qml() -> str:
    """Return the style of a probability: a red-yellow-green ramp from 0 to 1, labelled in percent.

    QGIS applies the raster's scale tag before its style, so the ramp is in probabilities, not stored values.
    """
    root, pipe = _document()
    renderer = ET.SubElement(
        pipe,
        "rasterrenderer",
        type="singlebandpseudocolor",
        band="1",
        opacity="1",
        alphaBand="-1",
        classificationMin="0",
        classificationMax="1",
    )
    shader = ET.SubElement(ET.SubElement(renderer, "rastershader"), "colorrampshader")
    shader.attrib |= {
        "colorRampType": "INTERPOLATED",
        "classificationMode": "1",
        "clip": "0",
        "minimumValue": "0",
        "maximumValue": "1",
    }
    # List the items in the legend, in percent; without this QGIS draws a bar from 0 to 1.
    ET.SubElement(shader, "rampLegendSettings", useContinuousLegend="0")
    for share, color in _RAMP:
        ET.SubElement(
            shader, "item", value=f"{share:g}", label=f"{share * 100:g} %", color=color, alpha="255"
        )
    return _text(root)


def _document() -> tuple[ET.Element, ET.Element]:
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    return root, ET.SubElement(root, "pipe")


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, "unicode") + "\n"
    )
