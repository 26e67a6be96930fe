"""Decide what the stored values of a scene mean to a model: scale, offset, and the state of the atmosphere.

What the user says counts, then what the files' tags and metadata say, then what the values themselves show.
All is decided once, from a fixed sample of the whole scene, and written as the options that say the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.doctor.atmosphere import is_known, to_surface, to_top_of_atmosphere
from geoseg.doctor.encodings import ENCODINGS, LANDSAT, SENTINEL_2, TIMES_10000, Encoding, Fit, fit_encodings
from geoseg.scene.band import Band
from geoseg.scene.product import TOP_OF_ATMOSPHERE, processing_baseline, processing_level
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    from geoseg.models.card import ModelCard

REFLECTANCE_AT_MOST = 2.0
SHIFTED_BY = 1000
"""Sentinel-2 stores values so much too high since processing baseline 04.00."""
SHIFTED_FROM = 4.0
SHIFTED_FLOOR, UNSHIFTED_FLOOR = 870, 700
"""Noise leaves a few dark pixels of shifted values below 1000; others, deserts apart, have them far below."""

_ESA = re.compile(r"\bS2[A-D]_MSIL[12][AC]_|(?<![A-Za-z0-9])T\d\d[A-Z]{3}_\d{8}T\d{6}_B\w\w(_\d0m)?\.")
_LANDSAT_PRODUCT = re.compile(r"\bL[COTEM]0\d_L(1TP|1GT|1GS|2SP|2SR)_\d{6}_\d{8}_\d{8}_02_")
_LANDSAT_RAW = (2e-5, -0.1)
"""Scale and offset of Landsat's Level 1, before the division by the sine of the sun's height."""


@dataclass(frozen=True)
class StoredValues:
    """How stored values become what a model reads.

    Attributes:
        scales: Of each band that the model reads: reflectance, or what else it may be, is stored * scale +
            offset.
        offsets: See ``scales``.
        atmosphere: "approximate" where reflectance is then converted between surface and top of atmosphere.
        encoding: The encoding that was found; None where the user or the files say the scale.
        because: What shows the encoding.
        fit: Which encodings the values could have, where that was looked at.
        level: ``SURFACE`` or ``TOP_OF_ATMOSPHERE``, by the metadata; None if they do not say.
    """

    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    atmosphere: str = "none"
    encoding: Encoding | None = None
    because: str = ""
    fit: Fit | None = None
    level: str | None = None

    def flags(self) -> dict[str, str]:
        """The options that say the same, to be kept with a map."""
        return {"scale": _text(self.scales), "offset": _text(self.offsets), "atmosphere": self.atmosphere}

    def said(self) -> str | None:
        """What was decided about the scale, in one line; None if nothing was."""
        if self.encoding is None:
            return None
        return f"values are read as {self.encoding.title} ({self.encoding.flags}): {self.because}"


def decide_values(
    scene: Scene, card: ModelCard, stored: Sequence[NDArray[np.generic]], missing: NDArray[np.bool_]
) -> StoredValues:
    """Decide how the values of a scene become what a model reads.

    Args:
        scene: The scene as it was opened, the model's bands selected.
        card: The model's card.
        stored: Stored values of each band at sampled valid pixels.
        missing: Where a band has none, bool (bands, pixels).
    """
    level = processing_level(scene.tags, scene.paths)
    wanted = _wanted_atmosphere(scene.atmosphere, card, level)
    found = StoredValues(
        tuple(band.scale for band in scene.bands),
        tuple(band.offset for band in scene.bands),
        atmosphere=wanted,
        level=level,
    )
    known = ~missing.any(axis=0)
    stored = [values[known] for values in stored]
    if scene.is_scale_given or not wants_reflectance(card) or not known.any():
        return found
    if any(values.dtype.itemsize == 1 for values in stored):  # pictures
        return found
    if set(zip(found.scales, found.offsets, strict=True)) != {(1.0, 0.0)}:
        return _with_overlooked_offset(found, scene, stored)
    allowed, because = _said_by_metadata(scene, stored)
    fit = fit_encodings(dict(zip(card.band_names, stored, strict=True)), allowed)
    found = replace(found, fit=fit)
    if len(allowed) == 1 and (fit is None or allowed[0] in fit.possible):
        return _as(found, allowed[0], because)
    if fit is None or fit.only is None or fit.only.scale == 1:
        return found
    return _as(found, fit.only, "of the usual encodings only this one fits them")


def wants_reflectance(card: ModelCard) -> bool:
    """Tell whether a model reads reflectance from 0 to 1, at the surface or above the atmosphere."""
    return "reflectance" in card.units and max(band.high for band in card.bands) <= REFLECTANCE_AT_MOST


def wants_top_of_atmosphere(card: ModelCard) -> bool:
    """Tell whether a model reads what a sensor above the atmosphere sees."""
    return "top-of-atmosphere" in card.units.lower().replace(" ", "-")


def with_values(scene: Scene, card: ModelCard, numbers: Sequence[int], values: StoredValues) -> Scene:
    """Make a scene read its values as decided, in all bands, as the options would.

    Args:
        scene: The scene as it was opened.
        card: The model's card.
        numbers: The bands that the model reads.
        values: What was decided.
    """
    if values.encoding is None and values.atmosphere == "none":
        return scene
    names = dict(zip(numbers, card.band_names, strict=True))
    convert = to_top_of_atmosphere if wants_top_of_atmosphere(card) else to_surface

    def converted(band: Band) -> Band:
        if values.encoding is not None:
            offset = values.encoding.offset or band.offset
            band = replace(band, scale=values.encoding.scale, offset=offset)
        name = names.get(band.number, band.common_name)
        if name is None or values.atmosphere == "none" or not is_known(name):
            return band
        return convert(band, name)

    layers = {layer.band.number: replace(layer, band=converted(layer.band)) for layer in scene.all_layers}
    return replace(
        scene,
        layers=tuple(layers[layer.band.number] for layer in scene.layers),
        all_layers=tuple(layers.values()),
    )


def _wanted_atmosphere(asked: str, card: ModelCard, level: str | None) -> str:
    is_above = level == TOP_OF_ATMOSPHERE and not wants_top_of_atmosphere(card)
    is_wanted = asked == "approximate" or (asked == "auto" and is_above)
    return "approximate" if is_wanted and wants_reflectance(card) else "none"


def _as(found: StoredValues, encoding: Encoding, because: str) -> StoredValues:
    count = len(found.scales)
    return replace(
        found,
        scales=(encoding.scale,) * count,
        offsets=(encoding.offset,) * count,
        encoding=encoding,
        because=because,
    )


def _said_by_metadata(
    scene: Scene, stored: Sequence[NDArray[np.generic]]
) -> tuple[tuple[Encoding, ...], str]:
    """List the encodings that a product's metadata or name leave, and say what that is."""
    names = (scene.tags.get("PRODUCT_URI", ""), scene.tags.get("LANDSAT_PRODUCT_ID", ""), *scene.paths)
    if "STAC_SCALE" in scene.tags and scene.tags.get("BOA_OFFSET_APPLIED", "").lower() != "true":
        said = _encoding(scene.tags["STAC_SCALE"], scene.tags.get("STAC_OFFSET", "0"))
        return ((said,), "the STAC item says so") if said else (ENCODINGS, "")
    if any(_ESA.search(name) for name in names):
        return _of_sentinel2(scene, stored)
    for name in names:
        match = _LANDSAT_PRODUCT.search(name)
        if match and match.group(1).startswith("2"):
            return (LANDSAT,), "it is a product of Landsat Collection 2, Level 2"
        if match:
            return _of_landsat_1(scene)
    return ENCODINGS, ""


