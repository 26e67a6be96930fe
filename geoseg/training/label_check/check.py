"""``geoseg train RECIPE --check``: check the labels of a recipe without training."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter

from geoseg.errors import SettingsError
from geoseg.execute.report import versions
from geoseg.files import write_json
from geoseg.plan.outputs import check_outputs
from geoseg.progress import Progress, Silent
from geoseg.scene.opening import open_scene
from geoseg.system.memory import peak_memory
from geoseg.training.ground.folds import Split, make_split
from geoseg.training.ground.labelled_scene import (
    LabelCells,
    LabelledScene,
    band_names,
    count_labels,
    open_labelled_scenes,
)
from geoseg.training.label_check.findings import (
    LEVELS,
    LabelFinding,
    labels_on_nodata,
    of_classes,
    of_omission,
    of_polygon_faults,
    of_shift,
    of_statistics,
    of_training,
    of_values,
)
from geoseg.training.label_check.polygon_faults import find_polygon_faults
from geoseg.training.label_check.report import LabelCheck
from geoseg.training.label_check.scene_values import compare_scenes
from geoseg.training.label_check.shift import estimate_shift
from geoseg.training.label_check.statistics import measure_statistics
from geoseg.training.label_check.values import ValueSurvey, survey_values
from geoseg.training.prepare import default_chip_size, omissions_of, recipe_keys
from geoseg.training.recipe.recipe import Recipe, load_recipe

PathLike = str | os.PathLike[str]


def check_labels(
    recipe: PathLike,
    *,
    report: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> LabelCheck:
    """Read the labels and scenes of a recipe as training would, and report what is wrong with them.

    Args:
        recipe: TOML file.
        report: File for the findings as JSON.
        overwrite: Replace the report if it exists.
        progress: Shows how far the check is.

    Returns:
        The findings; ``can_train`` says whether training would run.

    Raises:
        InputError: If the recipe is wrong, or a file cannot be opened.
        RunError: If a file cannot be read.
    """
    since = perf_counter()
    loaded = load_recipe(recipe)
    if report is not None:
        outputs = {"--report": Path(report)}
        check_outputs(outputs, loaded.inputs(), endings={"--report": (".json",)}, overwrite=overwrite)
    found = examine_labels(loaded, progress or Silent())
    if report is not None:
        spent = {"seconds": {"total": perf_counter() - since}, "peak_memory_bytes": peak_memory()}
        write_json(Path(report), found.to_json() | spent | {"versions": versions()})
    return found


def examine_labels(recipe: Recipe, progress: Progress) -> LabelCheck:
    """Examine the labels and scenes of a recipe; errors as in ``check_labels``."""
    with recipe_keys(recipe):
        return _examine(recipe, progress)


def _examine(recipe: Recipe, progress: Progress) -> LabelCheck:
    values = _values(recipe)
    findings = [finding for survey in values for finding in of_values(survey)]
    if any(survey.unknown for survey in values):
        return LabelCheck(recipe, values, _sorted(findings))
    progress.say("reading labels")
    scenes = open_labelled_scenes(recipe)
    cells = tuple(count_labels(scene) for scene in scenes)
    split, refusals = _split(recipe, scenes, cells)
    pixels = sum(scene.shape[0] * scene.shape[1] for scene in scenes)
    with progress.stage("reading labels and scenes", pixels / 1e6, "Mpx") as bar:
        statistics = measure_statistics(scenes, split, bar)
    shifts = []
    with progress.stage("laying labels over the image", len(scenes), "scenes") as bar:
        for scene, counted in zip(scenes, cells, strict=True):
            shifts.append(estimate_shift(scene.image, scene.labels, counted, seed=recipe.seed))
            bar.advance(1)
    polygon_faults = tuple(
        find_polygon_faults(survey.path, scene.image, recipe) if survey.kind == "polygons" else None
        for survey, scene in zip(values, scenes, strict=True)
    )
    omissions = omissions_of(scenes, split)
    findings += [of_omission(omission) for omission in omissions]
    omissions += labels_on_nodata(recipe.path, statistics)
    findings += refusals + compare_scenes(scenes)
    findings += of_statistics(statistics, rim=recipe.label_values.rim)
    if split is not None:
        validates = split.fold is not None
        findings += of_training(statistics, band_names(scenes[0].image), validates=validates)
        findings += of_classes(statistics, recipe.classes, recipe.split.folds, validates=validates)
    findings += [of_shift(shift, scene) for shift, scene in zip(shifts, scenes, strict=True)]
    for survey, found in zip(values, polygon_faults, strict=True):
        findings += [] if found is None else of_polygon_faults(survey.path, found)
    return LabelCheck(
        recipe=recipe,
        values=values,
        findings=_sorted(findings),
        scenes=scenes,
        polygon_faults=polygon_faults,
        shifts=tuple(shifts),
        statistics=statistics,
        omissions=omissions,
    )


def _values(recipe: Recipe) -> tuple[ValueSurvey, ...]:
    """Read the values of all label files, including values that training would refuse."""
    reading = recipe.reading
    surveys = []
    for paths, labels in zip(recipe.scenes, recipe.labels, strict=True):
        scene = open_scene(
            paths, nodata=reading.nodata, scale=reading.scale, offset=reading.offset, warp=reading.warp
        )
        surveys.append(survey_values(labels, scene, recipe))
    return tuple(surveys)


def _split(
    recipe: Recipe, scenes: tuple[LabelledScene, ...], cells: tuple[LabelCells, ...]
) -> tuple[Split | None, list[LabelFinding]]:
    """Make the split that training would use; None and the reason if there is none."""
    size = recipe.chips.size or default_chip_size(scenes)
    try:
        return make_split(recipe.split, scenes, cells, chip_size=size, seed=recipe.seed), []
    except SettingsError as error:
        message, _, fix = str(error).partition("; ")
        return None, [LabelFinding("stop", "split", message, fix)]


def _sorted(findings: list[LabelFinding]) -> tuple[LabelFinding, ...]:
    return tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))
