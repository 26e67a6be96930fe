"""The input doctor: does this scene fit this model, and if not, what mends it?

Two severities matter. "stop" is for what would surely give a junk map; predict refuses it without
``--force``. "warn" is for what may make the map worse. A GSD more than 1.5 times off warns, because networks
bear some change of scale; more than 4 times off stops, because fields then have the size of other things. A
model's GSD that is an estimate never stops.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from geoseg.doctor.findings import BandValues, Diagnosis, Finding, Severity
from geoseg.doctor.sentinel2 import offset_not_applied
from geoseg.doctor.values import check_values, filled_with, undeclared_fill
from geoseg.errors import SceneError
from geoseg.scene import BandMatch, Scene, match_bands
from geoseg.scene.band_names import is_generic
from geoseg.scene.match import missing_bands
from geoseg.scene.sample import Sample, Sampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.models.card import ModelCard

__all__ = ["GSD_STOP", "Diagnosis", "Finding", "examine", "gsd_ratio"]

GSD_STOP = 4.0
_GSD_WARN = 1.5
_SHAPE_WARN = 1.2
_ORDER: tuple[Severity, ...] = ("stop", "warn", "note")


EXPAND = (
    "its pixels are numbers of colours in a palette: gdal_translate -expand rgb makes three bands of them"
)


def examine(
    scene: Scene,
    card: ModelCard,
    *,
    bands: Sequence[str | int] | None = None,
    sampler: Sampler | None = None,
) -> Diagnosis:
    """Examine a scene for a model; a bounded sample of its pixels is read.

    Args:
        scene: The scene as predict would open it, overrides applied.
        card: The model's card.
        bands: What ``--bands`` says.
        sampler: Of the scene with at least the bands that the model reads, to look at it once for several
            models; made here by default.

    Returns:
        The findings, the gravest first, and the bands to use.

    Raises:
        RunError: If the scene's pixels cannot be read.
    """
    findings = _resolution(scene, card)
    match: BandMatch | None = None
    try:
        match = match_bands(scene, [band.name for band in card.bands], bands)
    except SceneError as error:
        message, _, mend = str(error).rpartition("; ")
        mend = EXPAND if has_palette(scene) else mend
        findings.append(Finding("stop", "bands-missing", message, mend, _lacks(scene, card, bands)))
    if match is not None:
        findings += _doubts(match)
        selected = scene.select(match.numbers, invalid_where=card.invalid_where)
        findings += _values(selected, card, sampler or Sampler(selected))
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return Diagnosis(tuple(findings), match)


def has_palette(scene: Scene) -> bool:
    """Whether a scene is a picture whose pixels are numbers of colours."""
    return any(band.has_palette for band in scene.bands)


def gsd_ratio(scene: Scene, card: ModelCard) -> float:
    """How many times the pixel sizes of a scene and of a model differ, at least 1; infinite if not known."""
    if scene.gsd is None or card.gsd is None:
        return math.inf
    return max(scene.gsd / card.gsd, card.gsd / scene.gsd)


def _lacks(scene: Scene, card: ModelCard, bands: Sequence[str | int] | None) -> str:
    """Which bands are missing, in a few words."""
    wanted = len(card.bands)
    if bands:
        named = f"--bands names {len(bands)}" if len(bands) != wanted else "--bands names others"
        return f"takes {wanted} bands, and {named}"
    if all(band.common_name is None and is_generic(band.name) for band in scene.bands):
        return f"takes {wanted} bands, and the scene has {len(scene.bands)} without names"
    return f"needs {', '.join(missing_bands(scene, card.band_names))}"


def _doubts(match: BandMatch) -> list[Finding]:
    mend = "name the bands in the model's order with --bands, if that is wrong"
    doubts = [Finding("warn", "bands-in-doubt", doubt, mend) for doubt in match.doubts]
    return doubts + [Finding("note", "bands", note) for note in match.notes]


def _values(scene: Scene, card: ModelCard, sampler: Sampler) -> list[Finding]:
    """All that the pixels tell: is there any, are there undeclared fill values, do values look right?"""
    sample = sampler.sample([band.number for band in scene.bands], scene.invalid_where)
    if not sample.pixels:
        return [_nothing_valid(sample)]
    fill = undeclared_fill(scene, sample.stored)
    keep = np.ones(sample.pixels, bool)
    if fill is not None:
        keep = ~filled_with(fill[1], sample.stored)
    values = [
        BandValues(band, wanted, stored[keep & ~missing])
        for band, wanted, stored, missing in zip(
            scene.bands, card.bands, sample.stored, sample.missing, strict=True
        )
    ]
    wants_reflectance = card.units == "reflectance"
    offset = offset_not_applied(scene, values, wants_reflectance=wants_reflectance)
    shifted = offset is not None and offset.severity != "note"
    range_ = check_values(values, card, [(1e-4, -0.1)] if shifted else ())
    return [finding for finding in (fill[0] if fill else None, offset, range_) if finding is not None]


def _nothing_valid(sample: Sample) -> Finding:
    mend = "look at the scene's nodata value and mask; --nodata V names another value"
    if sample.is_whole:
        return Finding(
            "stop",
            "no-valid-pixel",
            "the scene has no valid pixel: all are nodata or masked",
            mend,
            "finds no valid pixel",
        )
    return Finding(
        "warn",
        "no-valid-pixel",
        f"none of {sample.looked_at:,} pixels sampled all over the scene is valid",
        mend,
    )


def _resolution(scene: Scene, card: ModelCard) -> list[Finding]:
    """Pixel size and CRS."""
    if scene.gsd is None:
        return _no_ground(scene, card)
    findings = []
    ratio = gsd_ratio(scene, card)
    if card.gsd is not None and ratio > _GSD_WARN:
        finer = scene.gsd < card.gsd
        trained = f"{'about ' if card.gsd_estimated else ''}{card.gsd:.3g} m"
        message = (
            f"pixels of {scene.gsd:.3g} m are {ratio:.1f} times {'finer' if finer else 'coarser'} than "
            f"the {'estimated ' if card.gsd_estimated else ''}{card.gsd:.3g} m that the model was trained at"
        )
        severity: Severity = "stop" if ratio > GSD_STOP and not card.gsd_estimated else "warn"
        brief = f"was trained at {trained} a pixel, and the scene's are {scene.gsd:.3g} m"
        findings.append(Finding(severity, "gsd", message, _resampling(scene, card.gsd, finer=finer), brief))
    return findings + _pixel_shape(scene)


def _no_ground(scene: Scene, card: ModelCard) -> list[Finding]:
    if card.gsd is None:
        return []
    if card.gsd_estimated:
        trained = f"the model was trained at about {card.gsd:.3g} m (an estimate)"
        return [Finding("note", "no-crs", f"the scene does not say its pixel size; {trained}")]
    message = (
        "the scene has no CRS, so its pixel size cannot be compared with the "
        f"{card.gsd:.3g} m that the model was trained at"
    )
    mend = "give it one with gdal_edit -a_srs, or make sure of the pixel size yourself"
    if scene.georeference.crs is not None and scene.georeference.transform is not None:
        message = message.replace("no CRS", "a CRS that does not tie it to the Earth")
    elif scene.georeference.crs is not None:
        message = message.replace("no CRS", "a CRS but no usable transform")
        mend = "give it one with gdal_edit -a_ullr, or make sure of the pixel size yourself"
    return [Finding("warn", "no-crs", message, mend)]


def _pixel_shape(scene: Scene) -> list[Finding]:
    """Pixels that are longer than wide on the ground, as in degrees away from the equator."""
    size = scene.georeference.pixel_size(scene.shape)
    if size is None or max(size) / max(min(size), 1e-12) <= _SHAPE_WARN:
        return []
    why = "the CRS is in degrees, and " if scene.is_geographic else ""
    message = (
        f"{why}pixels are {size[0]:.3g} m high and {size[1]:.3g} m wide on the ground, while the model "
        "knows square ones"
    )
    return [Finding("warn", "pixel-shape", message, f"gdalwarp -t_srs {_metric_crs(scene)} first")]


def _resampling(scene: Scene, gsd: float, *, finer: bool) -> str:
    if not finer:
        return "use a finer scene: resampling adds no detail"
    warp = f"gdalwarp -t_srs {_metric_crs(scene)} " if scene.is_geographic else "gdalwarp "
    unit = 1.0
    if not scene.is_geographic and scene.georeference.transform is not None and scene.gsd:
        t = scene.georeference.transform
        unit = abs(t.a * t.e - t.b * t.d) ** 0.5 / scene.gsd
    side = f"{gsd * unit:.3g}"
    return f"{warp}-tr {side} {side} -r average first"


def _metric_crs(scene: Scene) -> str:
    """The UTM zone (polar stereographic beyond 84 N and 80 S) at the scene's centre."""
    centre = scene.georeference.centre(scene.shape)
    if centre is None:
        return "EPSG:CODE"
    lon, lat = centre
    if lat > 84 or lat < -80:
        return "EPSG:5041" if lat > 0 else "EPSG:5042"
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"
