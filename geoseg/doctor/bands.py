"""Check that the scene has the bands that the model reads."""

from __future__ import annotations

from collections.abc import Iterator

from geoseg.doctor.examination import Examination
from geoseg.doctor.findings import Finding
from geoseg.scene.band_names import is_generic
from geoseg.scene.match import missing_bands
from geoseg.scene.scene import Scene

EXPAND = "its pixels are indices of a colour palette: gdal_translate -expand rgb turns them into three bands"


def check_bands(examination: Examination) -> Iterator[Finding]:
    """Stop where bands are missing; warn where the match of bands is uncertain."""
    if examination.match is None:
        message, _, fix = str(examination.mismatch).rpartition("; ")
        fix = EXPAND if has_palette(examination.scene) else fix
        yield Finding("stop", "bands-missing", message, fix, _lacks(examination))
        return
    fix = "name the bands in the model's order with --bands, if that is wrong"
    for doubt in examination.match.doubts:
        yield Finding("warn", "bands-in-doubt", doubt, fix)
    for note in examination.match.notes:
        yield Finding("note", "bands", note)


def has_palette(scene: Scene) -> bool:
    """Tell whether pixels of a scene are indices of a colour palette."""
    return any(band.has_palette for band in scene.bands)


def _lacks(examination: Examination) -> str:
    """Say in a few words which bands are missing."""
    scene, asked, wanted = examination.scene, examination.bands, len(examination.card.bands)
    if asked:
        named = f"--bands names {len(asked)}" if len(asked) != wanted else "--bands names others"
        return f"takes {wanted} bands, and {named}"
    if all(band.common_name is None and is_generic(band.name) for band in scene.bands):
        return f"takes {wanted} bands, and the scene has {len(scene.bands)} without names"
    return f"needs {', '.join(missing_bands(scene, examination.card.band_names))}"
