"""How QGIS shows a sample: the class is picked from a list, and points without one stand out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.classes import LandClass

_OPEN, _DONE = "230,80,0,255", "90,150,110,255"


def add_styles(path: Path, layer: str, outlines: str, legend: Sequence[LandClass]) -> None:
    """Put the default styles of a sample into its GeoPackage.

    Args:
        path: The GeoPackage.
        layer: Its layer of points, with the column ``reference``.
        outlines: Its layer of pixels.
        legend: The classes to choose from.
    """
    write_styles(path, {layer: points_qml(legend), outlines: outlines_qml()}, "labelling")


def write_styles(path: Path, styles: Mapping[str, str], name: str) -> None:
    """Put default styles into a GeoPackage, in the table where QGIS keeps them.

    Args:
        path: The GeoPackage, without styles; its geometry columns are named ``geom``.
        styles: Layer -> style as QML.
        name: What QGIS calls them.
    """
    import pandas
    import pyogrio

    rows = [
        {
            "f_table_catalog": "",
            "f_table_schema": "",
            "f_table_name": layer,
            "f_geometry_column": "geom",
            "styleName": name,
            "styleQML": qml,
            "styleSLD": "",
            "useAsDefault": True,
            "description": "",
            "owner": "",
            "ui": "",
            "update_time": "2000-01-01T00:00:00Z",
        }
        for layer, qml in styles.items()
    ]
    pyogrio.write_dataframe(pandas.DataFrame(rows), path, layer="layer_styles", append=False)


def points_qml(legend: Sequence[LandClass]) -> str:
    """Style of the points: a list of classes to choose from, and a colour for what is still to do."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology|Fields|Forms")
    renderer = ET.SubElement(root, "renderer-v2", type="RuleRenderer", symbollevels="0", enableorderby="0")
    rules = ET.SubElement(renderer, "rules", key="{sample}")
    symbols = ET.SubElement(renderer, "symbols")
    empty = '"reference" IS NULL OR "reference" = \'\''
    for number, (label, rule, color) in enumerate((("to do", empty, _OPEN), ("labelled", "ELSE", _DONE))):
        key = f"{{sample-{number}}}"
        ET.SubElement(rules, "rule", key=key, symbol=str(number), label=label, filter=rule)
        _symbol(
            symbols,
            number,
            "marker",
            "SimpleMarker",
            {"name": "cross", "size": "4", "outline_color": color, "outline_width": "0.5"},
        )
    fields = ET.SubElement(root, "fieldConfiguration")
    field = ET.SubElement(fields, "field", name="reference", configurationFlags="None")
    config = ET.SubElement(ET.SubElement(field, "editWidget", type="ValueMap"), "config")
    choices = ET.SubElement(ET.SubElement(config, "Option", type="Map"), "Option", name="map", type="List")
    for item in legend:
        choice = ET.SubElement(choices, "Option", type="Map")
        ET.SubElement(choice, "Option", name=item.name, type="QString", value=item.name)
    return ET.tostring(root, encoding="unicode")


def outlines_qml() -> str:
    """Style of the pixels: an outline that hides nothing."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="singleSymbol", symbollevels="0", enableorderby="0")
    symbols = ET.SubElement(renderer, "symbols")
    line = {"style": "no", "outline_color": "255,255,0,255", "outline_width": "0.4", "outline_style": "solid"}
    _symbol(symbols, 0, "fill", "SimpleFill", line)
    return ET.tostring(root, encoding="unicode")


def _symbol(symbols: ET.Element, number: int, kind: str, layer: str, options: dict[str, str]) -> None:
    symbol = ET.SubElement(symbols, "symbol", type=kind, name=str(number), alpha="1", clip_to_extent="1")
    inside = ET.SubElement(symbol, "layer", {"class": layer, "enabled": "1", "locked": "0", "pass": "0"})
    values = ET.SubElement(inside, "Option", type="Map")
    for name, value in options.items():
        ET.SubElement(values, "Option", name=name, type="QString", value=value)
