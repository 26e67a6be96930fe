"""The CRS of a map for which GeoTIFF has no keys, such as a rotated pole: kept in GDAL's sidecar."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

from rasterio.io import MemoryFile
from rasterio.transform import Affine

from geoseg.errors import OutputError
from geoseg.raster.georeference import same_crs

_PLACE = Affine(1, 0, 1, 0, -1, 1)


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
