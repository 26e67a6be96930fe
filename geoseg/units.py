"""Areas and lengths as people write them: ``0.5ha``, ``450m2``, ``20px``; ``10m``, ``2px``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from geoseg.errors import SettingsError

_AREA = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(ha|m2|m²|km2|km²|px)?\s*")
_LENGTH = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(m|km|px)?\s*")
_HECTARES = {"ha": 1.0, "m2": 1e-4, "m²": 1e-4, "km2": 100.0, "km²": 100.0}


@dataclass(frozen=True, slots=True)
class AreaLimit:
    """A least area.

    Attributes:
        amount: At least 0.
        in_pixels: Whether ``amount`` counts pixels; else it is hectares.
    """

    amount: float
    in_pixels: bool


def parse_area(text: str | float) -> AreaLimit:
    """Read an area.

    Args:
        text: A number with ``ha``, ``m2``, ``km2`` or ``px`` behind it; a bare number is hectares.

    Raises:
        SettingsError: If it is none of these.
    """
    match = _AREA.fullmatch(str(text))
    try:
        amount = float(match.group(1)) if match else math.nan
    except ValueError:
        amount = math.nan
    if match is None or not math.isfinite(amount):
        raise SettingsError(f'"{text}" is not an area; write 0.5ha, 450m2 or 20px')
    unit = match.group(2) or "ha"
    return AreaLimit(amount, True) if unit == "px" else AreaLimit(amount * _HECTARES[unit], False)


@dataclass(frozen=True, slots=True)
class Length:
    """A length on a map.

    Attributes:
        amount: Greater than 0.
        in_pixels: Whether ``amount`` counts pixels; else it is metres.
    """

    amount: float
    in_pixels: bool

    def __str__(self) -> str:
        return f"{self.amount:g}{'px' if self.in_pixels else 'm'}"


def parse_length(text: str | float) -> Length:
    """Read a length.

    Args:
        text: A number with ``m``, ``km`` or ``px`` behind it; a bare number is metres.

    Raises:
        SettingsError: If it is none of these, or 0.
    """
    match = _LENGTH.fullmatch(str(text))
    try:
        amount = float(match.group(1)) if match else math.nan
    except ValueError:
        amount = math.nan
    if match is None or not math.isfinite(amount) or amount <= 0:
        raise SettingsError(f'"{text}" is not a length; write 10m or 2px')
    unit = match.group(2) or "m"
    return Length(amount, True) if unit == "px" else Length(amount * (1000.0 if unit == "km" else 1.0), False)
