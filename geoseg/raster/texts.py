"""Read names that are stored with a raster: in UTF-8, or in Latin-1 from older software."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import rasterio.shutil
from rasterio.io import MemoryFile


def read_descriptions(dataset: Any) -> tuple[str | None, ...]:
    """Read the description of each band without blanks around it; None where there is none."""
    try:
        texts = list(dataset.descriptions)
    except UnicodeDecodeError:
        texts = [band.findtext("Description") for band in _as_vrt(dataset).iterfind("VRTRasterBand")]
    return tuple(text.strip() or None if text else None for text in texts)


def decoded(content: bytes) -> str:
    """Decode a text that is in UTF-8, or else in Windows's Latin-1."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _as_vrt(dataset: Any) -> ET.Element:
    """Describe a dataset in GDAL's XML, which holds the bytes of texts that rasterio cannot decode."""
    with MemoryFile(ext=".vrt") as file:
        rasterio.shutil.copy(dataset, file.name, driver="VRT")
        file.seek(0)
        return ET.fromstring(decoded(file.read()))
