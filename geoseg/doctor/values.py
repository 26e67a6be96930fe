"""Do a scene's values look like those a model was trained on?

The thresholds are lenient: seasons, soils and clouds move values; only what no season explains is refused.

The thresholds are lenient: seasons, soils and clouds move values; only what no season explains is refused.

Reflectance stored as whole numbers (0.02 as 200) can lie where picture values lie, so the range alone does
not tell them apart: the data type, and whether any value exceeds 255, do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.doctor.findings import BandValues, Finding, Severity
from geoseg.scene import Scene
from geoseg.scene.band import can_hold

if TYPE_CHECKING:
    from geoseg.doctor.findings import BandValues
    from geoseg.models.card import ModelBand, ModelCard

_FAR = 8.0
"""Times by which the values of *all* bands are larger (or smaller) than the model's: no season does that."""

_FILL_SHARE = 0.01
_FILL_SHARE_PICTURE = 0.05
"""Black shadows and white clouds of 8-bit pictures are measurements too."""

_FILLS: Mapping[str, tuple[float, ...]] = {
    "u": (0, 255, 65535),
    "i": (0, -9999, -999, -32768, 32767),
    "f": (0, -9999, -999, -32768, float(np.finfo(np.float32).min)),
}
"""Values by kind of dtype that files use for "nothing here" without saying so."""

_REFLECTANCE_AT_MOST = 2.0

_SCALINGS = (
    (1e-4, 0.0),
    (2.75e-5, -0.2),
    (1e-3, 0.0),
    (1e-2, 0.0),
    (1.0, 0.0),
    (255.0, 0.0),
    (1e4, 0.0),
    (1 / 257, 0.0),
)
"""(scale, offset) in use: x 10000 (Sentinel-2, HLS, MODIS), Landsat Collection 2, x 1000, percent, none, and
those that lead to 8 bits."""


def undeclared_fill(scene: Scene, stored: Sequence[NDArray[np.generic]]) -> tuple[Finding, float] | None:
    """A suspicious value that fills all bands of many valid pixels at once.

    Args:
        scene: The scene with the bands that are used.
        stored: Sampled stored values of valid pixels, one array (pixels,) a band.

    Returns:
        The finding and the value, or None.
    """
    kinds = {values.dtype.kind for values in stored}
    if len(kinds) != 1 or not stored[0].size:
        return None
    candidates = [value for value in _FILLS[kinds.pop()] if all(can_hold(v.dtype, value) for v in stored)]
    shares = {value: float(filled_with(value, stored).mean()) for value in candidates}
    value = max(shares, key=lambda candidate: shares[candidate], default=None)
    is_picture = all(values.dtype.itemsize == 1 for values in stored)
    if value is None or shares[value] < (_FILL_SHARE_PICTURE if is_picture else _FILL_SHARE):
        return None
    declared = {band.nodata for band in scene.bands}
    says = "declares no nodata" if declared == {None} else f"declares nodata {_list(declared)}, not this"
    message = (
        f"{shares[value]:.0%} of the sampled valid pixels are exactly {value:g} in every band, and the scene "
        f"{says}: they would be mapped as a class"
    )
    mend = f"--nodata {value:g}, if they are no measurements"
    return Finding("warn", "undeclared-nodata", message, mend), value


def filled_with(value: float, stored: Sequence[NDArray[np.generic]]) -> NDArray[np.bool_]:
    """Pixels that hold exactly this value in every band, bool (pixels,)."""
    filled: NDArray[np.bool_] = np.all([band == band.dtype.type(value) for band in stored], axis=0)
    return filled


def check_values(
    bands: Sequence[BandValues], card: ModelCard, extra: Iterable[tuple[float, float]] = ()
) -> Finding | None:
    """Compare robust percentiles of the scene with those of the training data.

    Args:
        bands: Sampled values, in the model's order.
        card: The model's card.
        extra: Further (scale, offset) pairs to try first as a mend.

    Returns:
        A finding that stops where all bands are out by a factor, all medians lie apart, or a model of 8-bit
        pictures meets other numbers; one that warns where half of the bands are mostly outside the model's
        range; or None.
    """
    bands = [band for band in bands if band.stored.size]
    if not bands:
        return None
    depth = check_depth(bands) if wants_picture(card) else None
    if depth is not None and depth.severity == "stop":
        return depth
    factors = [
        _magnitude(band.now()) / max(abs(band.wanted.low), abs(band.wanted.high), 1e-12) for band in bands
    ]
    is_far = min(factors) > _FAR or max(factors) < 1 / _FAR
    is_apart = all(
        _share_inside(np.median(band.now(), keepdims=True), band.wanted, 1.0) == 0 for band in bands
    )
    outside = [band for band in bands if _share_inside(band.now(), band.wanted, 1.0) < 0.5]
    if not is_far and not is_apart and 2 * len(outside) < len(bands):
        return depth
    severity: Severity = "stop" if is_far or is_apart else "warn"
    shown = bands if severity == "stop" else outside
    message = f"values do not look like the model's ({card.units}): {_compare(shown)}"
    brief = f"reads {card.units} such as {_compare_first(shown[0])}"
    if _is_picture(bands, card):
        message += "; these are 8-bit picture values, not reflectance"
        mend = "use the product that holds reflectance; no scale turns a picture into it"
    else:
        mend = picture_mend(bands) if wants_picture(card) else _rescaling(bands, card, extra)
    return Finding(severity, "value-range", message, mend, brief)


