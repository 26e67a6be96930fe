"""Findings on labels: each says what was measured, how grave it is, and what to do.

Levels: "stop" means that training refuses; "warn", that the model will be worse; "note" is for information;
"ok", that a check found nothing wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.classes import LandClass
from geoseg.omissions import Omission
from geoseg.training.ground.labelled_scene import LabelledScene
from geoseg.training.label_check.polygon_faults import PolygonFaults
from geoseg.training.label_check.shift import Offset, Shift
from geoseg.training.label_check.statistics import LabelStatistics
from geoseg.training.label_check.values import LabelValue, ValueSurvey

Level = Literal["stop", "warn", "note", "ok"]
LEVELS: tuple[Level, ...] = ("stop", "warn", "note", "ok")
FEWEST_PIXELS, FEWEST_PATCHES = 500, 5
"""A class with fewer training pixels or patches is too rare to learn."""
RARE_SHARE = 0.005
SHIFT_NOTE, SHIFT_WARN = 0.5, 1.0
"""Shift between labels and image, in pixels, that gives a note, and that gives a warning."""
ON_NODATA_WARN = 0.01
SPARSE = 0.5
LEFT_OUT, ON_NODATA = "left-out", "labels-on-nodata"
_LISTED = 5


@dataclass(frozen=True)
class LabelFinding:
    """One finding on labels.

    Attributes:
        level: How grave it is.
        code: Short name that programs can rely on.
        message: What was found, with the numbers measured.
        fix: What to do; empty where nothing must be done.
    """

    level: Level
    code: str
    message: str
    fix: str = ""


def of_values(survey: ValueSurvey) -> list[LabelFinding]:
    """Report values that are not a class, and values that are ignored."""
    unit = "pixels" if survey.kind == "raster" else "polygons"
    found = []
    if survey.unknown:
        message = f"{survey.path} holds values that are not a class: {_list_values(survey.unknown, unit)}"
        fix = "add them to [classes], or name them in [label_values] ignore or remap"
        found.append(LabelFinding("stop", "label-values", message, fix))
    if survey.ignored:
        message = f"these values mean no label: {_list_values(survey.ignored, unit)}"
        found.append(LabelFinding("note", "labels-ignored", message))
    return found


def _list_values(values: Sequence[LabelValue], unit: str) -> str:
    listed = [f"{value.value} ({value.count:,} {unit})" for value in values[:_LISTED]]
    more = len(values) - _LISTED
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")


def of_omission(omission: Omission) -> LabelFinding:
    """Report what is left out of a file; much of it stops training that has no ``--force``."""
    fix = "geoseg train --force goes on without them" if omission.is_too_large else ""
    return LabelFinding("stop" if fix else "warn", LEFT_OUT, str(omission), fix)


def labels_on_nodata(recipe: Path, statistics: LabelStatistics) -> tuple[Omission, ...]:
    """Count the labels on nodata of the scenes; the finding of that name says it to whoever checks."""
    lost, reason = statistics.on_nodata, "they lie on nodata of the scenes"
    if not lost:
        return ()
    total = lost + statistics.labelled
    return (Omission("pixels", str(recipe), lost, total, "labelled pixels", reason, refuses=False),)


def of_statistics(statistics: LabelStatistics, *, rim: int) -> list[LabelFinding]:
    """Report how much is labelled, and how many labels are not used."""
    found = []
    unlabelled = 1 - statistics.labelled / max(statistics.valid, 1)
    if not statistics.valid:
        message, fix = "the scenes have no valid pixel", "check their nodata value: [reading] nodata"
        found.append(LabelFinding("stop", "no-valid-pixel", message, fix))
    elif unlabelled > SPARSE:
        message = f"{unlabelled:.1%} of the valid pixels have no label; they change nothing in training"
        found.append(LabelFinding("note", "unlabelled", message))
    else:
        found.append(LabelFinding("ok", "unlabelled", f"{unlabelled:.1%} of the valid pixels have no label"))
    every = statistics.labelled + statistics.on_nodata
    share = statistics.on_nodata / max(every, 1)
    if not statistics.on_nodata:
        found.append(LabelFinding("ok", ON_NODATA, "no label lies on nodata"))
    else:
        message = (
            f"{statistics.on_nodata:,} labelled pixels ({share:.1%}) lie on nodata of the scene and are not "
            "used"
        )
        fix = "" if share < ON_NODATA_WARN else "check the nodata value ([reading] nodata) and the CRS"
        found.append(LabelFinding("note" if share < ON_NODATA_WARN else "warn", ON_NODATA, message, fix))
    if statistics.in_rim:
        lost = statistics.in_rim / (every + statistics.in_rim)
        message = (
            f"the rim of {rim} pixels along borders leaves out {statistics.in_rim:,} labels ({lost:.1%})"
        )
        found.append(LabelFinding("note", "rim", message))
    return found


def of_training(
    statistics: LabelStatistics, bands: Sequence[str], *, validates: bool = True
) -> list[LabelFinding]:
    """Report a lack of labels, or of valid pixels, to train on, or to validate on where a part does."""
    found = []
    if not statistics.training.any():
        message = "no label is left to train on: all lie in validation regions or their buffer, or on nodata"
        fix = "make [split] buffer or block_size smaller, or choose another fold"
        found.append(LabelFinding("stop", "nothing-trains", message, fix))
    if validates and not statistics.validation.any():
        fix = "choose another [split] fold, or a larger block_size"
        found.append(LabelFinding("stop", "nothing-validates", "the validation fold holds no label", fix))
    for index in statistics.empty_bands:
        message = f"band {bands[index]} has no valid pixel among those that train"
        fix = "leave it out of `bands`, or fix the scene's nodata"
        found.append(LabelFinding("stop", "band-empty", message, fix))
    return found


def of_classes(
    statistics: LabelStatistics, classes: Sequence[LandClass], folds: int, *, validates: bool = True
) -> list[LabelFinding]:
    """Report classes that are absent, too rare to learn, or in need of care."""
    findings = []
    for index, item in enumerate(classes):
        name = f"class {item.id} ({item.name})"
        found = (
            _missing(statistics, index, name, validates=validates)
            or _rare(statistics, index, name)
            or _scarce(statistics, index, name, folds if validates else 0)
        )
        findings += [] if found is None else [found]
    if not findings:
        message = (
            f"every class has at least {FEWEST_PIXELS} pixels and {FEWEST_PATCHES} patches, and both trains "
            "and validates"
        )
        return [LabelFinding("ok", "classes", message)]
    return findings


def _missing(statistics: LabelStatistics, index: int, name: str, *, validates: bool) -> LabelFinding | None:
    """Report a class without a label, or without one that trains or validates."""
    pixels = int(statistics.pixels[index])
    if not pixels:
        fix = "label some, or take it out of [classes]"
        return LabelFinding("warn", "class-absent", f"{name} has no labelled pixel", fix)
    if not statistics.training[index]:
        message = (
            f"{name} is absent from the part that trains: its {pixels:,} pixels validate or lie in the buffer"
        )
        fix = "use smaller [split] blocks or another fold, or label more of it; it cannot be learnt otherwise"
        return LabelFinding("warn", "class-not-trained", message, fix)
    if validates and not statistics.validation[index]:
        message = f"{name} is absent from the part that validates, so its scores cannot be measured"
        fix = "use smaller [split] blocks or another fold"
        return LabelFinding("warn", "class-not-validated", message, fix)
    return None


def _rare(statistics: LabelStatistics, index: int, name: str) -> LabelFinding | None:
    """Report a class with too few training pixels or patches."""
    trains, patches = int(statistics.training[index]), int(statistics.patches[index])
    lacks = []
    if trains < FEWEST_PIXELS:
        lacks.append(f"{trains:,} training pixels (fewer than {FEWEST_PIXELS})")
    if patches < FEWEST_PATCHES:
        lacks.append(f"{patches:,} patches (fewer than {FEWEST_PATCHES})")
    if not lacks:
        return None
    fix = "label more of it, or merge it with a similar class ([label_values] remap)"
    message = f"{name} has only {' and '.join(lacks)}: too rare to learn"
    return LabelFinding("warn", "class-rare", message, fix)


def _scarce(statistics: LabelStatistics, index: int, name: str, folds: int) -> LabelFinding | None:
    """Report a class that is in few parts of the split, or rare."""
    parts, share = int(statistics.regions[index]), int(statistics.pixels[index]) / max(statistics.labelled, 1)
    if parts < folds:
        message = f"{name} lies in {parts} parts of the split, fewer than the {folds} folds"
        fix = "use smaller [split] blocks, so that every fold has some of it"
        return LabelFinding("note", "class-in-few-parts", message, fix)
    if share < RARE_SHARE:
        fix = "[chips] rare_share and [loss] class_weights help rare classes"
        return LabelFinding("note", "class-small", f"{name} is {share:.2%} of the labels", fix)
    return None


def of_shift(shift: Shift, scene: LabelledScene) -> LabelFinding:
    """Report the shift between labels and image."""
    name, offset = scene.image.name, shift.offset
    if offset is None:
        message = f"{name}: the shift between labels and image cannot be estimated: {shift.reason}"
        fix = "compare labels and image in QGIS, or with --preview"
        return LabelFinding("note", "shift-unknown", message, fix)
    far = max(abs(offset.rows), abs(offset.cols))
    where = describe_offset(offset, scene)
    if far < max(SHIFT_NOTE, offset.error):
        return LabelFinding("ok", "shift", f"{name}: labels and image are aligned: {where}")
    rim = math.ceil(round(far, 1))
    return LabelFinding(
        "warn" if far >= SHIFT_WARN else "note",
        "shift",
        f"{name}: labels are shifted against the image: {where}",
        f"move the labels {_way_back(offset, scene)}, or leave borders out: [label_values] rim = {rim}",
    )


def describe_offset(offset: Offset, scene: LabelledScene) -> str:
    """Write ``2.0 rows down and 1.0 columns left (60 m and 30 m), standard error 0.1 pixels``."""
    rows = f"{abs(offset.rows):.1f} rows {'down' if offset.rows > 0 else 'up'}"
    cols = f"{abs(offset.cols):.1f} columns {'right' if offset.cols > 0 else 'left'}"
    metres = in_metres(_rounded(offset), scene)
    on_ground = "" if metres is None else f" ({abs(metres[0]):.3g} m and {abs(metres[1]):.3g} m)"
    return f"{rows} and {cols}{on_ground}, standard error {max(offset.error, 0.1):.1f} pixels"


def in_metres(offset: Offset, scene: LabelledScene) -> tuple[float, float] | None:
    """Convert the offset to metres, down and right; None where the pixel size is unknown."""
    size = scene.image.georeference.pixel_size(scene.shape)
    return None if size is None else (offset.rows * size[0], offset.cols * size[1])


def _rounded(offset: Offset) -> Offset:
    """Round to tenths of a pixel, the precision of the estimate."""
    return Offset(round(offset.rows, 1), round(offset.cols, 1), offset.error)


def _way_back(offset: Offset, scene: LabelledScene) -> str:
    metres = in_metres(_rounded(offset), scene)
    if metres is None or not scene.image.georeference.is_north_up:
        up, left = ("up" if offset.rows > 0 else "down"), ("left" if offset.cols > 0 else "right")
        return f"{abs(offset.rows):.1f} pixels {up} and {abs(offset.cols):.1f} {left}"
    north, west = ("north" if offset.rows > 0 else "south"), ("west" if offset.cols > 0 else "east")
    return f"{abs(metres[0]):.3g} m {north} and {abs(metres[1]):.3g} m {west} (check CRS and datum first)"


def of_polygon_faults(path: str, found: PolygonFaults) -> list[LabelFinding]:
    """Report what is wrong with a layer of label polygons."""
    findings = [
        one
        for one in (
            _contradicting(path, found),
            _invalid(path, found),
            _outside(path, found),
            _tiny(path, found),
        )
        if one is not None
    ]
    if found.doubled:
        findings.append(_doubled(path, found))
    if found.overlapping:
        message = f"{path}: {found.overlapping:,} pairs of polygons of one class overlap, which is harmless"
        findings.append(LabelFinding("note", "polygons-overlap", message))
    if not findings:
        message = f"{path}: its {found.count:,} polygons are valid, inside the scene, and do not overlap"
        findings.append(LabelFinding("ok", "polygons", message))
    return findings


def _contradicting(path: str, found: PolygonFaults) -> LabelFinding | None:
    if not found.contradicting or found.first is None:
        return None
    area = "" if found.contradicted_ha is None else f", {found.contradicted_ha:,.2f} ha"
    message = (
        f"{path}: {found.contradicting:,} pairs of polygons of different classes overlap on "
        f"{found.contradicted:,.0f} pixels{area}; these get no label (first: rows {found.first[0]} "
        f"and {found.first[1]})"
    )
    return LabelFinding(
        "warn", "polygons-contradict", message, "cut one of each pair back (QGIS: Check geometries)"
    )


def _invalid(path: str, found: PolygonFaults) -> LabelFinding | None:
    if not found.invalid:
        return None
    number, why = found.invalid[0]
    message = (
        f"{path}: {len(found.invalid):,} polygons are repaired as they are read (first: row {number}, {why})"
    )
    return LabelFinding(
        "warn", "polygons-invalid", message, "fix them yourself to be sure (QGIS: Fix geometries)"
    )


def _outside(path: str, found: PolygonFaults) -> LabelFinding | None:
    if not found.outside:
        return None
    many = f"{len(found.outside):,} of {found.count:,} polygons"
    message = f"{path}: {many} lie outside the scene (rows {_list(found.outside)})"
    if len(found.outside) * 2 > found.count:
        return LabelFinding("warn", "polygons-outside", message, "check the CRS of the polygons")
    return LabelFinding("note", "polygons-outside", message)


def _tiny(path: str, found: PolygonFaults) -> LabelFinding | None:
    if not found.tiny:
        return None
    message = f"{path}: {len(found.tiny):,} polygons are smaller than a pixel (rows {_list(found.tiny)})"
    fix = "most of them label nothing: a pixel takes the polygon that holds its centre"
    return LabelFinding("note", "polygons-tiny", message, fix)


def _doubled(path: str, found: PolygonFaults) -> LabelFinding:
    level: Level = "warn" if found.doubled_otherwise else "note"
    otherwise = f", {found.doubled_otherwise:,} of them with another class" if found.doubled_otherwise else ""
    message = f"{path}: {found.doubled:,} polygons repeat another one point for point{otherwise}"
    fix = "delete one of each (QGIS: Delete duplicate geometries)"
    return LabelFinding(level, "polygons-doubled", message, fix)


def _list(numbers: Sequence[int]) -> str:
    more = len(numbers) - _LISTED
    return ", ".join(map(str, numbers[:_LISTED])) + (f" and {more} more" if more > 0 else "")
