"""Check that the scene's pixels have the size and shape that the model was trained on.

A pixel size that differs by more than a factor of 1.5 gives a warning, because networks tolerate some change
of scale; a factor of more than 4 stops, because objects then have the size of other classes. A pixel size
that the model's card gives as an estimate never stops. A card may say for which range of pixel sizes the
model is: then factors count from the nearer end of the range, and any size outside of it gives a warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from geoseg.doctor.examination import Examination
from geoseg.doctor.findings import Finding, Severity
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    from geoseg.models.card import ModelCard

GSD_STOP = 4.0
_GSD_WARN = 1.5
_RANGE_WARN = 1.05
"""Of a range; pixels of 10 m in UTM are 9.99 or 10.02 m on the ground."""
_SHAPE_WARN = 1.2


def check_pixel_size(examination: Examination) -> Iterator[Finding]:
    """Compare the scene's pixel size with the model's."""
    scene, card = examination.scene, examination.card
    if scene.gsd is None:
        yield from _no_pixel_size(scene, card)
        return
    ratio = gsd_ratio(scene, card)
    nearest = nearest_gsd(scene.gsd, card)
    if nearest is None or ratio <= (_GSD_WARN if card.gsd_range is None else _RANGE_WARN):
        return
    finer = scene.gsd < nearest
    times = f"{ratio:.1f} times {'finer' if finer else 'coarser'}"
    if card.gsd_range is None:
        estimated = "estimated " if card.gsd_estimated else ""
        than = f"{times} than the {estimated}{nearest:.3g} m that the model was trained at"
        brief = f"was trained at {card.gsd_in_words} a pixel, and the scene's are {scene.gsd:.3g} m"
    else:
        than = f"{times} than the {card.gsd_in_words} that the model is for"
        brief = f"is for pixels of {card.gsd_in_words}, and the scene's are {scene.gsd:.3g} m"
    severity: Severity = "stop" if ratio > GSD_STOP and not card.gsd_estimated else "warn"
    message = f"pixels of {scene.gsd:.3g} m are {than}"
    yield Finding(severity, "gsd", message, _resampling(scene, nearest, finer=finer), brief)


def check_pixel_shape(examination: Examination) -> Iterator[Finding]:
    """Warn if pixels are not square in metres, as in degrees away from the equator."""
    scene = examination.scene
    size = scene.georeference.pixel_size(scene.shape)
    if scene.gsd is None or size is None or max(size) / max(min(size), 1e-12) <= _SHAPE_WARN:
        return
    why = "the CRS is in degrees, and " if scene.is_geographic else ""
    message = (
        f"{why}pixels are {size[0]:.3g} m high and {size[1]:.3g} m wide, while the model was trained on "
        "square ones"
    )
    yield Finding("warn", "pixel-shape", message, f"gdalwarp -t_srs {_metric_crs(scene)} first")


def nearest_gsd(gsd: float, card: ModelCard) -> float | None:
    """Return the pixel size of a model that is nearest to a scene's; None if the card says none."""
    return card.gsd if card.gsd_range is None else min(max(gsd, card.gsd_range[0]), card.gsd_range[1])


def gsd_ratio(scene: Scene, card: ModelCard) -> float:
    """Return the ratio of the pixel sizes of scene and model, at least 1; infinite if one is unknown."""
    nearest = None if scene.gsd is None else nearest_gsd(scene.gsd, card)
    if scene.gsd is None or nearest is None:
        return math.inf
    return max(scene.gsd / nearest, nearest / scene.gsd)


def _no_pixel_size(scene: Scene, card: ModelCard) -> Iterator[Finding]:
    if not card.gsd_in_words:
        return
    if card.gsd_estimated and card.gsd_range is None:
        trained = f"the model was trained at {card.gsd_in_words} (an estimate)"
        yield Finding("note", "no-crs", f"the scene's pixel size is unknown; {trained}")
        return
    lacks, fix = "no CRS", "set it with gdal_edit -a_srs, or check the pixel size yourself"
    if scene.georeference.crs is not None and scene.georeference.transform is not None:
        lacks = "a CRS that does not tie it to the Earth"
    elif scene.georeference.crs is not None:
        lacks = "a CRS but no usable transform"
        fix = "set it with gdal_edit -a_ullr, or check the pixel size yourself"
    message = (
        f"the scene has {lacks}, so its pixel size cannot be compared with the "
        f"{card.gsd_in_words} that the model {'was trained at' if card.gsd_range is None else 'is for'}"
    )
    yield Finding("warn", "no-crs", message, fix)


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
    """Find the UTM zone (polar stereographic beyond 84 N and 80 S) at the scene's centre."""
    centre = scene.georeference.centre(scene.shape)
    if centre is None:
        return "EPSG:CODE"
    lon, lat = centre
    if lat > 84 or lat < -80:
        return "EPSG:5041" if lat > 0 else "EPSG:5042"
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"
