"""Train one network on all ground but that of one fold, and measure it on that fold."""

from __future__ import annotations

from pathlib import Path

from geoseg.progress import Progress
from geoseg.training.ground.split_files import write_split
from geoseg.training.held_out.measure import measure_fold
from geoseg.training.network.history import kept_epoch
from geoseg.training.network.train_network import train_network
from geoseg.training.prepare import TrainingData, hold_out
from geoseg.training.work_folder import MeasuredQuality, TrainedNetwork, find_trained


def train_one_fold(
    data: TrainingData, output: Path, work: Path, progress: Progress
) -> tuple[TrainedNetwork, MeasuredQuality]:
    """Train a network, or find it finished, and measure it; where nothing validates, nothing is measured.

    Args:
        data: The ground; its split says which fold validates.
        output: What the package will be called.
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
