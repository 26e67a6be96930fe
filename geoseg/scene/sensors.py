"""Sensors and the names of their bands: which common name a provider's band id stands for.

Common names are those of the STAC ``eo`` extension 2.0 (https://github.com/stac-extensions/eo). Band tables:
Sentinel-2 MSI (ESA user handbook), Landsat 4-9 (USGS, Collection 2 product guides), HLS v2 (LP DAAC user
guide), MODIS surface reflectance (MOD09 user guide).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    """A family of sensors whose files name bands alike.

    Attributes:
        title: What messages call it.
        evidence: Matches file names and metadata of its products.
        bands: Band id in upper case -> common name.
    """

    title: str
    evidence: re.Pattern[str]
    bands: Mapping[str, str]


def _sensor(title: str, evidence: str, bands: Mapping[str, str]) -> Sensor:
    return Sensor(title, re.compile(evidence, re.IGNORECASE), bands)


SENSORS: Mapping[str, Sensor] = {
    "sentinel-2": _sensor(
        "Sentinel-2",
        r"\bS2[A-D]_|\bS2MSI|\bT\d\d[A-Z]{3}_\d{8}T\d{6}|sentinel-?2",
        _one_digit(_MSI) | _two_digits(_MSI),
    ),
    "hls-s30": _sensor("HLS S30 (Sentinel-2)", r"\bHLS\.S30\b|\bHLSS30\b", _two_digits(_MSI)),
    "hls-l30": _sensor("HLS L30 (Landsat)", r"\bHLS\.L30\b|\bHLSL30\b", _two_digits(_HLS_L30)),
    "landsat-8-9": _sensor("Landsat 8/9", r"\bL[CO]0[89]_|landsat[-_ ]?[89]\b", _landsat(_OLI, "10")),
    "landsat-7": _sensor(
        "Landsat 7",
        r"\bLE07_|landsat[-_ ]?7\b",
        _landsat(_TM, "6") | {"B8": "pan", "B6_VCID_1": "lwir", "B6_VCID_2": "lwir"},
    ),
    "landsat-4-5": _sensor("Landsat 4/5", r"\bLT0[45]_|landsat[-_ ]?[45]\b", _landsat(_TM, "6")),
    "modis": _sensor(
        "MODIS",
        r"\bM[OY]D09[A-Z0-9]*\.",
        {f"SUR_REFL_B{key.zfill(2)}": name for key, name in _MODIS.items()} | {"SUR_REFL_B05": "nir1240"},
    ),
}

_BAND_ID = re.compile(
    r"((?:SUR_REFL_|SR_|ST_)?B\d{1,2}A?(?:_VCID_[12])?)(?:, central wavelength \d+ nm)?", re.I
)


def band_id(name: str | None) -> str | None:
    """The provider's band id that a description consists of, in upper case; None if it is none.

    ``"B4, central wavelength 665 nm"``, as GDAL's Sentinel-2 driver writes it, gives ``"B4"``.
    """
    match = _BAND_ID.fullmatch(name.strip()) if name else None
    return match.group(1).upper() if match else None


def possible_sensors(names: Iterable[str | None], evidence: Iterable[str] = ()) -> tuple[str, ...]:
    """The sensors (keys of ``SENSORS``) whose files may name bands like this.

    Args:
        names: Descriptions of all bands of the scene.
        evidence: File names and metadata values; where they name exactly one sensor, it is the one.

    Returns:
        One key: certain. Several: the names alone do not tell. None: no sensor uses these ids together.
    """
    names = list(names)
    ids = {found for name in names if (found := band_id(name))}
    texts = list(evidence)
    named = [key for key, sensor in SENSORS.items() if any(sensor.evidence.search(text) for text in texts)]
    if any(name and "central wavelength" in name for name in names) and "sentinel-2" not in named:
        named.append("sentinel-2")
    if len(named) == 1:
        return tuple(named) if ids <= SENSORS[named[0]].bands.keys() else ()
    if not ids:
        return ()
    return tuple(key for key, sensor in SENSORS.items() if ids <= sensor.bands.keys())


def common_names_of_ids(names: Sequence[str | None], sensors: Sequence[str]) -> list[str | None]:
    """Common names of bands named by id: only where all possible sensors agree on what the id means."""
    found: list[str | None] = []
    for name in names:
        key = band_id(name)
        meanings = {SENSORS[sensor].bands.get(key) for sensor in sensors} if key else set()
        found.append(meanings.pop() if len(meanings) == 1 else None)
    return found
