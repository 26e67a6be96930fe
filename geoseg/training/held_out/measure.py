"""Measure a trained network: fit its temperature, map held-out regions, and score the maps.

The finished package is measured, with the inference of ``predict``, so that the scores on the card hold for
the maps that ``predict`` makes.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from geoseg._version import __version__
from geoseg.files import encoded, to_json
from geoseg.models.model import Model
from geoseg.models.package import load_model
from geoseg.progress import Progress
from geoseg.training.cards import describe_fold, describe_folds, make_metrics
from geoseg.training.ground.folds import Region
from geoseg.training.held_out.maps import HeldOutMap, HeldOutPart, map_held_out
from geoseg.training.held_out.sample import draw_sample
from geoseg.training.held_out.scores import describe, score_fold, score_held_out, write_evaluation
from geoseg.training.held_out.temperature import LogitSample, fit_temperature, join
from geoseg.training.prepare import TrainingData
from geoseg.training.work_folder import STAGED, MeasuredQuality, write_card

MAPS, METRICS_FILE = "maps", "metrics.json"
_SPREAD = ("accuracy", "miou", "ece")


def measure_fold(
    data: TrainingData, package: Path, output: Path, work: Path, progress: Progress
) -> MeasuredQuality:
    """Measure a network on the fold that validated, and write the evaluation.

    Args:
        data: The labelled scenes; their split says which fold validated.
        package: The package as it was trained.
        output: Path of the final package.
        work: Folder for the maps and the evaluation.
        progress: Shows how far the run is.
    """
    since, recipe, split = perf_counter(), data.recipe, data.split
    progress.say("calibrating on the validation fold")
    temperatures = {
        tta: fit_temperature(_sample(load_model(package), data, split.validation, tta))
        for tta in recipe.run.calibrate
    }
    write_card(package, work / STAGED, recipe.model.precision, MeasuredQuality(temperatures))
    model = load_model(work / STAGED)
    description = describe_fold(split, recipe.run.keep, fitted=bool(temperatures))
    maps = _maps(data, [HeldOutPart(model, split.validation)], work, progress, f"fold {split.fold}")
    names = _names(model, output)
    report = _evaluate(data, maps, split.validation, work, progress, since, description, names)
    shutil.rmtree(work / MAPS)
    return MeasuredQuality(temperatures, make_metrics(report, description))


def measure_folds(
    data: TrainingData, packages: Mapping[int, Path], output: Path, work: Path, progress: Progress
) -> tuple[MeasuredQuality, list[HeldOutMap]]:
    """Measure a recipe by mapping each fold with the network that was trained without it.

    The final temperatures are fitted on all folds. The maps that are scored use, for each fold, a temperature
    fitted on the other folds, so that the calibration error is measured on pixels that were not fitted.

    Args:
        data: The labelled scenes and their split.
        packages: Fold -> the package of the network that was trained without it.
        output: Path of the final package.
        work: Folder for the maps and the evaluation.
        progress: Shows how far the run is.

    Returns:
        The measured quality, and the maps.
    """
    since, recipe, split = perf_counter(), data.recipe, data.split
    progress.say("calibrating on the held-out regions of all folds")
    models = {fold: load_model(package) for fold, package in packages.items()}
    temperatures: dict[str, float] = {}
    own = dict.fromkeys(models, 1.0)
    for tta in recipe.run.calibrate:
        samples = {
            fold: _sample(model, data, split.of(fold), tta, share=1 / len(models))
            for fold, model in models.items()
        }
        temperatures[tta] = fit_temperature(join(list(samples.values())))
        if tta == "none":
            own = {
                fold: fit_temperature(join([s for other, s in samples.items() if other != fold]))
                for fold in models
            }
    parts = [
        HeldOutPart(_with_temperature(model, own[fold]), split.of(fold)) for fold, model in models.items()
    ]
    regions = [region for part in parts for region in part.regions]
    maps = _maps(data, parts, work, progress, f"{len(models)}-fold cross-validation")
    rows = [
        {"fold": fold, "temperature": own[fold]}
        | score_fold(maps, data.scenes, split.of(fold), recipe.classes, progress)
        for fold in models
    ]
    for row in rows:
        (packages[row["fold"]].parent / METRICS_FILE).write_bytes(encoded(to_json(row)))
    description = describe_folds(split, data.scenes, len(models))
    names = _names(None, output) | {"model": f"{len(models)} networks of {recipe.path.name}"}
    spread = _spread(rows)
    more = {"folds": rows} | spread
    report = _evaluate(data, maps, regions, work, progress, since, description, names, more)
    return MeasuredQuality(temperatures, make_metrics(report, description) | {"folds": spread}), maps


def _sample(
    model: Model, data: TrainingData, regions: Sequence[Region], tta: str, share: float = 1.0
) -> LogitSample:
    return draw_sample(
        model,
        data.scenes,
        data.all_cells,
        regions,
        tta,
        device=data.recipe.run.device,
        seed=data.recipe.seed,
        share=share,
    )


def _with_temperature(model: Model, temperature: float) -> Model:
    return replace(model, card=replace(model.card, temperatures={"none": temperature}))


def _maps(
    data: TrainingData, parts: Sequence[HeldOutPart], work: Path, progress: Progress, held_out: str
) -> list[HeldOutMap]:
    tags = {
        "GEOSEG_VERSION": __version__,
        "GEOSEG_MODEL": data.recipe.name,
        "GEOSEG_HELD_OUT": held_out,
    }
    device = data.recipe.run.device
    return map_held_out(data.scenes, parts, work / MAPS, progress, device=device, tags=tags)


def _evaluate(
    data: TrainingData,
    maps: Sequence[HeldOutMap],
    regions: Sequence[Region],
    work: Path,
    progress: Progress,
    since: float,
    description: str,
    names: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Score the maps and write the evaluation; None where nothing can be scored."""
    found = score_held_out(maps, data.scenes, regions, data.recipe.classes, progress)
    if found is None:
        progress.say("warning: no labelled pixel of the held-out regions is valid, so nothing is measured")
        return None
    content, examples = found
    described = describe(data.scenes, maps, names)
    return write_evaluation(
        work, described | {"held_out": {"split": description, **(more or {})}} | content, examples, since
    )


def _names(model: Model | None, output: Path) -> dict[str, Any]:
    return {
        "name": output.name,
        "path": str(output),
        "model": None if model is None else f"{model.card.name} {model.card.version}",
        "model_hash": None if model is None else model.hash,
    }


def _spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Compute the mean of each figure over the folds that have it, and their standard deviation (n - 1)."""
    found: dict[str, Any] = {"mean": {}, "standard_deviation": {}}
    for key in _SPREAD:
        values = [row[key] for row in rows if row[key] is not None]
        mean = sum(values) / len(values) if values else None
        found["mean"][key] = mean
        squares = sum((value - mean) ** 2 for value in values) if mean is not None else 0.0
        found["standard_deviation"][key] = math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None
    return found
