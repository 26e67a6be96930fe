"""Read product metadata of a scene: day of acquisition, processing, platform, scale.

Sources are the file's own metadata, a STAC item with the same stem, and the product files of Landsat
(``*_MTL``) and Sentinel-2 (``MTD_*.xml``) beside or above the file. File times and dates in file names are
not used.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

_LARGEST = 16 * 2**20
"""Largest product file to read, in bytes; real ones are far smaller."""

_KEYS = (
    "DATE_ACQUIRED", "SPACECRAFT_ID", "SPACECRAFT_NAME", "PRODUCT_START_TIME", "DATATAKE_SENSING_START",
    "SENSING_TIME", "PROCESSING_BASELINE", "PRODUCT_URI", "PROCESSING_LEVEL", "SUN_ELEVATION",
    "LANDSAT_PRODUCT_ID",
)  # fmt: skip
_VALUE = {key: re.compile(rf'\b{key}\b["\s:=]*(?:[^<>"\n]*>)?\s*"?([^"<>\n]+)') for key in _KEYS}

_STAC_PROPERTIES = {
    "datetime": "STAC_DATETIME",
    "start_datetime": "STAC_START_DATETIME",
    "platform": "PLATFORM",
    "s2:processing_baseline": "PROCESSING_BASELINE",
    "s2:product_uri": "PRODUCT_URI",
    "processing:level": "PROCESSING_LEVEL",
    "view:sun_elevation": "SUN_ELEVATION",
    "earthsearch:boa_offset_applied": "BOA_OFFSET_APPLIED",
}

_DATE_KEYS = (
    "STAC_DATETIME", "STAC_START_DATETIME", "DATE_ACQUIRED", "PRODUCT_START_TIME", "DATATAKE_SENSING_START",
    "DATATAKE_1_DATATAKE_SENSING_START", "SENSING_TIME", "ACQUISITIONDATETIME", "ACQUISITIONDATE",
    "ACQUISITION_DATE", "EXIF_DateTimeOriginal", "TIFFTAG_DATETIME",
)  # fmt: skip
_INSIDE_PRODUCT = re.compile(r"R\d0m|IMG_DATA|GRANULE|L[12]\w+_T\d\d[A-Z]{3}_\w+")
"""Folders of a Sentinel-2 product: the one above such a folder still belongs to it."""
SURFACE = "surface"
TOP_OF_ATMOSPHERE = "top of atmosphere"
_ABOVE = re.compile(r"(?<![A-Z0-9])(MSIL1C|L1C|LEVEL-1C|L1|L1TP|L1GT|L1GS)(?![A-Z0-9])", re.IGNORECASE)
_BELOW = re.compile(
    r"(?<![A-Z0-9])(MSIL2A|L2A|LEVEL-2A|L2|L2SP|L2SR|SR_B\d+|HLS\.[LS]30)(?![A-Z0-9])", re.IGNORECASE
)
_BASELINE = re.compile(r"(?<![A-Za-z0-9])N(\d{2})(\d{2})_R\d{3}_")
_DAY = re.compile(r"\s*(\d{4})[-:/]?(\d{2})[-:/]?(\d{2})(?!\d)")


def product_tags(path: str) -> dict[str, str]:
    """Read metadata from the STAC item and product files beside a local file; none for a remote one."""
    if not os.path.isfile(path):
        return {}
    tags: dict[str, str] = {}
    for file in _product_files(path):
        text = _read(file)
        for key, pattern in _VALUE.items():
            match = pattern.search(text)
            if match:
                tags.setdefault(key, match.group(1).strip())
    return tags | _stac_tags(os.path.splitext(path)[0] + ".json")


def acquisition_date(tags: Mapping[str, str]) -> str | None:
    """Find the day of acquisition, ``YYYY-MM-DD``, in STAC, product, IMAGERY, EXIF or TIFF tags, in order."""
    for key in _DATE_KEYS:
        match = _DAY.match(tags.get(key, ""))
        if match:
            try:
                return date(*(int(part) for part in match.groups())).isoformat()
            except ValueError:
                continue
    return None


def unread_dates(tags: Mapping[str, str]) -> list[str]:
    """List what stands where a day of acquisition is looked for and is none, as in "5 July"."""
    values = (tags.get(key, "").strip() for key in _DATE_KEYS if not key.startswith(("EXIF", "TIFFTAG")))
    return [value for value in values if value and acquisition_date({_DATE_KEYS[0]: value}) is None]


def processing_baseline(tags: Mapping[str, str], paths: Iterable[str]) -> float | None:
    """Read Sentinel-2's processing baseline (4.0 for ``04.00``) in metadata or the product's name, if any."""
    text = tags.get("PROCESSING_BASELINE", "")
    if re.fullmatch(r"\d{1,2}\.\d{1,2}", text):
        return float(text)
    for name in (tags.get("PRODUCT_URI", ""), *paths):
        match = _BASELINE.search(name)
        if match:
            return float(f"{match.group(1)}.{match.group(2)}")
    return None


def processing_level(tags: Mapping[str, str], paths: Iterable[str]) -> str | None:
    """Tell whether metadata or names say ``SURFACE`` or ``TOP_OF_ATMOSPHERE``; None if they do not agree."""
    keys = ("PROCESSING_LEVEL", "PRODUCT_URI", "LANDSAT_PRODUCT_ID")
    for texts in ([tags.get(key, "") for key in keys], list(paths)):
        said = {
            level
            for level, pattern in ((TOP_OF_ATMOSPHERE, _ABOVE), (SURFACE, _BELOW))
            if any(pattern.search(text.replace("_", " ").replace("SR B", "SR_B")) for text in texts)
        }
        if said:
            return said.pop() if len(said) == 1 else None
    return None


def _product_files(path: str) -> Iterator[str]:
    """List Landsat's MTL files beside a file, and Sentinel-2's MTD files beside it or above it."""
    folder, name = os.path.split(os.path.abspath(path))
    for other in _listed(folder):
        product, marker, _ = other.partition("_MTL.")
        if marker and name.startswith(product) and other.lower().endswith((".txt", ".json", ".xml")):
            yield os.path.join(folder, other)
    for _ in range(5):
        for other in _listed(folder):
            if re.fullmatch(r"MTD_(MSIL\w+|TL)\.xml", other):
                yield os.path.join(folder, other)
        if folder.upper().endswith(".SAFE") or not _INSIDE_PRODUCT.fullmatch(os.path.basename(folder)):
            return
        folder = os.path.dirname(folder)


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        if os.path.getsize(path) > _LARGEST:
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _stac_tags(path: str) -> dict[str, str]:
    try:
        item: Any = json.loads(_read(path) or "null")
    except ValueError:
        return {}
    properties = item.get("properties") if isinstance(item, dict) and "stac_version" in item else None
    if not isinstance(properties, dict):
        return {}
    return {
        tag: str(properties[key]) for key, tag in _STAC_PROPERTIES.items() if properties.get(key) is not None
    } | _stac_scale(item.get("assets"), os.path.basename(path).removesuffix(".json"))


def _stac_scale(assets: Any, stem: str) -> dict[str, str]:
    """Read scale and offset of the item's asset with this file name; none unless its bands agree."""
    for asset in assets.values() if isinstance(assets, dict) else ():
        name = str(asset.get("href", "")) if isinstance(asset, dict) else ""
        if os.path.splitext(os.path.basename(name))[0] != stem:
            continue
        bands = [asset, *(asset.get("bands") or ()), *(asset.get("raster:bands") or ())]
        said = {
            (str(scale), str(band.get("raster:offset", band.get("offset", 0))))
            for band in bands
            if isinstance(band, dict) and (scale := band.get("raster:scale", band.get("scale"))) is not None
        }
        if len(said) == 1:
            return dict(zip(("STAC_SCALE", "STAC_OFFSET"), said.pop(), strict=True))
    return {}
