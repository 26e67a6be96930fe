"""Judge each band by itself: one that holds nothing, or that is on another scale than the others.

Judged over all bands at once, one bad band of many hides among the good ones; the map is wrong all the same.

The limits lie well outside what real scenes do. In 324 scenes of surface reflectance from deserts, forests,
towns, sea, and snow, and in 82 aerial pictures, no value fills more than 13 % of a band, and then its
neighbours are common too; the brightest values of a band are at most 6.9 times those of the model (blue over
snow), and at most 2.7 times what is usual for the bands of its scene.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.doctor.findings import Severity
from geoseg.omissions import LIMIT
from geoseg.scene.band import Band

if TYPE_CHECKING:
    from geoseg.models.card import ModelBand

_MISSING_WARN = 0.01
"""Share of the pixels without one band at which the map may be worse there."""
_CONSTANT_WARN = 0.2
"""Share of one value, without neighbours, that is no measurement."""
_STOP = 0.5
"""Share of the pixels without one band at which the map is useless."""
_CONSTANT = 0.98
"""Share of one value at which the band holds nothing else, neighbours or not."""
_FEWEST = 100
"""Fewer pixels prove nothing."""
_NEARBY, _LEAST_NEARBY = 0.02, 0.01
"""Part of the model's range around a value, and the count there to the value's own that measurements have at
least: over open water they are clipped at 0 and lie around it; a part that was filled with 0 has a gap."""

_BRIGHT_STOP, _BRIGHT_WARN = 30.0, 6.0
"""Factor of a band's brightest values to the model's that stops, and to the other bands' that warns."""
_DARK_STOP, _DARK_WARN = 1 / 1000, 1 / 30
"""The same of bands that are too dark. Infrared over clear water is a hundredth of the model's brightest; a
warning needs other bands that show more than water."""
_NO_WATER = 0.3
_REFLECTANCE_AT_MOST = 2.0
"""No surface reflects more: if half of a band's values do, it is on another scale."""


@dataclass(frozen=True)
class BandValues:
    """Sampled valid values of one band, with the model's description of that band.

    Attributes:
        band: The scene's band.
        wanted: The model's band.
        stored: (pixels,) as in the file, without nodata and undeclared fill.
    """

    band: Band
    wanted: ModelBand
    stored: NDArray[np.generic]

    def scaled(self, scale: float, offset: float) -> NDArray[np.float64]:
        """Convert the values with another scale and offset."""
        values: NDArray[np.float64] = self.stored.astype(np.float64) * scale + offset
        return values

    def now(self) -> NDArray[np.float64]:
        """Convert the values to physical units with the scale and offset that the scene has now."""
        values = self.scaled(self.band.scale, self.band.offset)
        return values if self.band.lowest is None else np.maximum(values, self.band.lowest)

    @property
    def brightness(self) -> float:
        """Factor of the brightest values (1st to 99th percentile) to the model's."""
        brightest = float(np.abs(np.percentile(self.now(), [1, 99])).max())
        return brightest / max(abs(self.wanted.low), abs(self.wanted.high), 1e-12)


@dataclass(frozen=True, slots=True)
class BandDoubt:
    """What is wrong with one band.

    Attributes:
        severity: "stop" or "warn".
        code: "band-empty" or "band-scale".
        band: The model's name of the band.
        text: What was measured, as the end of a sentence that the band begins.
    """

    severity: Severity
    code: Literal["band-empty", "band-scale"]
    band: str
    text: str


def find_doubts(
    values: Sequence[BandValues], absent: Mapping[str, float], units: str, *, needs_all: bool = False
) -> tuple[BandDoubt, ...]:
    """Find bands that are empty where others are not, or on another scale than the others.

    Args:
        values: The values of each band that has any.
        absent: By the model's names, the share of the pixels with data at which a band has none.
        units: The model's units.
        needs_all: Whether a pixel that one band lacks is not mapped.
    """
    most = LIMIT if needs_all else _STOP
    by_name = {band.wanted.name: band for band in values}
    empty = [
        doubt for name, share in absent.items() if (doubt := _emptiness(name, share, by_name.get(name), most))
    ]
    stopped = {doubt.band for doubt in empty if doubt.severity == "stop"}
    bands = [band for band in values if band.wanted.name not in stopped]
    return (*empty, *(doubt for band in bands if (doubt := _scale(band, bands, units))))


def _emptiness(name: str, absent: float, band: BandValues | None, most: float) -> BandDoubt | None:
    filled, value = (0.0, 0.0) if band is None else _filled(band)
    share = absent + (1 - absent) * filled
    if absent >= _MISSING_WARN:
        text = f"has no values at {absent:.0%} of the pixels where others have"
    elif filled:
        text = f"is exactly {value:g} at {filled:.0%} of the pixels"
    else:
        return None
    return BandDoubt("stop" if share >= _STOP or absent > most else "warn", "band-empty", name, text)


def _filled(band: BandValues) -> tuple[float, float]:
    """Return the share of a stored value that is no measurement, and the value; share 0 if there is none."""
    width = band.wanted.high - band.wanted.low
    if band.stored.size < _FEWEST or width <= 0:
        return 0.0, 0.0
    values, counts = np.unique(band.stored, return_counts=True)
    most = int(counts.argmax())
    share, value = float(counts[most] / counts.sum()), float(values[most])
    room = max(_NEARBY * width / abs(band.band.scale), 1.5 if values.dtype.kind in "iu" else 0.0)
    nearby = int(counts[np.abs(values.astype(np.float64) - value) <= room].sum()) - int(counts[most])
    is_alone = nearby < _LEAST_NEARBY * counts[most]
    return (share if share >= (_CONSTANT_WARN if is_alone else _CONSTANT) else 0.0), value


def _scale(band: BandValues, bands: Sequence[BandValues], units: str) -> BandDoubt | None:
    own, wanted = band.brightness, band.wanted
    every = [other.brightness for other in bands]
    best = min(every, key=lambda factor: abs(math.log(max(factor, 1e-12))))
    if best * _DARK_WARN <= own <= best * _BRIGHT_WARN:  # else the scale is the scene's, not the band's
        return None
    others = [factor for other, factor in zip(bands, every, strict=True) if other is not band]
    usual = float(np.median([factor for factor in others if factor <= _BRIGHT_STOP] or [1.0]))
    is_impossible = units == "reflectance" and np.median(band.now()) > _REFLECTANCE_AT_MOST
    severity: Severity = "warn"
    if own > _BRIGHT_STOP or own < _DARK_STOP or is_impossible:
        severity = "stop"
    elif own <= _BRIGHT_WARN * max(usual, 1) and (own >= _DARK_WARN or usual <= _NO_WATER):
        return None
    low, high = np.percentile(band.now(), [1, 99])
    text = (
        f"is on another scale than the others: {low:.3g} to {high:.3g}, where the model reads "
        f"{wanted.low:.3g} to {wanted.high:.3g}"
    )
    return BandDoubt(severity, "band-scale", wanted.name, text)
