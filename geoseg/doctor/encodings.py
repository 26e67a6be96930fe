"""Find out by the values in which of the usual encodings a scene stores reflectance.

For every encoding the sampled pixels are converted and compared with what ground, plants, water, snow and
cloud reflect. The limits are of two kinds. What lies outside the wide ones is impossible, even through haze;
what lies inside the narrow ones is usual. An encoding is taken if it alone is possible, and usual. Else
nothing is taken: a wrong guess is worse than a question. docs/method.md shows how often that is right, and
how often it asks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_FEWEST, _MOST = 100, 20_000
"""Fewer pixels prove nothing; of more, so many are looked at, evenly spread."""
_APART = 1000
"""Factor between the brightest values of bands at which they are not on one scale, or one is empty."""
_VISIBLE, _VISIBLE_APART = ("blue", "green", "red"), 15
"""The same of visible bands: clear water, where they differ most, is some ten times darker in red."""
_FEW_LAND = 0.05
_IS_LAND = 0.25
"""Shares of pixels of land below which its brightest say nothing, and at which they decide."""
_DARK = 0.07
"""Most scenes have something darker in one of the bands; Landsat's Level 1, read as reflectance that fills 16
bits, has nothing below 0.076."""
_LUSH, _GREEN = 0.3, 0.45
"""NDVI above which ground is partly, or mostly, under plants."""
_DARKEST = 0.09, 0.16
_BLUE_HAZE = 0.03
"""Where the darkest pixels of all bands lie, infrared too, if an offset of about 0.1 was overlooked, and by
how much blue is lifted more than red at most. Ground without any shadow or water is darker in blue than in
infrared, and haze lifts blue more than red."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A way to store reflectance: reflectance = stored * scale + offset.

    Attributes:
        scale: A number that ``--scale`` can give with a few digits, so that its bytes can be had by hand.
        offset: See ``scale``.
        title: What messages call it.
    """

    scale: float
    offset: float
    title: str

    @property
    def flags(self) -> str:
        """The options that say the same."""
        return f"--scale {self.scale:.6g}" + (f" --offset {self.offset:.6g}" if self.offset else "")


TIMES_10000 = Encoding(1e-4, 0.0, "reflectance times 10,000")
SIXTEEN_BITS = Encoding(1.5259e-5, 0.0, "reflectance that fills 16 bits")
LANDSAT = Encoding(2.75e-5, -0.2, "Landsat Collection 2")
SENTINEL_2 = Encoding(1e-4, -0.1, "Sentinel-2 since 2022")
PER_CENT = Encoding(0.01, 0.0, "per cent")
PLAIN = Encoding(1.0, 0.0, "reflectance")
ENCODINGS = (TIMES_10000, SIXTEEN_BITS, LANDSAT, SENTINEL_2, PER_CENT, PLAIN)


@dataclass(frozen=True, slots=True)
class Fit:
    """Which encodings the values of a scene can have.

    Attributes:
        possible: Those that nothing speaks against.
        usual: Those of them under which the scene looks as most do.
    """

    possible: tuple[Encoding, ...]
    usual: tuple[Encoding, ...]

    @property
    def only(self) -> Encoding | None:
        """The encoding to take; None if the values do not decide."""
        return self.possible[0] if len(self.possible) == 1 and self.possible == self.usual else None


def fit_encodings(
    stored: Mapping[str, NDArray[np.generic]], allowed: Sequence[Encoding] = ENCODINGS
) -> Fit | None:
    """Compare the values of a scene with every encoding that their data type can have.

    Args:
        stored: Common name of a band -> its values at the same valid pixels, (pixels,).
        allowed: The encodings that are left by what is known otherwise.

    Returns:
        The fit; None where values say too little: of few pixels, without green, red and near infrared, of 8
        bits, which are pictures, or of bands on different scales.
    """
    named = dict(stored)
    if "nir" not in named and "nir08" in named:
        named["nir"] = named.pop("nir08")
    bands = [name for name in ("blue", "green", "red", "nir", "swir16", "swir22") if name in named]
    if not {"green", "red", "nir"} <= set(bands) or len(named["nir"]) < _FEWEST:
        return None
    if any(named[name].dtype.itemsize == 1 for name in bands):
        return None
    step = -(-len(named["nir"]) // _MOST)
    numbers = {name: named[name][::step].astype(np.float64) for name in bands}
    brightest = {name: float(np.abs(np.percentile(own, 99))) for name, own in numbers.items()}
    visible = [brightest[name] for name in _VISIBLE if name in brightest]
    for own, apart in ((brightest.values(), _APART), (visible, _VISIBLE_APART)):
        if max(own) > apart * min(own):
            return None
    kinds = {named[name].dtype for name in bands}
    spectra = {
        encoding: _Spectra({name: own * encoding.scale + encoding.offset for name, own in numbers.items()})
        for encoding in allowed
        if _can_store(encoding, kinds, numbers.values())
    }
    possible = tuple(each for each, seen in spectra.items() if seen.is_possible(has_offset=each.offset != 0))
    usual = (each for each in possible if spectra[each].is_usual(has_offset=each.offset != 0))
    return Fit(possible, tuple(usual))


def _can_store(encoding: Encoding, kinds: set[np.dtype[np.generic]], numbers: Collection[Values]) -> bool:
    """Tell whether numbers of these types can be of an encoding: some have whole numbers of 16 bits only."""
    if encoding == PLAIN:
        return all(kind.kind == "f" for kind in kinds)
    if encoding not in (SIXTEEN_BITS, LANDSAT):
        return True
    if np.dtype(np.int16) in kinds:
        return False
    return all(
        own.min() >= 0 and own.max() <= np.iinfo(np.uint16).max and bool(np.all(own == np.rint(own)))
        for own in numbers
    )


class _Spectra:
    """Pixels as reflectance, under the supposition that they are of one encoding.

    Args:
        bands: Common name -> reflectance, (pixels,).
    """

    def __init__(self, bands: Mapping[str, Values]) -> None:
        self._all = np.stack(list(bands.values()))
        self._green, self._red, self._nir = bands["green"], bands["red"], bands["nir"]
        self._blue, self._swir = bands.get("blue", self._green), bands.get("swir16")
        self._has_swir = {"swir16", "swir22"} & set(bands) != set()
        self._land = self._nir > 1.15 * self._green
        self._ndvi = (self._nir - self._red) / np.maximum(self._nir + self._red, 1e-3)

    def is_possible(self, *, has_offset: bool) -> bool:
        """Tell whether any scene could look so, haze, snow and desert included."""
        plants = self._ndvi > _GREEN
        land = (self._nir >= 0.03) & (~plants | ((self._red <= 0.2) & (self._blue <= 0.25)))
        dark = (self._green >= 0.002) & (self._green < 0.3)
        other = dark | ((self._green >= 0.3) & (self._red > 0.6 * self._green))
        if self._share(land, other, -0.03, 1.4) < 0.7:
            return False
        if self._land.mean() >= _IS_LAND and not 0.05 <= self._brightest(self._land) <= 1.1:
            return False
        plants &= self._land
        if plants.mean() >= _FEW_LAND and self._brightest(plants) < 0.1:
            return False
        return has_offset or not self._has_swir or not self._is_lifted()

    def is_usual(self, *, has_offset: bool) -> bool:
        """Tell whether the scene looks as most do, something dark in it."""
        if not has_offset and self._darkest().min() > _DARK:
            return False
        plants = self._ndvi > _GREEN
        land = (self._nir >= 0.03) & (self._nir <= 0.95) & (self._red <= 0.65) & (self._green <= 0.6)
        land &= (self._green >= 0.005) & (self._blue <= 0.45)
        land &= ~plants | ((self._red <= 0.16) & (self._blue <= 0.135) & (self._nir >= 0.05))
        if self._swir is not None:
            lush = (self._ndvi > _LUSH) & (self._swir < 0.8 * self._nir)
            land &= ~lush | (self._red <= 0.11)
        dark = (self._green >= 0.003) & (self._green < 0.3)
        other = dark | ((self._green >= 0.3) & (self._red > 0.75 * self._green))
        if self._share(land, other, -0.02, 1.3) < 0.95 or np.percentile(self._all, 99, axis=1).max() <= 0.03:
            return False
        return bool(self._land.mean() <= _FEW_LAND or 0.14 <= self._brightest(self._land) <= 0.75)

    def _share(self, land: NDArray[np.bool_], other: NDArray[np.bool_], low: float, high: float) -> float:
        inside = ((self._all >= low) & (self._all <= high)).all(axis=0)
        return float(np.mean(inside & np.where(self._land, land, other)))

    def _brightest(self, pixels: NDArray[np.bool_]) -> float:
        return float(np.percentile(self._nir[pixels], 95))

    def _darkest(self) -> Values:
        found: Values = np.percentile(self._all, 0.2, axis=1)
        return found

    def _is_lifted(self) -> bool:
        low, high = _DARKEST
        darkest = self._darkest()
        blue, red = np.percentile(self._blue, 0.2), np.percentile(self._red, 0.2)
        return bool(darkest.min() > low and darkest.max() < high and blue - red < _BLUE_HAZE)
