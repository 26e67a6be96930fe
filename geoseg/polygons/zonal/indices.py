"""Spectral indices by name: the bands that each needs, and its formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
LARGEST = 1000.0
"""Largest magnitude of an index; beyond it, where the denominator is almost zero, there is no value."""


def _difference(a: Values, b: Values) -> Values:
    return (a - b) / (a + b)


@dataclass(frozen=True, slots=True)
class Index:
    """A spectral index.

    Attributes:
        bands: Common names of its bands, in the order that ``formula`` takes them.
        source: Where it was published.
        formula: From bands to the index, pixel by pixel; by default the normalised difference of two.
        reflectance: Whether bands must be reflectance (0-1): where it adds a constant to bands. Other indices
            are ratios, which any common factor leaves alone.
    """

    bands: tuple[str, ...]
    source: str
    formula: Callable[..., Values] = _difference
    reflectance: bool = False


def compute(index: Index, bands: list[Values]) -> Values:
    """Compute the index of every pixel.

    Args:
        index: The index.
        bands: float64 arrays of one shape in the order of ``index.bands``, NaN where there is no value.

    Returns:
        float64, same shape; NaN where a band has no value or the denominator is almost zero.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = index.formula(*bands)
        return np.where(np.abs(values) <= LARGEST, values, np.nan)


def _evi(nir: Values, red: Values, blue: Values) -> Values:
    return 2.5 * (nir - red) / (nir + 6.0 * red - 7.5 * blue + 1.0)


def _evi2(nir: Values, red: Values) -> Values:
    return 2.5 * (nir - red) / (nir + 2.4 * red + 1.0)


def _savi(nir: Values, red: Values) -> Values:
    return 1.5 * (nir - red) / (nir + red + 0.5)


def _msavi(nir: Values, red: Values) -> Values:
    return (2.0 * nir + 1.0 - np.sqrt((2.0 * nir + 1.0) ** 2 - 8.0 * (nir - red))) / 2.0


def _bsi(swir: Values, red: Values, nir: Values, blue: Values) -> Values:
    return ((swir + red) - (nir + blue)) / ((swir + red) + (nir + blue))


INDICES: dict[str, Index] = {
    "ndvi": Index(("nir", "red"), "Rouse et al. 1974, NASA SP-351"),
    "gndvi": Index(("nir", "green"), "Gitelson et al. 1996, Remote Sensing of Environment 58"),
    "ndre": Index(("nir", "rededge071"), "Gitelson & Merzlyak 1994, J. Plant Physiology 143"),
    "ndwi": Index(("green", "nir"), "McFeeters 1996, Int. J. Remote Sensing 17 (open water)"),
    "mndwi": Index(("green", "swir16"), "Xu 2006, Int. J. Remote Sensing 27 (open water)"),
    "ndmi": Index(("nir", "swir16"), "Gao 1996, Remote Sensing of Environment 58 (water in plants)"),
    "nbr": Index(("nir", "swir22"), "Key & Benson 2006, FIREMON, RMRS-GTR-164 (burned areas)"),
    "ndsi": Index(("green", "swir16"), "Hall et al. 1995, Remote Sensing of Environment 54 (snow)"),
    "ndbi": Index(("swir16", "nir"), "Zha et al. 2003, Int. J. Remote Sensing 24 (built-up)"),
    "bsi": Index(("swir16", "red", "nir", "blue"), "Rikimaru et al. 2002, Tropical Ecology 43", _bsi),
    "evi": Index(
        ("nir", "red", "blue"), "Huete et al. 2002, Remote Sensing of Environment 83", _evi, reflectance=True
    ),
    "evi2": Index(
        ("nir", "red"), "Jiang et al. 2008, Remote Sensing of Environment 112", _evi2, reflectance=True
    ),
    "savi": Index(
        ("nir", "red"), "Huete 1988, Remote Sensing of Environment 25 (L = 0.5)", _savi, reflectance=True
    ),
    "msavi": Index(
        ("nir", "red"), "Qi et al. 1994, Remote Sensing of Environment 48 (MSAVI2)", _msavi, reflectance=True
    ),
}
"""The indices of ``--stats``. Normalised differences are (first - second) / (first + second)."""
