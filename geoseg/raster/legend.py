"""Read the names and colours of classes that GDAL or ArcGIS stored with a raster.

GDAL stores them in the ``.aux.xml`` beside a raster and in its palette, ArcGIS in a table,
``map.tif.vat.dbf``
(https://pro.arcgis.com/en/pro-app/latest/help/data/imagery/raster-dataset-attribute-tables.htm); the USDA's
Cropland Data Layer comes with one, for example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import LandClass, complete_legend
from geoseg.raster.texts import decoded

NamesAndColors = tuple[dict[int, str], dict[int, str]]
"""Names, and colours as "#rrggbb", by pixel value."""

# GDALRATFieldUsage
_NAME, _RED, _GREEN, _BLUE = "2", "6", "7", "8"
_VALUES = ("5", "3", "0")
"""MinMax, Min, Generic."""

_VALUE_COLUMN = "value"
_NAME_COLUMNS = (
    "class_name",
    "classname",
    "class_names",
    "name",
    "label",
    "category",
    "class",
    "descriptio",
    "description",
)
"""Titles of columns of names in ArcGIS's tables, in lower case, the most specific first."""
_COLOR_COLUMNS = ("red", "green", "blue")


def read_legend(dataset: Any) -> tuple[tuple[LandClass, ...], dict[int, str]]:
    """Read names from the ``.aux.xml`` or ``.vat.dbf`` beside a class map, and colours from its palette.

    Args:
        dataset: The open class map (rasterio).

    Returns:
        The named classes by ascending id; and all colours by class id.
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
    # GDAL fills unused entries of a palette with opaque black.
    shown = {value: rgba[:3] for value, rgba in palette.items() if rgba[3] and any(rgba[:3])}
    colors |= {value: _hex(rgb) for value, rgb in shown.items()}
    return complete_legend((), names, names, colors), colors


def read_value_table(raster: Path) -> NamesAndColors:
    """Read the names and colours in ArcGIS's table beside a raster; both empty if there are none."""
    path = raster.with_name(raster.name + ".vat.dbf")
    if not path.is_file():
        return {}, {}
    columns = _columns_of(path)
    if _VALUE_COLUMN not in columns or _is_text(columns[_VALUE_COLUMN]):
        return {}, {}
    known = np.isfinite(columns[_VALUE_COLUMN].astype(np.float64))
    columns = {name: column[known] for name, column in columns.items()}
    values = columns[_VALUE_COLUMN].astype(np.int64).tolist()
    named = next((columns[name] for name in _NAME_COLUMNS if name in columns and _is_text(columns[name])), ())
    names = {
        value: str(name).strip()
        for value, name in zip(values, named, strict=False)
        if name is not None and str(name).strip()
    }
    return names, dict(zip(values, _colors_in(columns), strict=False))


def _read_sidecar(path: Path) -> NamesAndColors:
    """Read GDAL's category names and raster attribute table of band 1."""
    try:
        root = ET.fromstring(decoded(path.read_bytes()))
    except ET.ParseError:
        return {}, {}
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        return {}, {}
    names, colors = _read_attributes(band.find("GDALRasterAttributeTable"))
    for value, category in enumerate(band.iterfind("CategoryNames/Category")):
        if category.text and category.text.strip():
            names[value] = category.text.strip()
    return names, colors


def _read_attributes(table: ET.Element | None) -> NamesAndColors:
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
                    colors[value] = _hex(rgb)
        except (ValueError, IndexError):
            continue
    return names, colors


def _columns_of(path: Path) -> Mapping[str, NDArray[np.generic]]:
    """Read the columns of a table by lower-case title; none if the file cannot be read."""
    import pyogrio

    try:
        meta, _, _, fields = pyogrio.raw.read(path, read_geometry=False)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError):
        return {}
    return {name.lower(): values for name, values in zip(meta["fields"], fields, strict=True)}


def _is_text(values: NDArray[np.generic]) -> bool:
    return values.dtype.kind in "OU"


def _colors_in(columns: Mapping[str, NDArray[np.generic]]) -> Iterable[str]:
    """Read colours, whose channels are integers up to 255 or fractions of 1."""
    if not set(_COLOR_COLUMNS) <= set(columns) or any(_is_text(columns[name]) for name in _COLOR_COLUMNS):
        return
    channels = np.stack([columns[name].astype(np.float64) for name in _COLOR_COLUMNS], axis=1)
    are_whole = all(columns[name].dtype.kind in "iu" for name in _COLOR_COLUMNS)
    if np.nanmax(channels, initial=0) <= 1 and not are_whole:
        channels *= 255
    for rgb in np.clip(np.rint(np.nan_to_num(channels)), 0, 255).astype(int).tolist():
        yield _hex(rgb)


def _hex(rgb: Iterable[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
