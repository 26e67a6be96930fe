"""Lengths as people write them: ``3px``, ``30m``, ``7.5km``; a bare number is pixels."""

from __future__ import annotations

import math
import re

from geoseg.assess.boundary import Tolerance
from geoseg.errors import SettingsError
from geoseg.raster.georeference import Georeference

_LENGTH = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(px|m|km)?\s*")
_LARGEST_REACH = 64
"""Pixels; a boundary farther away is another boundary."""
_DEFAULT_BLOCK = 512
_LEAST_BLOCK = 32
_SMALLEST_BLOCK = 16


def parse_length(text: str | float, option: str) -> tuple[float, bool]:
    """Read a length.

    Args:
        text: A number with ``px``, ``m`` or ``km`` behind it.
        option: Where it was given, for messages.

    Returns:
        The amount, greater than 0, and whether it is metres (else pixels).

    Raises:
        SettingsError: If it is no length.
    """
    match = _LENGTH.fullmatch(str(text))
    amount = float(match.group(1)) if match else 0.0
    if match is None or amount <= 0:
        raise SettingsError(f'{option} "{text}" is not a length; write 3px, 30m or 7.5km')
    unit = match.group(2) or "px"
    return amount * (1000.0 if unit == "km" else 1.0), unit != "px"


def tolerance(text: str | float, georeference: Georeference, shape: tuple[int, int]) -> Tolerance:
    """A boundary tolerance for a raster.

    Raises:
        SettingsError: If it is no length, is metres where a pixel's size is unknown, or reaches too far.
    """
    amount, in_metres = parse_length(text, "--tolerance")
    pixel = _pixel_size(text, "--tolerance", georeference, shape) if in_metres else (1.0, 1.0)
    found = Tolerance(amount, in_metres, pixel)
    if found.reach > _LARGEST_REACH:
        raise SettingsError(f"--tolerance {text} is more than {_LARGEST_REACH - 1} pixels")
    return found


def block_size(text: str | float | None, georeference: Georeference, shape: tuple[int, int]) -> int:
    """Side in pixels of the blocks of the bootstrap.

    By default 512 pixels, less on rasters that hold fewer than eight of them on their longer side.

    Raises:
        SettingsError: If it is no length, is metres where a pixel's size is unknown, or is too small.
    """
    if text is None:
        return min(_DEFAULT_BLOCK, max(_LEAST_BLOCK, max(shape) // 8))
    amount, in_metres = parse_length(text, "--blocks")
    if in_metres:
        height, width = _pixel_size(text, "--blocks", georeference, shape)
        amount /= math.sqrt(height * width)
    if amount < _SMALLEST_BLOCK:
        raise SettingsError(
            f"--blocks {text} is {amount:.3g} pixels; under {_SMALLEST_BLOCK} pixels intervals are "
            "far too narrow, because neighbouring pixels are wrong together"
        )
    return round(amount)


def _pixel_size(
    text: str | float, option: str, georeference: Georeference, shape: tuple[int, int]
) -> tuple[float, float]:
    size = georeference.pixel_size(shape)
    if size is None:
        raise SettingsError(f"{option} {text}: the map has no CRS, so give pixels, such as 3px")
    return size
