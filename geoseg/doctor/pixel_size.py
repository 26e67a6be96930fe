"""Check that the scene's pixels have the size and shape that the model was trained on.

A pixel size that differs by more than a factor of 1.5 gives a warning, because networks tolerate some change
of scale; a factor of more than 4 stops, because objects then have the size of other classes. A pixel size
that the model's card gives as an estimate never stops.
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
_SHAPE_WARN = 1.2


def check_pixel_size(examination: Examination) -> Iterator[Finding]:
    """Compare the scene's pixel size with the model's."""
    scene, card = examination.scene, examination.card
    if scene.gsd is None:
        yield from _no_pixel_size(scene, card)
        return
    ratio = gsd_ratio(scene, card)
    if card.gsd is None or ratio <= _GSD_WARN:
        return
    finer = scene.gsd < card.gsd
    trained = f"{'about ' if card.gsd_estimated else ''}{card.gsd:.3g} m"
    message = (
        f"pixels of {scene.gsd:.3g} m are {ratio:.1f} times {'finer' if finer else 'coarser'} than "
        f"the {'estimated ' if card.gsd_estimated else ''}{card.gsd:.3g} m that the model was trained at"
    )
    severity: Severity = "stop" if ratio > GSD_STOP and not card.gsd_estimated else "warn"
    brief = f"was trained at {trained} a pixel, and the scene's are {scene.gsd:.3g} m"
    yield Finding(severity, "gsd", message, _resampling(scene, card.gsd, finer=finer), brief)


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


def gsd_ratio(scene: Scene, card: ModelCard) -> float:
    """Return the ratio of the pixel sizes of scene and model, at least 1; infinite if one is unknown."""
    if scene.gsd is None or card.gsd is None:
        return math.inf
    return max(scene.gsd / card.gsd, card.gsd / scene.gsd)


def _no_pixel_size(scene: Scene, card: ModelCard) -> Iterator[Finding]:
    if card.gsd is None:
        return
    if card.gsd_estimated:
        trained = f"the model was trained at about {card.gsd:.3g} m (an estimate)"
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
        f"{card.gsd:.3g} m that the model was trained at"
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
