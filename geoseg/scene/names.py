"""From what a file says of its bands to STAC common names: descriptions, band ids, colour interpretation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from geoseg.raster.source import is_remote
from geoseg.scene.sensors import band_id, common_names_of_ids

COMMON_NAMES = (
    "pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075",
    "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12",
)  # fmt: skip
"""Common names of the STAC ``eo`` extension 2.0."""

_SYNONYMS: Mapping[str, str] = {
    "panchromatic": "pan",
    "coastal blue": "coastal", "coastal aerosol": "coastal", "ultra blue": "coastal",
    "green i": "green05",
    "near infrared": "nir", "near infra red": "nir", "nir 1": "nir", "nir1": "nir", "near ir": "nir",
    "narrow nir": "nir08", "nir narrow": "nir08", "nir 2": "nir09", "nir2": "nir09", "water vapour": "nir09",
    "red edge": "rededge", "vegetation red edge": "rededge",
    "red edge 1": "rededge071", "rededge1": "rededge071", "rededge 1": "rededge071",
    "red edge 2": "rededge075", "rededge2": "rededge075", "rededge 2": "rededge075",
    "red edge 3": "rededge078", "rededge3": "rededge078", "rededge 3": "rededge078",
    "swir1": "swir16", "swir 1": "swir16",
    "shortwave infrared 1": "swir16", "short wave infrared 1": "swir16",
    "swir2": "swir22", "swir 2": "swir22",
    "shortwave infrared 2": "swir22", "short wave infrared 2": "swir22",
    "thermal": "lwir", "thermal infrared": "lwir", "tir": "lwir",
}  # fmt: skip

_BY_COLOUR = {"red": "red", "green": "green", "blue": "blue", "pan": "pan", "coastal": "coastal"} | {
    "rededge": "rededge",
    "nir": "nir",
    "lwir": "lwir",
}

STAND_INS: Mapping[str, tuple[str, ...]] = {
    "nir": ("nir08",),
    "nir08": ("nir",),
    "lwir": ("lwir11",),
    "lwir11": ("lwir",),
}
"""Bands that can serve for another when a scene lacks it (nir is 0.75-1.0 um, nir08 0.75-0.9 um)."""

_LEFT_OUT = re.compile(
    r"\bb(?:and|ands)?[ _-]?\d{1,2}a?\b|\b(?:band|channel|reflectance|surface)\b|[^a-z0-9]+"
)
_IN_FILE_NAME = re.compile(
    r"(?:^|[_.\- ])((?:SUR_REFL_|SR_|ST_)?B\d{1,2}A?(?:_VCID_[12])?|" + "|".join(COMMON_NAMES) + r")"
    r"(?:_\d+m|[_.]tif)?$",
    re.IGNORECASE,
)


def common_name(description: str | None) -> str | None:
    """The common name that a description spells out: "Red", "Band 4 - Red", "near-infrared"; else None."""
    if not description:
        return None
    plain = " ".join(re.split(r"[^a-z0-9]+", description.lower())).strip()
    bare = " ".join(part for part in _LEFT_OUT.sub(" ", description.lower()).split() if part)
    for phrase in (plain, bare):
        if phrase in COMMON_NAMES:
            return phrase
        if phrase in _SYNONYMS:
            return _SYNONYMS[phrase]
    return None


def common_names(
    descriptions: Sequence[str | None], colours: Sequence[str], sensors: Sequence[str]
) -> list[str | None]:
    """Common names of a scene's bands; None where the file does not say, or could mean several.

    Args:
        descriptions: Name of each band.
        colours: GDAL colour interpretation of each band; counts only where there is no description.
        sensors: The possible sensors, from ``possible_sensors``.
    """
    by_id = common_names_of_ids(descriptions, sensors)
    names: list[str | None] = []
    for description, colour, known in zip(descriptions, colours, by_id, strict=True):
        name = common_name(description) if band_id(description) is None else known
        names.append(name or (_BY_COLOUR.get(colour) if not description else None))
    return names


def is_generic(name: str | None) -> bool:
    """Whether a description says nothing: none, "Band 1", "layer_2", "3"."""
    return (
        not name or re.fullmatch(r"(?:band|layer|channel|image)?[ _.-]?\d*", name.strip(), re.I) is not None
    )


def name_in_file_name(stem: str) -> str | None:
    """The band that a file's name ends in: ``LC08_..._SR_B4`` -> ``SR_B4``, ``T31UFU_B02_10m`` -> ``B02``."""
    match = _IN_FILE_NAME.search(stem)
    return match.group(1) if match else None


def stem(path: str) -> str:
    """A path's or URL's file name without its extension."""
    if is_remote(path):
        path = path.split("?", 1)[0]  # a query; in the name of a local file it is a mark like others
    return PurePosixPath(path.replace("\\", "/")).stem or "scene"
