"""Training one network in a work folder, from its last finished epoch if there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.files import write_file
from geoseg.progress import Progress

if TYPE_CHECKING:
    from geoseg.training.network.fit import Reporter
    from geoseg.training.network.module import Epoch, TrainingModule
    from geoseg.training.prepare import Prepared

PACKAGE, EPOCHS = "model", "epochs.json"


@dataclass(frozen=True)
class Trained:
    """A network whose training is finished.

    Attributes:
        package: Its model package, which says nothing yet of how good it is.
        history: Every epoch, oldest first.
    """

    package: Path
    history: tuple[Epoch, ...] = field(repr=False)


def finished(folder: Path) -> Trained | None:
    """The network that was trained in a folder; None where its training is not finished."""
    from geoseg.training.network.module import Epoch

    marker = folder / EPOCHS
    if not marker.is_file():
        return None
    epochs = json.loads(marker.read_text(encoding="utf-8"))
    return Trained(folder / PACKAGE, tuple(Epoch(**entry) for entry in epochs))


def train_network(prepared: Prepared, folder: Path, progress: Progress, *, title: str) -> Trained:
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
    from geoseg.training.network.assemble import assemble, describe_ground
    from geoseg.training.network.curves import PNG_FILE, draw_curves, write_history
    from geoseg.training.network.fit import KEPT_WEIGHTS, LAST_CHECKPOINT, LAST_WEIGHTS, fit
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
    return Trained(folder / PACKAGE, tuple(history))


def _mark_finished(folder: Path, history: list[Epoch]) -> None:
    write_file(folder / EPOCHS, json.dumps([asdict(entry) for entry in history]))


def _reporter(prepared: Prepared, progress: Progress, bar: Any, folder: Path) -> Reporter:
    from geoseg.training.network.curves import PNG_FILE, draw_curves, write_history
    from geoseg.training.network.fit import Reporter

    run, names = prepared.recipe.run, [one.name for one in prepared.recipe.classes]

    def on_epoch(module: TrainingModule) -> None:
        write_history(folder, module.history, module.per_class, names)
        draw_curves(folder / PNG_FILE, module.history, run.keep)
        progress.say(_in_words(module.history[-1], run.epochs))

    if run.devices > 1:  # goes to other processes
        return Reporter(_nothing, _nothing)
    advance: Callable[[], None] = lambda: bar.advance(1)  # noqa: E731
    return Reporter(advance, on_epoch)


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
