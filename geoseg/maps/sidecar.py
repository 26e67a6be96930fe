"""The ``.aux.xml`` sidecar of a map (GDAL's PAM): class names, a raster attribute table, and a rare CRS.

GDAL reads category names and attribute tables of a GeoTIFF from this file only; inside the TIFF they are
ignored. A CRS for which GeoTIFF has no keys, such as a rotated pole, is kept here too.
Layout: https://gdal.org/en/stable/user/raster_data_model.html and GDAL's gdalraster attribute table
serialisation (usage codes of GDALRATFieldUsage).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

from rasterio.io import MemoryFile
from rasterio.transform import Affine

from geoseg.errors import OutputError
from geoseg.raster.georeference import same_crs

_INTEGER, _STRING = ("0", "Integer"), ("2", "String")
_COLUMNS = (
    ("Value", _INTEGER, ("5", "MinMax")),
    ("Class", _STRING, ("2", "Name")),
    ("Red", _INTEGER, ("6", "Red")),
    ("Green", _INTEGER, ("7", "Green")),
    ("Blue", _INTEGER, ("8", "Blue")),
)
_PLACE = Affine(1, 0, 1, 0, -1, 1)


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


def with_crs(content: str | None, wkt: str) -> str:
    """Return a sidecar, which may have no content yet, with a CRS in it."""
    root = ET.Element("PAMDataset") if content is None else ET.fromstring(content)
    crs = ET.Element("SRS")
    crs.text = wkt
    root.insert(0, crs)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def crs_beside(crs: Any) -> str | None:
    """Return the CRS that must be kept beside a GeoTIFF, whose keys do not give it back.

    Args:
        crs: The map's CRS (rasterio ``CRS``), or None.

    Returns:
        Its WKT; None if the GeoTIFF itself gives it back, as almost always.

    Raises:
        OutputError: If a sidecar would not give it back either.
    """
    return None if crs is None else _crs_beside(crs.to_wkt())


@lru_cache
def _crs_beside(wkt: str) -> str | None:
    if same_crs(wkt, _given_back(wkt)):
        return None
    if same_crs(wkt, _given_back(wkt, with_crs(None, wkt))):
        return wkt
    raise OutputError(
        f"a GeoTIFF cannot hold the scene's CRS, {wkt[:60]}...; warp the scene to another CRS with --warp"
    )


def _given_back(wkt: str, sidecar: str | None = None) -> str | None:
    """Write a GeoTIFF in memory, and return the CRS that it has once it is copied elsewhere."""
    with MemoryFile() as made:
        with made.open(driver="GTiff", dtype="uint8", count=1, width=1, height=1, crs=wkt, transform=_PLACE):
            pass
        content = bytes(made.getbuffer())
    copy = {"dirname": uuid4().hex, "filename": "map.tif"}
    with MemoryFile(content, **copy) as file:
        if sidecar is None:
            with file.open() as dataset:
                return _wkt_of(dataset)
        with MemoryFile(sidecar.encode(), **copy | {"filename": "map.tif.aux.xml"}), file.open() as dataset:
            return _wkt_of(dataset)


def _wkt_of(dataset: Any) -> str | None:
    return dataset.crs.to_wkt() if dataset.crs else None
