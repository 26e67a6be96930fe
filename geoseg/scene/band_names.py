"""Common names of bands, derived from band ids, descriptions or colour interpretation.

To add a sensor, add one entry to ``SENSORS``: its band ids, and a pattern for its file names and metadata.

Common names are those of the STAC ``eo`` extension 2.0 (https://github.com/stac-extensions/eo). Band tables:
Sentinel-2 MSI (ESA user handbook), Landsat 4-9 (USGS, Collection 2 product guides), HLS v2 (LP DAAC user
guide), MODIS surface reflectance (MOD09 user guide).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

COMMON_NAMES = (
    "pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075",
    "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12",
)  # fmt: skip
"""Common names of the STAC ``eo`` extension 2.0."""

STAND_INS: Mapping[str, tuple[str, ...]] = {
    "nir": ("nir08",),
    "nir08": ("nir",),
    "lwir": ("lwir11",),
    "lwir11": ("lwir",),
}
"""Bands that can replace another one that a scene lacks (nir is 0.75-1.0 um, nir08 0.75-0.9 um)."""

_MSI = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "rededge071", "6": "rededge075",
    "7": "rededge078", "8": "nir", "8A": "nir08", "9": "nir09", "10": "cirrus", "11": "swir16",
    "12": "swir22",
}  # fmt: skip
_OLI = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir08", "6": "swir16", "7": "swir22",
    "8": "pan", "9": "cirrus", "10": "lwir11", "11": "lwir12",
}  # fmt: skip
_TM = {"1": "blue", "2": "green", "3": "red", "4": "nir08", "5": "swir16", "6": "lwir", "7": "swir22"}
_MODIS = {"1": "red", "2": "nir", "3": "blue", "4": "green", "6": "swir16", "7": "swir22"}
_HLS_L30 = {key: _OLI[key] for key in _OLI if key != "8"} | {"9": "cirrus"}


def _one_digit(table: Mapping[str, str]) -> dict[str, str]:
    return {f"B{key}": name for key, name in table.items()}


def _two_digits(table: Mapping[str, str]) -> dict[str, str]:
    return {f"B{key if key.endswith('A') else key.zfill(2)}": name for key, name in table.items()}


def _landsat(table: Mapping[str, str], thermal: str) -> dict[str, str]:
    surface = {f"SR_B{key}": name for key, name in table.items() if int(key) <= 7 and key != thermal}
    return _one_digit(table) | surface | {f"ST_B{thermal}": table[thermal]}


@dataclass(frozen=True, slots=True)
class Sensor:
    """A family of sensors whose files name their bands alike.

    Attributes:
        title: The name that messages give it.
        evidence: Pattern of file names and metadata of its products; capitals do not matter.
        bands: Band id in upper case -> common name.
    """

    title: str
    evidence: str
    bands: Mapping[str, str]


SENSORS: Mapping[str, Sensor] = {
    "sentinel-2": Sensor(
        "Sentinel-2",
        r"\bS2[A-D]_|\bS2MSI|\bT\d\d[A-Z]{3}_\d{8}T\d{6}|sentinel-?2",
        _one_digit(_MSI) | _two_digits(_MSI),
    ),
    "hls-s30": Sensor("HLS S30 (Sentinel-2)", r"\bHLS\.S30\b|\bHLSS30\b", _two_digits(_MSI)),
    "hls-l30": Sensor("HLS L30 (Landsat)", r"\bHLS\.L30\b|\bHLSL30\b", _two_digits(_HLS_L30)),
    "landsat-8-9": Sensor("Landsat 8/9", r"\bL[CO]0[89]_|landsat[-_ ]?[89]\b", _landsat(_OLI, "10")),
    "landsat-7": Sensor(
        "Landsat 7",
        r"\bLE07_|landsat[-_ ]?7\b",
        _landsat(_TM, "6") | {"B8": "pan", "B6_VCID_1": "lwir", "B6_VCID_2": "lwir"},
    ),
    "landsat-4-5": Sensor("Landsat 4/5", r"\bLT0[45]_|landsat[-_ ]?[45]\b", _landsat(_TM, "6")),
    "modis": Sensor(
        "MODIS",
        r"\bM[OY]D09[A-Z0-9]*\.",
        {f"SUR_REFL_B{key.zfill(2)}": name for key, name in _MODIS.items()} | {"SUR_REFL_B05": "nir1240"},
    ),
}

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

_ID = r"(?:SUR_REFL_|SR_|ST_)?B\d{1,2}A?(?:_VCID_[12])?"
"""Pattern of band ids, also of products that ``SENSORS`` does not list."""

_BAND_ID = re.compile(rf"({_ID})(?:, central wavelength \d+ nm)?", re.IGNORECASE)

_LEFT_OUT = re.compile(
    r"\bb(?:and|ands)?[ _-]?\d{1,2}a?\b|\b(?:band|channel|reflectance|surface)\b|[^a-z0-9]+"
)


def band_id(name: str | None) -> str | None:
    """Return the provider's band id in a description, in upper case; None if it is no band id.

    ``"B4, central wavelength 665 nm"``, as GDAL's Sentinel-2 driver writes it, gives ``"B4"``.
    """
    if not name:
        return None
    match = _BAND_ID.fullmatch(name.strip())
    text = match.group(1).upper() if match else name.strip().upper()
    return text if match or any(text in sensor.bands for sensor in SENSORS.values()) else None


def possible_sensors(names: Iterable[str | None], evidence: Iterable[str] = ()) -> tuple[str, ...]:
    """List the sensors (keys of ``SENSORS``) whose files may name bands like this.

    Args:
        names: Descriptions of all bands of the scene.
        evidence: File names and metadata values; if they name exactly one sensor, it is that one.

    Returns:
        One key if the sensor is certain, several if the names are ambiguous, none if no sensor uses all of
        these ids.
    """
    names = list(names)
    ids = {found for name in names if (found := band_id(name))}
    texts = list(evidence)
    named = [
        key
        for key, sensor in SENSORS.items()
        if any(re.search(sensor.evidence, text, re.I) for text in texts)
    ]
    if any(name and "central wavelength" in name for name in names) and "sentinel-2" not in named:
        named.append("sentinel-2")
    if len(named) == 1:
        return tuple(named) if ids <= SENSORS[named[0]].bands.keys() else ()
    if not ids:
        return ()
    return tuple(key for key, sensor in SENSORS.items() if ids <= sensor.bands.keys())


def common_names(
    descriptions: Sequence[str | None], colours: Sequence[str], sensors: Sequence[str]
) -> list[str | None]:
    """Return the common name of each band of a scene; None if it is unknown or ambiguous.

    Args:
        descriptions: Description of each band.
        colours: GDAL colour interpretation of each band, used if there is no description.
        sensors: The possible sensors, from ``possible_sensors``.
    """
    names: list[str | None] = []
    for description, colour in zip(descriptions, colours, strict=True):
        key = band_id(description)
        if key is None:
            name = common_name(description)
        else:  # all possible sensors must agree on what the id means
            meanings = {SENSORS[sensor].bands.get(key) for sensor in sensors}
            name = meanings.pop() if len(meanings) == 1 else None
        names.append(name or (_BY_COLOUR.get(colour) if not description else None))
    return names


def common_name(description: str | None) -> str | None:
    """Find the common name that a description spells out ("Red", "Band 4 - Red"), or None."""
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


def is_generic(name: str | None) -> bool:
    """Tell whether a description carries no information: none, "Band 1", "layer_2", "3"."""
    return not name or bool(re.fullmatch(r"(?:band|layer|channel|image)?[ _.-]?\d*", name.strip(), re.I))


def name_in_file_name(stem: str) -> str | None:
    """Find the band that a file's name ends in, such as ``B02`` in ``T31UFU_B02_10m``; else None."""
    known = {band for sensor in SENSORS.values() for band in sensor.bands} | set(COMMON_NAMES)
    others = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    match = re.search(rf"(?:^|[_.\- ])({_ID}|{others})(?:_\d+m|[_.]tif)?$", stem, re.IGNORECASE)
    return match.group(1) if match else None
