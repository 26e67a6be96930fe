"""Compare the values of training scenes with each other: one on another scale would spoil the model.

The limits come from all pairs of 327 scenes of reflectance at 30 m (deserts, forests, towns, water, snow) and
of 82 aerial pictures. In no pair are all bands of one brighter by more than a factor of 6.2, nor one band by
more than 6.3 times what the others are; against the median of all, no scene differs in all bands by more than
1.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.scene.sample import sample_scene
from geoseg.training.ground.labelled_scene import LabelledScene, band_names
from geoseg.training.label_check.findings import LabelFinding, Level

_PIXELS = 50_000
"""Pixels of a scene that are looked at."""
_FEWEST = 100
_STOP = 20.0
"""Factor between all bands of a scene and those of the others that is another unit."""
_WARN, _WARN_MANY = 8.0, 3.0
"""The same that is unusual; and where there are several others, or data types and scale tags differ too."""
_SEVERAL = 4
_BAND_STOP, _BAND_WARN = 1000.0, 30.0
"""Factor of one band beside that of the scene's other bands. Infrared of a forest is a hundred times that of
the sea, whose blue is the forest's."""
_SHIFT, _SAME_SHIFT = 0.25, 0.6
"""Shift of the darkest values, in parts of the usual brightness, that all bands share; and how equally."""
_MISSING_WARN = 0.01


@dataclass(frozen=True)
class _Values:
    """The values of a scene.

    Attributes:
        name: The first file of the scene.
        limits: 1st, 50th and 99th percentile of each band, float64 (bands, 3); NaN for a band without any.
        absent: Share of the pixels where each band has no value, (bands,).
        storage: Data type, scale and offset of its bands.
    """

    name: str
    limits: NDArray[np.float64]
    absent: NDArray[np.float64]
    storage: tuple[object, ...]

    @property
    def brightness(self) -> NDArray[np.float64]:
        """The largest usual value of each band, without sign, (bands,)."""
        largest: NDArray[np.float64] = np.abs(self.limits[:, [0, 2]]).max(axis=1)
        return largest


def compare_scenes(scenes: Sequence[LabelledScene]) -> list[LabelFinding]:
    """Compare the bands of scenes with those of the others; a bounded sample of each is read.

    Raises:
        RunError: If a file cannot be read.
    """
    names = band_names(scenes[0].image)
    measured = [values for scene in scenes if (values := _measure(scene)) is not None]
    marks = [remark for scene in scenes for remark in scene.image.remarks]
    found = [LabelFinding("warn", "alpha-is-a-band", remark) for remark in marks]
    found += [finding for values in measured if (finding := _holes(values, names)) is not None]
    compared = measured
    if len(measured) == 2:  # one line for both: that the one is brighter, not that the other is darker too
        compared = [max(measured, key=lambda values: float(np.nanmax(values.brightness)))]
    for values in compared:
        others = [other for other in measured if other is not values]
        found += _compare(values, others, names) if others else []
    return found


def _measure(scene: LabelledScene) -> _Values | None:
    image = scene.image
    sample = sample_scene(image, _PIXELS)
    if sample.pixels < _FEWEST:
        return None
    limits = np.full((len(image.bands), 3), np.nan)
    for i, (band, stored, missing) in enumerate(zip(image.bands, sample.stored, sample.missing, strict=True)):
        known = stored[~missing]
        if known.size:
            limits[i] = np.percentile(known.astype(np.float64) * band.scale + band.offset, [1, 50, 99])
    storage = tuple((band.dtype, band.scale, band.offset) for band in image.bands)
    return _Values(image.paths[0], limits, sample.absent, storage)


def _holes(values: _Values, names: Sequence[str]) -> LabelFinding | None:
    """Report bands that hold one value only, or none at many pixels."""
    texts = []
    for name, limits, absent in zip(names, values.limits, values.absent, strict=True):
        if absent >= _MISSING_WARN:
            texts.append(f"band {name} has no values at {absent:.0%} of the pixels where others have")
        elif limits[0] == limits[2]:
            texts.append(f"band {name} is {limits[0]:g} everywhere")
    if not texts:
        return None
    fix = "use a file in which the band is whole, or leave it out of `bands`"
    return LabelFinding("warn", "band-empty", f"{values.name}: {'; '.join(texts)}", fix)


