"""Check that the scene's values have the range that the model was trained on.

The thresholds are lenient, because seasons, soils and clouds change values; only differences that no season
explains are refused.

For models of 8-bit pictures the range is not enough: reflectance stored as whole numbers (0.02 as 200) can
lie within 0 to 255. There the data type is checked too, and whether any value exceeds 255.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.doctor.atmosphere import is_known, looks_hazy
from geoseg.doctor.each_band import BandValues
from geoseg.doctor.encodings import ENCODINGS, SIXTEEN_BITS
from geoseg.doctor.examination import Examination
from geoseg.doctor.findings import Finding, Severity
from geoseg.doctor.sentinel2 import check_sentinel2_offset
from geoseg.doctor.stored_values import REFLECTANCE_AT_MOST, wants_reflectance, wants_top_of_atmosphere
from geoseg.scene.product import SURFACE, TOP_OF_ATMOSPHERE
from geoseg.scene.sample import has_valid_pixel

if TYPE_CHECKING:
    from geoseg.models.card import ModelBand, ModelCard

_FAR = 8.0
"""Factor by which the values of *all* bands are larger or smaller than the model's; no season explains it."""

_LARGEST = 1e30
"""No measurement is larger: what programs fill 32-bit floats with."""

_SCALINGS = (
    *((each.scale, each.offset) for each in ENCODINGS),
    (1e-3, 0.0),
    (255.0, 0.0),
    (1e4, 0.0),
    (1 / 257, 0.0),
)
"""(scale, offset) in use: those of reflectance, x 1000, and those that lead to 8 bits."""

_LEAST_FIT = 0.6
"""Share of the values that a scale must bring near the model's range."""

_WHITE = 255
_WHITE_16 = 65535
_LEAST_WHITE = 0.9
"""Share of full white that the brightest pixels of a picture reach; surface reflectance times 10,000 or the
numbers of Landsat Collection 2 stay far below 65535."""


def check_valid_pixels(examination: Examination) -> Iterator[Finding]:
    """Stop if the whole scene has no valid pixel; warn if a sample has none. Only then the scene is read."""
    sample, scene = examination.sample, examination.selected
    if sample is None or scene is None or sample.pixels:
        return
    fix = "check the scene's nodata value and mask; --nodata V sets another value"
    if sample.is_whole or not has_valid_pixel(scene):
        message = "the scene has no valid pixel: all are nodata or masked"
        yield Finding("stop", "no-valid-pixel", message, fix, "finds no valid pixel")
    else:
        message = f"none of {sample.looked_at:,} pixels sampled all over the scene is valid; few others are"
        yield Finding("warn", "no-valid-pixel", message, fix)


def check_undeclared_nodata(examination: Examination) -> Iterator[Finding]:
    """Warn if many valid pixels have one and the same typical nodata value in all bands; stop if all do."""
    fill, scene = examination.fill, examination.selected
    if fill is None or scene is None:
        return
    declared = {band.nodata for band in scene.bands}
    says = "declares no nodata" if declared == {None} else f"declares nodata {_list(declared)}, not this"
    message = (
        f"{fill.share:.0%} of the sampled valid pixels are exactly {fill.value:g} in every band, and the "
        f"scene {says}: they would be mapped as a class"
    )
    if not examination.values:
        fix = "the scene holds nothing: copy or download it again"
        yield Finding("stop", "undeclared-nodata", message, fix, f"finds {fill.value:g} in every band")
        return
    severity: Severity = "stop" if abs(fill.value) > _LARGEST else "warn"
    fix = f"--nodata {fill.value:.17g}" + ("" if severity == "stop" else ", if they are not measurements")
    yield Finding(severity, "undeclared-nodata", message, fix, f"finds {fill.value:g} in every band")


def check_encoding(examination: Examination) -> Iterator[Finding]:
    """Note in which encoding the values are read, where neither the user nor a tag says so."""
    said = None if examination.decided is None else examination.decided.said()
    if said is not None:
        yield Finding("note", "value-encoding", said, "--scale and --offset set another one")


