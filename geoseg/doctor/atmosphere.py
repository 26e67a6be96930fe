"""Convert between reflectance at the top of the atmosphere and at the surface, roughly.

Over dark ground the sensor sees the light that air scatters back, P; of what the ground reflects, the share T
arrives: rho' = P + T rho. P and T are those of a clear sky over land with the sun at middle height. They are
text-book values and the same for every scene, so haze, smoke and low sun remain; a product of surface
reflectance is always better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geoseg.scene.band import Band

AIR: Mapping[str, tuple[float, float]] = {
    "blue": (0.075, 0.80),
    "green": (0.045, 0.85),
    "red": (0.024, 0.90),
    "rededge": (0.019, 0.91),
    "rededge071": (0.019, 0.91),
    "rededge075": (0.015, 0.92),
    "rededge078": (0.012, 0.93),
    "nir": (0.010, 0.93),
    "nir08": (0.010, 0.93),
    "swir16": (0.002, 0.95),
    "swir22": (0.001, 0.94),
}
"""Common name of a band -> P, T."""

_BLUE_FLOOR, _BLUE_OVER_RED = 0.06, 0.025
"""The darkest blue, and how much it lies above the darkest red, where air was not taken out. In 618 pieces of
surface reflectance from all over the world blue is at most 0.020 above red there."""


def is_known(name: str | None) -> bool:
    """Tell whether a band with this common name can be converted; the others stay as they are."""
    return name in AIR


def to_surface(band: Band, name: str) -> Band:
    """Make a band of top-of-atmosphere reflectance read as about what the surface reflects, at least 0."""
    path, passed = AIR[name]
    return replace(band, scale=band.scale / passed, offset=(band.offset - path) / passed, lowest=0.0)


def to_top_of_atmosphere(band: Band, name: str) -> Band:
    """Make a band of surface reflectance read as about what a sensor above the atmosphere sees."""
    path, passed = AIR[name]
    return replace(band, scale=band.scale * passed, offset=band.offset * passed + path)


def looks_hazy(blue: NDArray[np.float64], red: NDArray[np.float64]) -> bool:
    """Tell whether the darkest pixels are blue, as through air; deserts hide that, shallows look so."""
    floor = float(np.percentile(blue, 1))
    return floor > _BLUE_FLOOR and floor - float(np.percentile(red, 1)) > _BLUE_OVER_RED