def _compare(values: _Values, others: Sequence[_Values], names: Sequence[str]) -> list[LabelFinding]:
    usual = np.nanmedian([other.brightness for other in _reference(values, others)], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = values.brightness / usual
    known = np.isfinite(factors) & (factors > 0)
    if not known.any():
        return []
    middle = float(np.median(factors[known]))
    is_other_storage = any(values.storage != other.storage for other in others)
    limit = _WARN_MANY if is_other_storage or len(others) >= _SEVERAL else _WARN
    nearest = min((float(f) for f in factors[known]), key=lambda factor: abs(math.log(factor)))
    is_one_way = bool((factors[known] > 1).all() or (factors[known] < 1).all())
    if is_one_way and not 1 / limit < nearest < limit:
        level: Level = "warn" if 1 / _STOP < nearest < _STOP else "stop"
        return [_of_factor(level, values, others, range(len(names)), middle, names)]
    own = [i for i in np.flatnonzero(known).tolist() if not 1 / _BAND_WARN < factors[i] / middle < _BAND_WARN]
    found = []
    for i in own:
        far = not 1 / _BAND_STOP < factors[i] / middle < _BAND_STOP
        found.append(_of_factor("stop" if far else "warn", values, others, [i], float(factors[i]), names))
    return found or _shift(values, others, usual)


def _reference(values: _Values, others: Sequence[_Values]) -> Sequence[_Values]:
    """Return the scenes whose median is usual: of two the other, of more all, lest the odd one move it."""
    return others if len(others) == 1 else [*others, values]


def _of_factor(
    level: Level,
    values: _Values,
    others: Sequence[_Values],
    bands: Sequence[int],
    factor: float,
    names: Sequence[str],
) -> LabelFinding:
    first = bands[0]
    low, _, high = values.limits[first]
    usual = np.nanmedian([other.limits[first] for other in _reference(values, others)], axis=0)
    ratio = f"{_rounded(factor)} times" if factor > 1 else f"1/{_rounded(1 / factor)} of"
    where = "every band" if len(bands) > 1 else f"band {names[first]}"
    message = (
        f"{values.name}: the values of {where} are about {ratio} those of {_others(others)} ({names[first]} "
        f"{low:.3g} to {high:.3g}, there {usual[0]:.3g} to {usual[2]:.3g})"
    )
    power = 10.0 ** -round(math.log10(factor))
    fix = (
        f"bring all scenes to one unit (gdal_edit.py -scale, perhaps {power:g} times what it is), or leave "
        "this one out"
    )
    return LabelFinding(level, "scene-values", message, fix)


def _shift(values: _Values, others: Sequence[_Values], usual: NDArray[np.float64]) -> list[LabelFinding]:
    """Report a scene whose darkest values are higher than those of the others by one amount in all bands."""
    darkest = values.limits[:, 0] - np.nanmedian(
        [other.limits[:, 0] for other in _reference(values, others)], axis=0
    )
    low, high = float(np.min(darkest)), float(np.max(darkest))
    is_picture = all(str(kind[0]) == "uint8" for kind in values.storage if isinstance(kind, tuple))
    if is_picture or not low > _SHIFT * float(np.nanmedian(usual)) or low < _SAME_SHIFT * high:
        return []
    message = (
        f"{values.name}: the darkest values of every band are {low:.3g} to {high:.3g} higher than those of "
        f"{_others(others)}"
    )
    fix = "look whether an offset is still to be applied, as -0.1 to Sentinel-2 reflectance since 2022"
    return [LabelFinding("warn", "scene-offset", message, fix)]


def _rounded(factor: float) -> str:
    return (
        f"{float(f'{factor:.2g}'):,.4g}"
        if factor < 100
        else f"{round(factor, 1 - int(math.log10(factor))):,.0f}"
    )


def _others(others: Sequence[_Values]) -> str:
    return others[0].name if len(others) == 1 else f"the {len(others)} others"