def check_atmosphere(examination: Examination) -> Iterator[Finding]:
    """Warn if a model of surface reflectance gets top-of-atmosphere reflectance, or the reverse."""
    decided, card = examination.decided, examination.card
    if decided is None or examination.match is None:
        return
    is_asked = examination.scene.atmosphere == "approximate"
    if not wants_reflectance(card):
        if is_asked:
            message = f"the model reads {card.units}: --atmosphere is for models of reflectance"
            yield Finding("stop", "atmosphere", message, "leave it out")
        return
    wanted = TOP_OF_ATMOSPHERE if wants_top_of_atmosphere(card) else SURFACE
    other = SURFACE if wanted == TOP_OF_ATMOSPHERE else TOP_OF_ATMOSPHERE
    if decided.atmosphere == "none":
        if decided.level == other:
            message = (
                f"the scene is reflectance of the {other}, and the model was trained on that of the {wanted}"
            )
            yield Finding("warn", "atmosphere", message, "--atmosphere approximate makes it about alike")
        elif decided.level is None and examination.scene.atmosphere == "auto" and wanted == SURFACE:
            yield from _haze(examination)
        return
    if decided.level == wanted:
        message = (
            f"the scene's reflectance is that of the {wanted} already, and is converted to it all the same"
        )
        yield Finding("warn", "atmosphere", message, "leave --atmosphere out")
        return
    left = [name for name in card.band_names if not is_known(name)]
    message = (
        f"reflectance of the {other} is converted to about that of the {wanted}"
        f"{', all but ' + ', '.join(left) if left else ''}: the map may be worse, most of all under haze"
    )
    fix = "a product of surface reflectance (Sentinel-2 L2A, Landsat L2) is better"
    if not is_asked:
        fix += "; --atmosphere none leaves the values as they are"
    yield Finding("warn", "atmosphere", message, fix)


def _haze(examination: Examination) -> Iterator[Finding]:
    doubtful = {doubt.band for doubt in examination.doubts}
    known = {band.wanted.name: band.now() for band in examination.values}
    blue, red = (None if name in doubtful else known.get(name) for name in ("blue", "red"))
    if blue is None or red is None or np.median(blue) > 1 or not looks_hazy(blue, red):
        return
    low, lower = np.percentile(blue, 1), np.percentile(red, 1)
    message = (
        f"perhaps this is reflectance of the {TOP_OF_ATMOSPHERE}: the darkest pixels are {low:.3g} in blue "
        f"and {lower:.3g} in red, and no metadata says more"
    )
    yield Finding("warn", "atmosphere", message, "--atmosphere approximate, if it is; none, if not")


def check_values(examination: Examination) -> Iterator[Finding]:
    """Compare robust percentiles of the scene with those of the training data.

    Stop if all bands differ by a large factor, if all medians are outside the model's range, or if a model of
    8-bit pictures gets other numbers; warn if half of the bands are mostly outside the model's range.
    """
    bands, card = examination.comparable, examination.card
    if not bands:
        return
    depth = _check_depth(bands) if _wants_picture(card) else None
    if depth is not None and depth.severity == "stop":
        yield depth
        return
    factors = [band.brightness for band in bands]
    is_far = min(factors) > _FAR or max(factors) < 1 / _FAR
    is_apart = all(
        _share_inside(np.median(band.now(), keepdims=True), band.wanted, 1.0) == 0 for band in bands
    )
    outside = [band for band in bands if _share_inside(band.now(), band.wanted, 1.0) < 0.5]
    if not is_far and not is_apart and 2 * len(outside) < len(bands):
        if depth is not None:
            yield depth
        return
    severity: Severity = "stop" if is_far or is_apart else "warn"
    shown = bands if severity == "stop" else outside
    message = f"values do not look like the model's ({card.units}): {_compare(shown)}"
    first, (low, high) = shown[0].wanted, np.percentile(shown[0].now(), [1, 99])
    brief = (
        f"reads {card.units} such as {first.name} {first.low:.3g} to {first.high:.3g}, and the scene's is "
        f"{low:.3g} to {high:.3g}"
    )
    is_small = max(band.high for band in card.bands) <= REFLECTANCE_AT_MOST
    if is_small and all(band.stored.dtype == np.uint8 for band in bands):
        message += "; these are 8-bit picture values, not reflectance"
        fix = "use the product with reflectance; no scale turns a picture into reflectance"
    else:
        fix = _picture_fix(bands) if _wants_picture(card) else _rescaling(examination)
    yield Finding(severity, "value-range", message, fix, brief)


def _wants_picture(card: ModelCard) -> bool:
    """Tell whether a model was trained on 8-bit pictures: unscaled digital numbers from 0 to 255."""
    highest = max(band.high for band in card.bands)
    is_unscaled = card.value_scale == 1 and card.value_offset == 0
    return "digital number" in card.units.lower() and is_unscaled and 2 < highest <= _WHITE


def _check_depth(bands: Sequence[BandValues]) -> Finding | None:
    """Check that the bands hold 8-bit picture values, for a model that reads those.

    Returns:
        A finding that stops if values lie outside 0 to 255; one that warns if they lie inside, unscaled, but
        in a data type that is unusual for pictures; or None.
    """
    deep = [band for band in bands if str(band.stored.dtype) != "uint8"]
    if not deep:
        return None
    low = min(float(band.now().min()) for band in deep)
    high = max(float(band.now().max()) for band in deep)
    stored = " and ".join(dict.fromkeys(str(band.stored.dtype) for band in deep))
    found = f"{stored} values from {low:.4g} to {high:.4g}"
    if low < 0 or high > _WHITE:
        return Finding(
            "stop",
            "value-range",
            f"the model reads 8-bit pictures (0 to 255), and the scene holds {found}",
            _picture_fix(bands),
            f"reads 8-bit pictures, and the scene holds {found}",
        )
    if any((band.band.scale, band.band.offset) != (1, 0) for band in deep):
        return None
    return Finding(
        "warn",
        "picture-type",
        f"the model reads 8-bit pictures, and the scene holds {found}: they are used as picture values",
        "if they are reflectance, use a model that reads reflectance",
    )


