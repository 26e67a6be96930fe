"""Train one network in a work folder, from its last finished epoch if there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from geoseg.errors import SettingsError
from geoseg.models import check_chip_size, size_divisor
from geoseg.progress import Progress
from geoseg.system.cpu import cores
from geoseg.training.chips.loading import ChipDataModule
from geoseg.training.network.losses.loss import build_loss
from geoseg.training.network.module import TrainingModule
from geoseg.training.network.schedules import RateSchedule
from geoseg.training.network.transfer import StartedNetwork, start_network
from geoseg.training.prepare import FoldData
from geoseg.training.recipe.recipe import Recipe

if TYPE_CHECKING:
    from geoseg.training.network.fit import ProgressCallback
    from geoseg.training.network.module import Epoch, TrainingModule
    from geoseg.training.prepare import FoldData

PACKAGE, EPOCHS = "model", "epochs.json"


@dataclass(frozen=True)
class TrainedNetwork:
    """A network whose training is finished.

    Attributes:
        package: Its model package, which says nothing yet of how good it is.
        history: Every epoch, oldest first.
    """

    package: Path
    history: tuple[Epoch, ...] = field(repr=False)


def finished(folder: Path) -> TrainedNetwork | None:
    """The network that was trained in a folder; None where its training is not finished."""
    from geoseg.training.network.module import Epoch

    marker = folder / EPOCHS
    if not marker.is_file():
        return None
    epochs = json.loads(marker.read_text(encoding="utf-8"))
    return TrainedNetwork(folder / PACKAGE, tuple(Epoch(**entry) for entry in epochs))


def train_network(prepared: FoldData, folder: Path, progress: Progress, *, title: str) -> TrainedNetwork:
    """Train a network, and make a model package of it.

    Args:
        prepared: What it trains on.
        folder: For checkpoints, logs, curves and the package; made if need be.
        progress: Shows how far the run is.
        title: What the progress is called.

    Raises:
        InputError: If the network cannot be built, or does not take chips of this size.
        RunError: If training failed.
    """
    from geoseg.inference.backends.device import resolve_device, resolve_precision
    from geoseg.models import save_model
    from geoseg.models.weights import load_weights
    from geoseg.training.cards import make_card

    pass
    from geoseg.training.network.fit import KEPT_WEIGHTS, LAST_CHECKPOINT, LAST_WEIGHTS, fit
    from geoseg.training.network.history import PNG_FILE, draw_curves, write_history
    from geoseg.training.network.module import save_weights

    recipe = prepared.recipe
    names = [one.name for one in recipe.classes]
    device = resolve_device(recipe.run.device)
    kept = folder / KEPT_WEIGHTS
    started, module, data = assemble(prepared, kept, device)
    folder.mkdir(parents=True, exist_ok=True)
    for note in (*describe_ground(prepared), *started.notes):
        progress.say(note)
    with progress.stage(title, prepared.steps * recipe.run.accumulate * recipe.run.epochs, "batches") as bar:
        history, per_class = fit(
            module,
            data,
            folder,
            recipe.run,
            device=device,
            precision=resolve_precision(recipe.run.precision, device),
            freezes=recipe.transfer.freeze_epochs > 0,
            validates=len(prepared.validation) > 0,
            reporter=_reporter(prepared, progress, bar, folder),
        )
    write_history(folder, history, per_class, names)
    draw_curves(folder / PNG_FILE, history, recipe.run.keep)
    save_weights(started.network, folder / LAST_WEIGHTS)
    load_weights(started.network, kept.read_bytes(), str(kept))
    network = started.network.cpu().eval()
    save_model(folder / PACKAGE, make_card(prepared, started), network, precision=recipe.model.precision)
    _mark_finished(folder, history)
    (folder / LAST_CHECKPOINT).unlink()
    kept.unlink()  # the package has them
    return TrainedNetwork(folder / PACKAGE, tuple(history))


def _mark_finished(folder: Path, history: list[Epoch]) -> None:
    part = folder / f".{EPOCHS}.part"
    part.write_text(json.dumps([asdict(entry) for entry in history]), encoding="utf-8")
    part.replace(folder / EPOCHS)


def _reporter(prepared: FoldData, progress: Progress, bar: Any, folder: Path) -> ProgressCallback:
    from geoseg.training.network.fit import ProgressCallback
    from geoseg.training.network.history import PNG_FILE, draw_curves, write_history

    run, names = prepared.recipe.run, [one.name for one in prepared.recipe.classes]

    def on_epoch(module: TrainingModule) -> None:
        write_history(folder, module.history, module.per_class, names)
        draw_curves(folder / PNG_FILE, module.history, run.keep)
        progress.say(_in_words(module.history[-1], run.epochs))

    if run.devices > 1:  # goes to other processes
        return ProgressCallback(_nothing, _nothing)
    advance: Callable[[], None] = lambda: bar.advance(1)  # noqa: E731
    return ProgressCallback(advance, on_epoch)


def _in_words(epoch: Epoch, epochs: int) -> str:
    scores = ""
    if epoch.miou == epoch.miou:  # NaN where nothing validates
        scores = (
            f", validation loss {epoch.val_loss:.3f}, accuracy {epoch.accuracy:.3f}, mIoU {epoch.miou:.3f}"
        )
    return (
        f"epoch {epoch.epoch + 1}/{epochs}: loss {epoch.train_loss:.3f}{scores}, "
        f"{epoch.waiting:.0%} of {epoch.seconds:.0f} s waiting for chips"
    )


def _nothing(*_: Any) -> None:
    """Say nothing."""


def assemble(
    prepared: FoldData, kept: Path, device: str
) -> tuple[StartedNetwork, TrainingModule, ChipDataModule]:
    """Build everything that a run needs, the same for the same recipe.

    Args:
        prepared: The ground.
        kept: Where the weights that are kept will go.
        device: Where to train.

    Raises:
        ModelError: If the network cannot be built.
        SettingsError: If it does not take chips of this size.
    """
    recipe = prepared.recipe
    torch.manual_seed(recipe.seed)
    started = start_network(
        recipe.model,
        recipe.transfer,
        [band.name for band in prepared.bands],
        [one.name for one in recipe.classes],
    )
    divisor = size_divisor(started.network)
    if prepared.chip_size % divisor:
        raise SettingsError(
            f"{recipe.path}: [chips] size is {prepared.chip_size}; {started.architecture} takes multiples of "
            f"{divisor}"
        )
    check_chip_size(started.network, prepared.chip_size)
    weights = prepared.class_weights()
    module = TrainingModule(
        started.network,
        build_loss(recipe.loss, None if weights is None else torch.from_numpy(weights)),
        RateSchedule(recipe.schedule, recipe.run.epochs * prepared.steps),
        recipe.run,
        recipe.transfer,
        seed=recipe.seed,
        kept=kept,
    )
    data = ChipDataModule(
        prepared.training,
        prepared.validation,
        batch_size=recipe.chips.batch_size,
        per_epoch=prepared.per_epoch,
        workers=_workers(recipe, device),
    )
    return started, module, data


def describe_ground(prepared: FoldData) -> tuple[str, ...]:
    """What trains and what validates, in words."""
    split = prepared.split
    train, every = (
        sum(int(one.classes.sum()) for one in cells) for cells in (prepared.cells, prepared.every)
    )
    chips = f"{prepared.per_epoch} chips of {prepared.chip_size} pixels an epoch"
    if split.fold is None:
        return (f"all {train} labelled pixels train, and nothing validates", chips)
    buffers = ", ".join(str(buffer) for buffer in sorted(set(split.buffers)))
    return (
        f"{train} of {every} labelled pixels train; {len(split.validation)} of {len(split.regions)} "
        f"{split.method} validate (fold {split.fold}), with a buffer of {buffers} pixels around them",
        f"{chips}, {len(prepared.validation)} to validate",
    )


def _workers(recipe: Recipe, device: str) -> int:
    """One reader beside a CPU that computes; with a GPU, up to eight."""
    if recipe.chips.workers is not None:
        return recipe.chips.workers
    return 1 if device == "cpu" else max(1, min(8, cores() - 1))