def _is_picture(bands: Sequence[BandValues], card: ModelCard) -> bool:
    wants_reflectance = max(band.high for band in card.bands) <= _REFLECTANCE_AT_MOST
    return wants_reflectance and all(band.stored.dtype == np.uint8 for band in bands)


def _rescaling(bands: Sequence[BandValues], card: ModelCard, extra: Iterable[tuple[float, float]]) -> str:
    """The scaling in use elsewhere that brings most values into the model's range, as flags."""
    tried = [*extra, (card.value_scale, card.value_offset), *_SCALINGS]
    current = {(band.band.scale, band.band.offset) for band in bands}
    scores = {
        pair: float(np.mean([_share_inside(band.scaled(*pair), band.wanted, 0.5) for band in bands]))
        for pair in tried
        if pair not in current and not _is_flat(bands, pair)
    }
    best = max(scores, key=lambda pair: scores[pair], default=None)
    if best is None or scores[best] < 0.6:
        return "find the product's scale and offset in its handbook and name them: --scale A --offset B"
    scale, offset = best
    flags = f"--scale {scale:.6g}" if current != {(scale, offset)} else ""
    if offset or any(band.band.offset for band in bands):
        flags += f" --offset {offset:.6g}"
    return f"{flags} brings {scores[best]:.0%} of the values near the model's range"


def _is_flat(bands: Sequence[BandValues], pair: tuple[float, float]) -> bool:
    """Whether a scaling presses values into a corner of the model's range, where any number seems to fit."""
    spreads = []
    for band in bands:
        low, high = np.percentile(band.scaled(*pair), [1, 99])
        spreads.append((high - low) / max(band.wanted.high - band.wanted.low, 1e-12))
    return bool(max(spreads) < 1 / _FAR)


def _magnitude(values: NDArray[np.float64]) -> float:
    low, high = np.percentile(values, [1, 99])
    return float(max(abs(low), abs(high)))


def _share_inside(values: NDArray[np.float64], wanted: ModelBand, slack: float) -> float:
    """Share of values inside the model's 1-99 % range, widened on both sides by ``slack`` times its width."""
    room = slack * max(wanted.high - wanted.low, 1e-12)
    return float(np.mean((values >= wanted.low - room) & (values <= wanted.high + room)))


def _compare(bands: Sequence[BandValues]) -> str:
    """``blue 450 to 2900 (model 0.02 to 0.15), ...``: 1st to 99th percentiles, of at most three bands."""
    parts = []
    for band in bands[:3]:
        low, high = np.percentile(band.now(), [1, 99])
        wanted = band.wanted
        parts.append(f"{wanted.name} {low:.3g} to {high:.3g} (model {wanted.low:.3g} to {wanted.high:.3g})")
    more = len(bands) - len(parts)
    return ", ".join(parts) + (f" and {more} more bands" if more else "")


def _compare_first(band: BandValues) -> str:
    """``blue 0.02 to 0.15, and the scene's is 450 to 2900``."""
    low, high = np.percentile(band.now(), [1, 99])
    wanted = band.wanted
    return f"{wanted.name} {wanted.low:.3g} to {wanted.high:.3g}, and the scene's is {low:.3g} to {high:.3g}"


def _list(values: Iterable[float | None]) -> str:
    return ", ".join("none" if value is None else f"{value:g}" for value in sorted(values, key=str))


_WHITE = 255
_WHITE_16 = 65535
_LEAST_WHITE = 0.9
"""Share of full white that the brightest pixels of a picture reach; surface reflectance times 10,000 or the
numbers of Landsat Collection 2 stay far below 65535."""


def wants_picture(card: ModelCard) -> bool:
    """Whether a model was trained on 8-bit pictures: unscaled digital numbers from 0 to 255."""
    highest = max(band.high for band in card.bands)
    is_unscaled = card.value_scale == 1 and card.value_offset == 0
    return "digital number" in card.units.lower() and is_unscaled and 2 < highest <= _WHITE


def check_depth(bands: Sequence[BandValues]) -> Finding | None:
    """Do the bands hold 8-bit picture values? For a model that reads such.

    Args:
        bands: Sampled values, each with at least one.

    Returns:
        A finding that stops where values lie outside 0 to 255, one that warns where they lie inside but are
        stored in a type that pictures are not stored in, unscaled; or None.
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
            picture_mend(bands),
            f"reads 8-bit pictures, and the scene holds {found}",
        )
    if any((band.band.scale, band.band.offset) != (1, 0) for band in deep):
        return None
    return Finding(
        "warn",
        "picture-type",
        f"the model reads 8-bit pictures, and the scene holds {found}: taken for picture values all the same",
        "if they are reflectance, use a model that reads reflectance",
    )


def picture_mend(bands: Sequence[BandValues]) -> str:
    """What makes a picture of other values: the scale of 16-bit and of 0-1 pictures, else a conversion."""
    top = max(float(band.now().max()) for band in bands)
    for white, scale in ((_WHITE_16, "0.00389105"), (1.0, "255")):
        if _LEAST_WHITE * white <= top <= white:
            return f"--scale {scale}, if this is a picture whose white is {white:g}"
    return (
        "use the product's 8-bit true-colour picture or make one with gdal_translate -ot Byte -scale, or use "
        "a model for these values"
    )