def _picture_fix(bands: Sequence[BandValues]) -> str:
    """Suggest how to get 8-bit values: the scale of 16-bit and 0-1 pictures, else a conversion."""
    top = max(float(band.now().max()) for band in bands)
    for white, scale in ((_WHITE_16, "0.00389105"), (1.0, "255")):
        if _LEAST_WHITE * white <= top <= white:
            return f"--scale {scale}, if this is a picture whose white is {white:g}"
    return (
        "use the product's 8-bit true-colour picture or make one with gdal_translate -ot Byte -scale, or use "
        "a model for these values"
    )


def _rescaling(examination: Examination) -> str:
    """Suggest options with a common scale and offset that bring most values into the model's range."""
    bands, card = examination.comparable, examination.card
    decided = examination.decided
    if decided is not None and decided.encoding is None and decided.fit and len(decided.fit.possible) > 1:
        ways = " or ".join(f"{each.flags} ({each.title})" for each in decided.fit.possible)
        return f"{ways}, as the product says: the values could be of any of these"
    is_shifted = any(finding.severity != "note" for finding in check_sentinel2_offset(examination))
    tried = [*([(1e-4, -0.1)] if is_shifted else ()), (card.value_scale, card.value_offset), *_SCALINGS]
    if any(band.stored.dtype != np.uint16 for band in bands):
        tried.remove((SIXTEEN_BITS.scale, SIXTEEN_BITS.offset))
    current = set() if decided is None else set(zip(decided.scales, decided.offsets, strict=True))
    scores = {
        pair: float(np.mean([_share_inside(band.scaled(*pair), band.wanted, 0.5) for band in bands]))
        for pair in tried
        if pair not in current and not _is_flat(bands, pair)
    }
    fitting = [pair for pair, score in scores.items() if score >= _LEAST_FIT]
    best = min(fitting, key=lambda pair: _distance(bands, pair), default=None)
    if best is None:
        return "look up the product's scale and offset, and set them with --scale A --offset B"
    scale, offset = best
    flags = f"--scale {scale:.6g}" if current != {(scale, offset)} else ""
    if offset or any(had for _, had in current):
        flags += f" --offset {offset:.6g}"
    return f"{flags} brings {scores[best]:.0%} of the values near the model's range"


def _distance(bands: Sequence[BandValues], pair: tuple[float, float]) -> float:
    """Return how far low, middle and high values lie from the model's, in widths of the model's range."""
    far = []
    for band in bands:
        wanted = band.wanted
        gaps = np.percentile(band.scaled(*pair), [1, 50, 99]) - (wanted.low, wanted.typical, wanted.high)
        far.append(float(np.abs(gaps).mean()) / max(wanted.high - wanted.low, 1e-12))
    return float(np.mean(far))


def _is_flat(bands: Sequence[BandValues], pair: tuple[float, float]) -> bool:
    """Tell whether a scaling compresses values into a small part of the model's range, where any fit."""
    spreads = []
    for band in bands:
        low, high = np.percentile(band.scaled(*pair), [1, 99])
        spreads.append((high - low) / max(band.wanted.high - band.wanted.low, 1e-12))
    return bool(max(spreads) < 1 / _FAR)


def _share_inside(values: NDArray[np.float64], wanted: ModelBand, slack: float) -> float:
    """Return the share of values in the model's 1-99 % range, widened on both sides by ``slack`` widths."""
    room = slack * max(wanted.high - wanted.low, 1e-12)
    return float(np.mean((values >= wanted.low - room) & (values <= wanted.high + room)))


def _compare(bands: Sequence[BandValues]) -> str:
    """Write 1st to 99th percentiles of at most three bands: ``blue 450 to 2900 (model 0.02 to 0.15)``."""
    parts = []
    for band in bands[:3]:
        low, high = np.percentile(band.now(), [1, 99])
        wanted = band.wanted
        parts.append(f"{wanted.name} {low:.3g} to {high:.3g} (model {wanted.low:.3g} to {wanted.high:.3g})")
    more = len(bands) - len(parts)
    return ", ".join(parts) + (f" and {more} more bands" if more else "")


def _list(values: Iterable[float | None]) -> str:
    return ", ".join("none" if value is None else f"{value:g}" for value in sorted(values, key=str))
