"""The result of a label check, as text and as JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from geoseg.errors import InputError
from geoseg.execute.report import describe_scene
from geoseg.omissions import Omission, settle
from geoseg.progress import Progress
from geoseg.training.ground.labelled_scene import LabelledScene
from geoseg.training.label_check.findings import LEFT_OUT, ON_NODATA, LabelFinding, in_metres
from geoseg.training.label_check.polygon_faults import PolygonFaults
from geoseg.training.label_check.shift import Shift
from geoseg.training.label_check.statistics import LabelStatistics
from geoseg.training.label_check.values import ValueSurvey
from geoseg.training.recipe.recipe import Recipe

CHECK_VERSION = 1
_SIGNS = {"stop": "STOP", "warn": "warning", "note": "note", "ok": "ok"}
_COLUMNS = ("class", "pixels", "area ha", "share", "patches", "parts", "train", "validate")


@dataclass(frozen=True)
class LabelCheck:
    """The result of checking the labels of a recipe.

    Attributes:
        recipe: The recipe.
        values: The values of each label file.
        findings: The findings, the gravest first.
        scenes: Scenes and labels; empty, like all fields below, where a label value is not a class.
        polygon_faults: Faults of polygons, by scene; None for rasters.
        shifts: The shift between labels and image, by scene.
        statistics: The counts.
        omissions: What is left out of labels, scenes and folds; each is a finding too.
    """

    recipe: Recipe
    values: tuple[ValueSurvey, ...]
    findings: tuple[LabelFinding, ...]
    scenes: tuple[LabelledScene, ...] = field(default=(), repr=False)
    polygon_faults: tuple[PolygonFaults | None, ...] = ()
    shifts: tuple[Shift, ...] = ()
    statistics: LabelStatistics | None = None
    omissions: tuple[Omission, ...] = ()

    @property
    def can_train(self) -> bool:
        """Whether training would accept these labels."""
        return all(finding.level != "stop" for finding in self.findings)

    def settle(self, progress: Progress, *, force: bool) -> list[dict[str, Any]]:
        """Refuse what training must not begin with, and say every warning.

        Args:
            progress: Told the warnings.
            force: Go on whatever is left out.

        Returns:
            The report's ``left_out``.

        Raises:
            InputError: If a finding stops training.
        """
        said = [finding for finding in self.findings if finding.code not in (LEFT_OUT, ON_NODATA)]
        for finding in said:
            text = f"{finding.message}; {finding.fix}" if finding.fix else finding.message
            if finding.level == "stop":
                raise InputError(f"{self.recipe.path}: {text}")
            if finding.level == "warn":
                progress.say(f"warning: {text}")
        return settle(self.omissions, progress, force=force)

    def text(self) -> str:
        """Write the check as text for a terminal."""
        return _text(self)

    def to_json(self) -> dict[str, Any]:
        """Build the content of the report, as JSON values."""
        return _json(self)


def _text(check: LabelCheck) -> str:
    """Write the files, a row a class, a line a finding, and the verdict."""
    lines = [f"recipe    {check.recipe.path}", *_files(check)]
    if check.statistics is not None:
        lines += ["", *_table(check.recipe, check.statistics), ""]
    for finding in check.findings:
        lines.append(f"{_SIGNS[finding.level]}: {finding.message}")
        if finding.fix:
            lines.append(f"    {finding.fix}")
    return "\n".join([*lines, _verdict(check)])


def _files(check: LabelCheck) -> list[str]:
    lines = []
    for number, survey in enumerate(check.values):
        lines.append(f"scene     {', '.join(check.recipe.scenes[number])}")
        if check.scenes:
            scene = check.scenes[number].image
            gsd = "unknown size" if scene.gsd is None else f"{scene.gsd:.3g} m"
            lines.append(f"pixels    {scene.shape[0]} rows x {scene.shape[1]} columns of {gsd}")
        kind = "raster" if survey.column is None else f"polygons, class in column {survey.column}"
        lines.append(f"labels    {survey.path} ({kind})")
    return lines


def _table(recipe: Recipe, statistics: LabelStatistics) -> list[str]:
    """Write a row a class; train and validate are pixels in the recipe's fold."""
    rows: list[Sequence[str]] = [_COLUMNS]
    labelled = max(statistics.labelled, 1)
    for i, item in enumerate(recipe.classes):
        hectares = "" if statistics.hectares is None else f"{statistics.hectares[i]:,.1f}"
        counts = [
            statistics.patches[i],
            statistics.regions[i],
            statistics.training[i],
            statistics.validation[i],
        ]
        share = f"{statistics.pixels[i] / labelled:.1%}"
        numbers = [f"{count:,}" for count in counts]
        rows.append([f"{item.id} {item.name}", f"{statistics.pixels[i]:,}", hectares, share, *numbers])
    hectares = "" if statistics.hectares is None else f"{statistics.hectares.sum():,.1f}"
    sums = [f"{statistics.training.sum():,}", f"{statistics.validation.sum():,}"]
    rows.append(["all", f"{statistics.labelled:,}", hectares, "", f"{statistics.patches.sum():,}", "", *sums])
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _verdict(check: LabelCheck) -> str:
    name = os.path.basename(check.recipe.path)
    if not check.can_train:
        return f"training would refuse {name}"
    warnings = sum(finding.level == "warn" for finding in check.findings)
    return f"{name} can be trained" + (f"; {warnings} warning{'s' * (warnings > 1)}" if warnings else "")


