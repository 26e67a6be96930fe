"""Lengths, areas and amounts of memory as people write them: ``10m``, ``0.5ha``, ``20px``, ``4GB``.

A length or an area needs a unit, because a bare number would mean different things in different options. A
bare number of bytes is accepted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from geoseg.errors import SettingsError

_METRES = {"m": 1.0, "km": 1000.0}
_HECTARES = {"ha": 1.0, "m2": 1e-4, "m²": 1e-4, "km2": 100.0, "km²": 100.0}
_PIXELS = "px"
_AMOUNT = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([^\W\d_]+[2²]?)?\s*")

_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i)?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_FEW_BYTES = 100_000
"""Fewer bytes are refused as an amount of memory: the unit was forgotten."""


@dataclass(frozen=True)
class _Amount:
    """An amount on a map, at least 0: of pixels, or of ``unit``."""

    amount: float
    in_pixels: bool
    unit: ClassVar[str]

    def __str__(self) -> str:
        return f"{self.amount:g}{_PIXELS if self.in_pixels else self.unit}"


class Length(_Amount):
    """A length on a map, in pixels or metres."""

    unit = "m"


class Area(_Amount):
    """An area of a map, in pixels or hectares."""

    unit = "ha"


def parse_length(text: str, option: str = "", *, zero: bool = False) -> Length:
    """Parse a length.

    Args:
        text: A number with ``px``, ``m`` or ``km``.
        option: The option that gave it, for messages.
        zero: Whether it may be 0.

    Raises:
        SettingsError: If it is no length, has no unit, or is 0 where it may not be.
    """
    amount, unit = _read(text, option, _METRES, "a length", "2px, 10m or 7.5km")
    if amount == 0 and not zero:
        raise SettingsError(
            f"{_written(text, option)}: a length must be more than 0, as in 2px, 10m or 7.5km"
        )
    return Length(amount, True) if unit == _PIXELS else Length(amount * _METRES[unit], False)


def parse_area(text: str, option: str = "") -> Area:
    """Parse an area.

    Args:
        text: A number with ``px``, ``ha``, ``m2`` or ``km2``.
        option: The option that gave it, for messages.

    Raises:
        SettingsError: If it is no area or has no unit.
    """
    amount, unit = _read(text, option, _HECTARES, "an area", "0.5ha, 450m2 or 20px")
    return Area(amount, True) if unit == _PIXELS else Area(amount * _HECTARES[unit], False)


def _read(text: str, option: str, units: dict[str, float], what: str, examples: str) -> tuple[float, str]:
    """Split an amount into its number and its unit: one of ``units``, or pixels."""
    found = _AMOUNT.fullmatch(str(text))
    try:
        amount = float(found[1]) if found else math.nan
    except ValueError:
        amount = math.nan
    unit = found[2] if found else None
    if math.isfinite(amount) and unit is None:
        number = str(text).strip()
        first, second, *_ = (f"{number}{unit}" for unit in units)
        raise SettingsError(
            f"{_written(text, option)}: give a unit, as in {number}{_PIXELS}, {first} or {second}"
        )
    if not math.isfinite(amount) or unit is None or unit not in (*units, _PIXELS):
        raise SettingsError(f'{option} "{text}" is not {what}; write {examples}'.lstrip())
    return amount, unit


def _written(text: str, option: str) -> str:
    return f"{option} {str(text).strip()}".lstrip()


def parse_memory(text: str | int) -> int:
    """Read the amount of memory of ``--max-memory``.

    Args:
        text: ``"4GB"`` (10^9), ``"2GiB"`` (2^30), ``"500M"``, or a number of bytes.

    Returns:
        Bytes, at least 1.

    Raises:
        SettingsError: If it is no positive amount of memory, or so few bytes that a unit must be missing.
    """
    found = _BYTES.fullmatch(str(text).strip())
    if found is None or (found[3] and not found[2]):  # "4iB" has no unit either
        raise SettingsError(f"--max-memory {text} is no amount of memory; write it as 4GB or 500MiB")
    number, unit, binary = found.groups()
    size = int(float(number) * (1024 if binary else 1000) ** _POWERS[unit.lower()])
    if size < 1:
        raise SettingsError("--max-memory must be more than nothing; write it as 4GB or 500MiB")
    if not unit and size < _FEW_BYTES:
        raise SettingsError(f"--max-memory {text} is {size} bytes; give the unit too, as in {number}GB")
    return size


def format_memory(size: float) -> str:
    """Write bytes as a person reads them: ``"1.4 GB"``, ``"310 MB"``."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
