"""Names and colours of the classes of a map, from whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from geoseg.classes import LandClass, complete_legend
from geoseg.raster.value_table import read_value_table

_NAME, _RED, _GREEN, _BLUE = "2", "6", "7", "8"
_VALUES = ("5", "3", "0")  # GDALRATFieldUsage: MinMax, Min, Generic


def read_legend(dataset: Any) -> tuple[tuple[LandClass, ...], dict[int, str]]:
    """Read names from the ``.aux.xml`` or ``.vat.dbf`` beside a class map and colours from its palette.

    Args:
        dataset: The open class map (rasterio).

    Returns:
        The classes that have a name, by ascending id; and all colours by class id.
    """
    names, colors = read_value_table(Path(dataset.name))
    sidecar = Path(dataset.name + ".aux.xml")
    if sidecar.is_file():
        more_names, more_colors = _read_sidecar(sidecar)
        names, colors = names | more_names, colors | more_colors
    try:
        palette = dataset.colormap(1)
    except ValueError:  # the raster has no palette
        palette = {}
    # GDAL fills a palette up with opaque black.
    shown = {value: rgba[:3] for value, rgba in palette.items() if rgba[3] and any(rgba[:3])}
    colors |= {value: "#{:02x}{:02x}{:02x}".format(*rgb) for value, rgb in shown.items()}
    return complete_legend((), names, names, colors), colors


def _read_sidecar(path: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Names and colours from GDAL's category names and raster attribute table of band 1."""
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError:
        return {}, {}
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        return {}, {}
    names, colors = _read_table(band.find("GDALRasterAttributeTable"))
    for value, category in enumerate(band.iterfind("CategoryNames/Category")):
        if category.text and category.text.strip():
            names[value] = category.text.strip()
    return names, colors


def _read_table(table: ET.Element | None) -> tuple[dict[int, str], dict[int, str]]:
    names: dict[int, str] = {}
    colors: dict[int, str] = {}
    if table is None:
        return names, colors
    usages = [field.findtext("Usage", "") for field in table.iterfind("FieldDefn")]
    value_at = next((usages.index(usage) for usage in _VALUES if usage in usages), None)
    if value_at is None:
        return names, colors
    for row in table.iterfind("Row"):
        cells = [cell.text or "" for cell in row.iterfind("F")]
        try:
            value = int(float(cells[value_at]))
            if _NAME in usages and cells[usages.index(_NAME)].strip():
                names[value] = cells[usages.index(_NAME)].strip()
            if {_RED, _GREEN, _BLUE} <= set(usages):
                rgb = [int(float(cells[usages.index(channel)])) for channel in (_RED, _GREEN, _BLUE)]
                if all(0 <= channel <= 255 for channel in rgb):
                    colors[value] = "#{:02x}{:02x}{:02x}".format(*rgb)
        except (ValueError, IndexError):
            continue
    return names, colors