def _json(check: LabelCheck) -> dict[str, Any]:
    """Build the content of the report."""
    return {
        "report_version": CHECK_VERSION,
        "kind": "labels",
        "recipe": os.fspath(check.recipe.path),
        "can_train": check.can_train,
        "findings": [asdict(finding) for finding in check.findings],
        "left_out": [omission.as_json() for omission in check.omissions],
        "scenes": [_scene(check, number) for number in range(len(check.values))],
        "fold": check.recipe.split.fold,
        "classes": [] if check.statistics is None else _classes(check.recipe, check.statistics),
        "pixels": None if check.statistics is None else _pixels(check.statistics),
    }


def _scene(check: LabelCheck, number: int) -> dict[str, Any]:
    content: dict[str, Any] = {"paths": list(check.recipe.scenes[number])}
    content["labels"] = asdict(check.values[number])
    if check.scenes:
        scene, shift, polygon_faults = (
            check.scenes[number],
            check.shifts[number],
            check.polygon_faults[number],
        )
        metres = None if shift.offset is None else in_metres(shift.offset, scene)
        content |= describe_scene(scene.image) | {"shape": list(scene.shape)}
        content["shift"] = asdict(shift) | {"metres": None if metres is None else list(metres)}
        content["polygons"] = None if polygon_faults is None else asdict(polygon_faults)
    return content


def _classes(recipe: Recipe, statistics: LabelStatistics) -> list[dict[str, Any]]:
    return [
        {
            "id": item.id,
            "name": item.name,
            "pixels": int(statistics.pixels[i]),
            "area_ha": None if statistics.hectares is None else float(statistics.hectares[i]),
            "share": float(statistics.pixels[i] / max(statistics.labelled, 1)),
            "patches": int(statistics.patches[i]),
            "parts": int(statistics.regions[i]),
            "parts_that_train": int(statistics.training_regions[i]),
            "training_pixels": int(statistics.training[i]),
            "validation_pixels": int(statistics.validation[i]),
        }
        for i, item in enumerate(recipe.classes)
    ]


def _pixels(statistics: LabelStatistics) -> dict[str, Any]:
    return {
        "valid": statistics.valid,
        "labelled": statistics.labelled,
        "unlabelled_share": 1 - statistics.labelled / max(statistics.valid, 1),
        "labels_on_nodata": statistics.on_nodata,
        "labels_in_rim": statistics.in_rim,
    }
