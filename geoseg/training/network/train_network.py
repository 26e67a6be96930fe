"""Train one network in a work folder and make a model package of it."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from geoseg.errors import SettingsError
from geoseg.inference.backends.device import resolve_device, resolve_precision
from geoseg.models.networks import check_chip_size, size_divisor
from geoseg.models.package import save_model
from geoseg.models.weights import load_weights
from geoseg.progress import Bar, Progress, Silent
from geoseg.system.cpu import cores
from geoseg.training.cards import make_card
from geoseg.training.chips.loading import ChipDataModule
from geoseg.training.network.fit import KEPT_WEIGHTS, LAST_CHECKPOINT, LAST_WEIGHTS, ProgressCallback, fit
from geoseg.training.network.history import PNG_FILE, Epoch, draw_curves, write_history
from geoseg.training.network.losses import build_loss
from geoseg.training.network.module import TrainingModule, save_weights
from geoseg.training.network.schedules import RateSchedule
from geoseg.training.network.transfer import StartedNetwork, start_network
from geoseg.training.prepare import FoldData
from geoseg.training.recipe.recipe import Recipe
from geoseg.training.work_folder import PACKAGE, TrainedNetwork, mark_finished

_WORTH_DRAWING = 5.0
"""Seconds of an epoch after which the curves are drawn."""


def train_network(data: FoldData, folder: Path, progress: Progress, *, title: str) -> TrainedNetwork:
    """Train a network, from its last finished epoch if there is one, and make a model package of it.

    Args:
        data: The data to train and validate on.
        folder: For checkpoints, logs, curves and the package; made if it does not exist.
        progress: Shows how far the run is.
        title: Name of the progress stage.

    Raises:
        InputError: If the network cannot be built, or does not take chips of this size.
        RunError: If training failed.
    """
    recipe = data.recipe
    device = resolve_device(recipe.run.device)
    kept = folder / KEPT_WEIGHTS
    started, module, batches = assemble(data, kept, device)
    folder.mkdir(parents=True, exist_ok=True)
    for note in (*_describe(data), *started.notes):
        progress.say(note)
    with progress.stage(title, data.steps * recipe.run.accumulate * recipe.run.epochs, "batches") as bar:
        history, per_class = fit(
            module,
            batches,
            folder,
            recipe.run,
            device=device,
            precision=resolve_precision(recipe.run.precision, device),
            freezes=recipe.transfer.freeze_epochs > 0,
            validates=len(data.validation) > 0,
            callback=_progress_callback(recipe, progress, bar, folder),
        )
    _write_curves(folder, recipe, history, per_class)
    save_weights(started.network, folder / LAST_WEIGHTS)
    load_weights(started.network, kept.read_bytes(), str(kept))
    network = started.network.cpu().eval()
    save_model(folder / PACKAGE, make_card(data, started), network, precision=recipe.model.precision)
    trained = mark_finished(folder, history)
    (folder / LAST_CHECKPOINT).unlink()
    kept.unlink()  # the package has them
    return trained


def assemble(
    data: FoldData, kept: Path, device: str
) -> tuple[StartedNetwork, TrainingModule, ChipDataModule]:
    """Build everything that Lightning trains, the same for the same recipe.

    Args:
        data: The data to train and validate on.
        kept: File for the weights that are kept.
        device: The device to train on.

    Raises:
        ModelError: If the network cannot be built.
        SettingsError: If the network does not take chips of this size.
    """
    recipe = data.recipe
    torch.manual_seed(recipe.seed)
    started = start_network(
        recipe.model,
        recipe.transfer,
        [band.name for band in data.bands],
        [land_class.name for land_class in recipe.classes],
    )
    divisor = size_divisor(started.network)
    if data.chip_size % divisor:
        raise SettingsError(
            f"{recipe.path}: [chips] size is {data.chip_size}; {started.architecture} takes multiples of "
            f"{divisor}"
        )
    check_chip_size(started.network, data.chip_size)
    weights = data.class_weights()
    module = TrainingModule(
        started.network,
        build_loss(recipe.loss, None if weights is None else torch.from_numpy(weights)),
        RateSchedule(recipe.schedule, recipe.run.epochs * data.steps),
        recipe.run,
        recipe.transfer,
        seed=recipe.seed,
        kept=kept,
    )
    batches = ChipDataModule(
        data.training,
        data.validation,
        batch_size=recipe.chips.batch_size,
        per_epoch=data.per_epoch,
        workers=_workers(recipe, device),
    )
    return started, module, batches


def _workers(recipe: Recipe, device: str) -> int:
    """Choose the number of reading processes: one when the CPU computes, up to eight with a GPU."""
    if recipe.chips.workers is not None:
        return recipe.chips.workers
    return 1 if device == "cpu" else max(1, min(8, cores() - 1))


def _describe(data: FoldData) -> tuple[str, ...]:
    """Describe what trains and what validates."""
    split = data.split
    train, every = (sum(int(one.classes.sum()) for one in cells) for cells in (data.cells, data.all_cells))
    chips = f"{data.per_epoch} chips of {data.chip_size} pixels an epoch"
    if split.fold is None:
        return (f"all {train} labelled pixels train, and nothing validates", chips)
    buffers = ", ".join(str(buffer) for buffer in sorted(set(split.buffers)))
    return (
        f"{train} of {every} labelled pixels train; {len(split.validation)} of {len(split.regions)} "
        f"{split.method} validate (fold {split.fold}), with a buffer of {buffers} pixels around them",
        f"{chips}, {len(data.validation)} to validate",
    )


def _progress_callback(recipe: Recipe, progress: Progress, bar: Bar, folder: Path) -> ProgressCallback:
    if recipe.run.devices > 1:  # the callback is sent to other processes, which cannot reach this bar
        return ProgressCallback(Silent(), None)

    def on_epoch(module: TrainingModule) -> None:
        # A picture takes half a second: where epochs take little more, the one at the end is enough.
        draw = module.history[-1].seconds > _WORTH_DRAWING
        _write_curves(folder, recipe, module.history, module.per_class, draw=draw)
        progress.say(_describe_epoch(module.history[-1], recipe.run.epochs))

    return ProgressCallback(bar, on_epoch)


def _write_curves(
    folder: Path, recipe: Recipe, history: list[Epoch], per_class: list[list[float]], *, draw: bool = True
) -> None:
    write_history(folder, history, per_class, [land_class.name for land_class in recipe.classes])
    if draw:
        draw_curves(folder / PNG_FILE, history, recipe.run.keep)


def _describe_epoch(epoch: Epoch, epochs: int) -> str:
    scores = ""
    if not math.isnan(epoch.miou):  # NaN where nothing validates
        scores = (
            f", validation loss {epoch.val_loss:.3f}, accuracy {epoch.accuracy:.3f}, mIoU {epoch.miou:.3f}"
        )
    return (
        f"epoch {epoch.epoch + 1}/{epochs}: loss {epoch.train_loss:.3f}{scores}, "
        f"{epoch.waiting:.0%} of {epoch.seconds:.0f} s waiting for chips"
    )
