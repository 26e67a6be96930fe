"""QGIS layer styles (``.qml``) of rasters; QGIS applies the file that has the raster's name."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

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
