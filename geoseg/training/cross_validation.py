"""Train and measure networks with one fold held out, or every fold in turn (cross-validation)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from geoseg.errors import SettingsError
from geoseg.files import write_file
from geoseg.progress import Progress
from geoseg.training.contradictions.contradictions import write_contradictions
from geoseg.training.ground.split_files import write_split
from geoseg.training.held_out.maps import HeldOutMap
from geoseg.training.held_out.measure import measure_fold, measure_folds
from geoseg.training.network.history import kept_epoch
from geoseg.training.network.train_network import train_network
from geoseg.training.prepare import TrainingData, hold_out
from geoseg.training.work_folder import (
    FINAL,
    FOLDS,
    MEASURED,
    PACKAGE,
    MeasuredQuality,
    TrainedNetwork,
    find_trained,
)


def train_one_fold(
    data: TrainingData, output: Path, work: Path, progress: Progress
) -> tuple[TrainedNetwork, MeasuredQuality]:
    """Train a network, unless its training is finished, and measure it on the fold that validates, if any.

    Args:
        data: The labelled scenes and their split.
        output: Path of the package to be.
        work: The work folder.
        progress: Shows how far the run is.
    """
    trained = find_trained(work)
    if trained is None:
        fold = hold_out(data, data.split.fold)
        write_split(work, fold.split, fold.scenes, data.recipe.classes, fold.all_cells, fold.cells)
        trained = train_network(fold, work, progress, title="training")
    if data.split.fold is None:
        return trained, MeasuredQuality()
    quality = measure_fold(data, trained.package, output, work, progress)
    kept = kept_epoch(trained.history, data.recipe.run.keep)
    epochs = {"epoch": kept.epoch + 1, "epochs": len(trained.history)}
    return trained, MeasuredQuality(quality.temperatures, {**quality.metrics, **epochs})


def check_folds(data: TrainingData, wanted: Sequence[int] | None) -> tuple[int, ...]:
    """Choose the folds to train now.

    Raises:
        SettingsError: If there is no such fold, there are too few, or one has no labels.
    """
    folds = data.split.folds
    if len(folds) < 2:
        raise SettingsError(
            f"{data.recipe.path}: --cross-validate needs two folds; the split has {len(folds)}"
        )
    for fold in folds:
        if not any(data.all_cells[r.scene].around(r.window) for r in data.split.of(fold)):
            raise SettingsError(f"{data.recipe.path}: [split] fold {fold} holds no labels")
    for fold in wanted or ():
        if fold not in folds:
            raise SettingsError(f"--folds {fold}: the folds are {', '.join(map(str, folds))}")
    return tuple(fold for fold in folds if wanted is None or fold in wanted)


def train_every_fold(
    data: TrainingData, wanted: Sequence[int], output: Path, work: Path, progress: Progress
) -> tuple[TrainedNetwork, MeasuredQuality] | None:
    """Train the networks of some folds; when all folds are trained, measure them and train on all labels.

    Args:
        data: The labelled scenes and their split.
        wanted: The folds to train now; finished ones are not trained again.
        output: Path of the package to be.
        work: The work folder.
        progress: Shows how far the run is.

    Returns:
        The network trained on all labels, and the quality measured of the folds' networks; None if some folds
        are not trained yet.
    """
    whole = data.split.holding_out(None)
    write_split(work, whole, data.scenes, data.recipe.classes, data.all_cells, data.all_cells)
    for fold in wanted:
        folder = work / FOLDS / str(fold)
        if find_trained(folder) is None:
            progress.say(f"fold {fold}, one of {len(data.split.folds)}")
            train_network(hold_out(data, fold), folder, progress, title=f"training fold {fold}")
    missing = [fold for fold in data.split.folds if find_trained(work / FOLDS / str(fold)) is None]
    if missing:
        left = ", ".join(map(str, missing))
        progress.say(f"folds still to be trained: {left}; go on with --cross-validate --resume")
        return None
    quality = _measure(data, output, work, progress)
    trained = find_trained(work / FINAL)
    if trained is None:
        progress.say("all folds are measured; training the network on all labels")
        trained = train_network(hold_out(data, None), work / FINAL, progress, title="training on all labels")
    return trained, quality


def _measure(data: TrainingData, output: Path, work: Path, progress: Progress) -> MeasuredQuality:
    """Measure the folds' networks, or read what an earlier run measured."""
    marker = work / MEASURED
    if not marker.is_file():
        packages = {fold: work / FOLDS / str(fold) / PACKAGE for fold in data.split.folds}
        quality, maps = measure_folds(data, packages, output, work, progress)
        _say_scores(quality, progress)
        _write_contradictions(data, maps, work, progress)
        write_file(marker, json.dumps(asdict(quality)))
    return MeasuredQuality(**json.loads(marker.read_text(encoding="utf-8")))


def _say_scores(quality: MeasuredQuality, progress: Progress) -> None:
    metrics = quality.metrics
    if "accuracy" in metrics:
        spread = metrics["folds"]["standard_deviation"]["miou"]
        progress.say(
            f"cross-validated: accuracy {metrics['accuracy']:.3f}, mIoU {metrics['miou']:.3f}"
            + (f" (standard deviation between folds {spread:.3f})" if spread is not None else "")
        )


def _write_contradictions(
    data: TrainingData, maps: Sequence[HeldOutMap], work: Path, progress: Progress
) -> None:
    """Write the places where the networks contradict the labels with confidence, one file a scene."""
    for one in maps:
        scene = data.scenes[one.scene]
        name = "contradictions" if len(maps) == 1 else one.classes.name.removesuffix("_classes.tif")
        path = work / (f"{name}.gpkg" if len(maps) == 1 else f"contradictions-{name}.gpkg")
        path.unlink(missing_ok=True)
        found = write_contradictions(
            path,
            predicted=one.classes,
            confidence=one.confidence,
            labels=scene.labels,
            classes=data.recipe.classes,
            progress=progress,
        )
        progress.say(f"{found.found} places contradict the labels of {scene.image.name}: {path.name}")
