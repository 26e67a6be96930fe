"""Read product metadata of a scene: day of acquisition, processing, platform.

Sources are the file's own metadata, a STAC item with the same stem, and the product files of Landsat
(``*_MTL``) and Sentinel-2 (``MTD_*.xml``) beside or above the file. File times and dates in file names are
not used.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

_LARGEST = 16 * 2**20
"""Largest product file to read, in bytes; real ones are far smaller."""

_KEYS = (
    "DATE_ACQUIRED", "SPACECRAFT_ID", "SPACECRAFT_NAME", "PRODUCT_START_TIME", "DATATAKE_SENSING_START",
    "SENSING_TIME", "PROCESSING_BASELINE", "PRODUCT_URI",
)  # fmt: skip
_VALUE = {key: re.compile(rf'\b{key}\b["\s:=]*(?:[^<>"\n]*>)?\s*"?([^"<>\n]+)') for key in _KEYS}

_STAC_PROPERTIES = {
    "datetime": "STAC_DATETIME",
    "start_datetime": "STAC_START_DATETIME",
    "platform": "PLATFORM",
    "s2:processing_baseline": "PROCESSING_BASELINE",
    "s2:product_uri": "PRODUCT_URI",
    "earthsearch:boa_offset_applied": "BOA_OFFSET_APPLIED",
}

_DATE_KEYS = (
    "STAC_DATETIME", "STAC_START_DATETIME", "DATE_ACQUIRED", "PRODUCT_START_TIME", "DATATAKE_SENSING_START",
    "DATATAKE_1_DATATAKE_SENSING_START", "SENSING_TIME", "ACQUISITIONDATETIME", "ACQUISITIONDATE",
    "ACQUISITION_DATE", "EXIF_DateTimeOriginal", "TIFFTAG_DATETIME",
)  # fmt: skip
_INSIDE_PRODUCT = re.compile(r"R\d0m|IMG_DATA|GRANULE|L[12]\w+_T\d\d[A-Z]{3}_\w+")
"""Folders of a Sentinel-2 product: the one above such a folder still belongs to it."""
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
    }
