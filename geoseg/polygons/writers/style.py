"""A QGIS style for polygons: every class in its colour, by ``class_id``."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from geoseg.classes import LandClass


def categories_qml(legend: Iterable[LandClass]) -> str:
    """A categorised renderer: one named, coloured fill a class.

    Args:
        legend: The classes.

    Returns:
        The style as QML, the XML that QGIS keeps layer styles in.
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
    """A solid fill with a hairline of the same colour, darker, so that neighbours of one class show."""
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