def _of_sentinel2(scene: Scene, stored: Sequence[NDArray[np.generic]]) -> tuple[tuple[Encoding, ...], str]:
    version = processing_baseline(scene.tags, scene.paths)
    if scene.tags.get("BOA_OFFSET_APPLIED", "").lower() == "true":
        return (TIMES_10000,), "it is a Sentinel-2 product, its offset applied"
    if version is None:
        return (TIMES_10000, SENTINEL_2), ""
    said = f"it is a Sentinel-2 product of processing baseline {version:05.2f}"
    if version < SHIFTED_FROM:
        return (TIMES_10000,), said
    floor = floor_of(stored)
    if floor >= SHIFTED_FLOOR:
        return (SENTINEL_2,), said
    return ((TIMES_10000,), said) if floor < UNSHIFTED_FLOOR else ((TIMES_10000, SENTINEL_2), "")


def _of_landsat_1(scene: Scene) -> tuple[tuple[Encoding, ...], str]:
    """Landsat's Level 1 has no reflectance without the height of the sun."""
    try:
        height = math.sin(math.radians(float(scene.tags["SUN_ELEVATION"])))
        scale, offset = (float(f"{number / height:.6g}") for number in _LANDSAT_RAW)
    except (KeyError, ValueError, ZeroDivisionError):
        return (), ""
    encoding = Encoding(scale, offset, "Landsat Collection 2, Level 1")
    return (encoding,), "by the height of the sun in the product's MTL file"


def _encoding(scale: str, offset: str) -> Encoding | None:
    try:
        pair = float(scale), float(offset)
    except ValueError:
        return None
    known = [each for each in ENCODINGS if (each.scale, each.offset) == pair]
    return known[0] if known else Encoding(*pair, "reflectance")


def floor_of(stored: Sequence[NDArray[np.generic]]) -> float:
    """Return the least of all bands' darkest values (1st percentile)."""
    return min(float(np.percentile(values.astype(np.float64), 1)) for values in stored)


def _with_overlooked_offset(
    found: StoredValues, scene: Scene, stored: Sequence[NDArray[np.generic]]
) -> StoredValues:
    """Add Sentinel-2's offset where the tags have the scale alone, and metadata and values agree."""
    if set(zip(found.scales, found.offsets, strict=True)) != {(TIMES_10000.scale, 0.0)}:
        return found
    is_whole = all(values.dtype.kind in "iu" for values in stored)
    is_product = scene.sensor in (None, "sentinel-2") and is_whole
    version = processing_baseline(scene.tags, scene.paths)
    is_applied = scene.tags.get("BOA_OFFSET_APPLIED", "").lower() == "true"
    if not is_product or is_applied or version is None or version < SHIFTED_FROM:
        return found
    if floor_of(stored) < SHIFTED_FLOOR:
        return found
    return _as(found, SENTINEL_2, f"it is a Sentinel-2 product of processing baseline {version:05.2f}")


def _text(numbers: Sequence[float]) -> str:
    """Write the numbers of all bands, or one if they are equal."""
    return ",".join(f"{number:.10g}" for number in (numbers[:1] if len(set(numbers)) == 1 else numbers))
