"""Cross-validation: a network for every fold, what they say together, and one network of all ground."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import SettingsError
from geoseg.files import write_file
from geoseg.progress import Progress
from geoseg.training.network.train_network import PACKAGE, Trained, finished, train_network
from geoseg.training.publish import FINAL, MEASURED

if TYPE_CHECKING:
    from geoseg.training.held_out.maps import HeldOutMap
    from geoseg.training.prepare import Opened
    from geoseg.training.recipe.recipe import Recipe

FOLDS = "folds"


def check_cross_validation(recipe: Recipe) -> None:
    """Refuse recipes that cannot be cross-validated, before anything is read.

    Raises:
        SettingsError: Naming the key.
    """
    place = f"{recipe.path}: --cross-validate"
    if recipe.split.method == "none":
        raise SettingsError(f'{place} needs folds, but [split] method is "none"')
    if recipe.split.validation_scenes:
        raise SettingsError(
            f"{place} lets every fold validate once, but [split] validation_scenes names one; leave it out"
        )
    for key, asked in (
        ('[schedule] name = "plateau"', recipe.schedule.name == "plateau"),
        ("[run] stop_after", recipe.run.stop_after is not None),
    ):
        if asked:
            raise SettingsError(
                f"{place} trains the last network on all ground, where no score can steer it, so {key} "
                "cannot be kept; leave it out"
            )


def check_folds(opened: Opened, wanted: Sequence[int] | None) -> tuple[int, ...]:
    """The folds to train now.

    Raises:
        SettingsError: If there is no such fold, there are too few, or one has no labels.
    """
    folds = opened.split.folds
    if len(folds) < 2:
        raise SettingsError(
            f"{opened.recipe.path}: --cross-validate needs two folds; the split has {len(folds)}"
        )
    for fold in folds:
        if not any(opened.every[r.scene].around(r.window) for r in opened.split.of(fold)):
            raise SettingsError(f"{opened.recipe.path}: [split] fold {fold} holds no labels")
    for fold in wanted or ():
        if fold not in folds:
            raise SettingsError(f"--folds {fold}: the folds are {', '.join(map(str, folds))}")
    return tuple(fold for fold in folds if wanted is None or fold in wanted)


def train_folds(opened: Opened, wanted: Sequence[int], work: Path, progress: Progress) -> bool:
    """Train the networks of some folds that are not finished yet.

    Args:
        opened: The ground.
        wanted: The folds.
        work: The work folder.
        progress: Shows how far the run is.

    Returns:
        Whether now all folds are finished.
    """
    from geoseg.training.prepare import hold_out

    for fold in wanted:
        folder = work / FOLDS / str(fold)
        if finished(folder) is None:
            progress.say(f"fold {fold}, one of {len(opened.split.folds)}")
            train_network(hold_out(opened, fold), folder, progress, title=f"training fold {fold}")
    return not missing(opened, work)


def missing(opened: Opened, work: Path) -> list[int]:
    """The folds that are not finished."""
    return [fold for fold in opened.split.folds if finished(work / FOLDS / str(fold)) is None]


def finish_folds(
    opened: Opened, output: Path, work: Path, progress: Progress
) -> tuple[Trained, dict[str, float], dict[str, Any]]:
    """Measure the finished folds, and train on all ground.

    Args:
        opened: The ground.
        output: What the package will be called.
        work: The work folder.
        progress: Shows how far the run is.

    Returns:
        The last network, its temperatures, and the metrics for its card.
    """
    from geoseg.training.prepare import hold_out

    metrics, temperatures = _measured(opened, output, work, progress)
    folder = work / FINAL
    trained = finished(folder)
    if trained is None:
        progress.say("all folds are measured; now a network of all labelled ground")
        trained = train_network(hold_out(opened, None), folder, progress, title="training on all ground")
    return trained, temperatures, metrics


def _measured(
    opened: Opened, output: Path, work: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, float]]:
    """What the folds say, from an earlier run if that came so far."""
    from geoseg.training.held_out.measure import measure_folds

    marker = work / MEASURED
    if not marker.is_file():
        packages = {fold: work / FOLDS / str(fold) / PACKAGE for fold in opened.split.folds}
        metrics, temperatures, maps = measure_folds(opened, packages, output, work, progress)
        _say_scores(metrics, progress)
        _write_contradictions(opened, maps, work, progress)
        write_file(marker, json.dumps({"metrics": metrics, "temperatures": temperatures}))
    kept = json.loads(marker.read_text(encoding="utf-8"))
    return kept["metrics"], kept["temperatures"]


def _say_scores(metrics: dict[str, Any], progress: Progress) -> None:
    if "accuracy" in metrics:
        spread = metrics["folds"]["standard_deviation"]["miou"]
        progress.say(
            f"cross-validated: accuracy {metrics['accuracy']:.3f}, mIoU {metrics['miou']:.3f}"
            + (f" (standard deviation between folds {spread:.3f})" if spread is not None else "")
        )


def _write_contradictions(opened: Opened, maps: Sequence[HeldOutMap], work: Path, progress: Progress) -> None:
    """Where the networks are sure of another class than the label, a file a scene."""
    from geoseg.training.contradictions.contradictions import write_contradictions

    for one in maps:
        ground = opened.grounds[one.scene]
        name = "contradictions" if len(maps) == 1 else one.classes.name.removesuffix("_classes.tif")
        path = work / (f"{name}.gpkg" if len(maps) == 1 else f"contradictions-{name}.gpkg")
        path.unlink(missing_ok=True)
        with progress.stage("looking for contradictions", 1.0, "") as bar:
            found = write_contradictions(
                path,
                predicted=one.classes,
                confidence=one.confidence,
                labels=ground.labels,
                classes=opened.recipe.classes,
                advance=bar.advance,
            )
        progress.say(f"{found.found} places contradict the labels of {ground.scene.name}: {path.name}")
