"""Check that the scene has the bands that the model reads, and that each of them holds something usable."""

from __future__ import annotations

from collections.abc import Iterator

from geoseg.doctor.examination import Examination
from geoseg.doctor.findings import Finding
from geoseg.scene.band_names import is_generic
from geoseg.scene.match import missing_bands
from geoseg.scene.scene import Scene

EXPAND = "its pixels are indices of a colour palette: gdal_translate -expand rgb turns them into three bands"

_FIXES = {
    "band-empty": "use a file in which the band is whole, or a model that does without it",
    "band-scale": "bring all bands to one scale: gdal_edit.py -scale sets one for each band",
}


def check_bands(examination: Examination) -> Iterator[Finding]:
    """Stop where bands are missing; warn where the match of bands is uncertain, or a mark is not believed."""
    for remark in examination.scene.remarks:
        yield Finding(
            "warn", "alpha-is-a-band", remark, "gdal_edit.py -colorinterp_N undefined takes the mark away"
        )
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


def check_each_band(examination: Examination) -> Iterator[Finding]:
    """Stop where a band is empty, or on another scale than the others; warn where it is so in part."""
    if examination.selected is None:
        return
    names = dict(zip(examination.card.band_names, examination.selected.bands, strict=True))
    kinds = dict.fromkeys((doubt.severity, doubt.code) for doubt in examination.doubts)
    for severity, code in kinds:
        found = [doubt for doubt in examination.doubts if (doubt.severity, doubt.code) == (severity, code)]
        message = "; ".join(f"band {names[doubt.band]} {doubt.text}" for doubt in found)
        brief = "; ".join(f"{doubt.band}, which {doubt.text}" for doubt in found)
        yield Finding(severity, code, message, _FIXES[code], f"reads {brief}")


def check_offsets(examination: Examination) -> Iterator[Finding]:
    """Warn where bands of one scale have different offsets: one of them lost or got its tag by mistake."""
    if examination.selected is None:
        return
    for scale in dict.fromkeys(band.scale for band in examination.selected.bands):
        alike = [band for band in examination.selected.bands if band.scale == scale]
        offsets = {band.offset: band for band in alike}
        if len(offsets) > 1:
            listed = ", ".join(f"{offset:g} (as band {band})" for offset, band in offsets.items())
            message = f"bands of the same scale {scale:g} have different offsets: {listed}"
            yield Finding("warn", "offsets-differ", message, "--offset sets one for all bands")


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
