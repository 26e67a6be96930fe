"""``geoseg train``: a recipe to a model package."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg._version import __version__
from geoseg.errors import OutputError, SettingsError
from geoseg.models.card import ModelCard
from geoseg.run.outputs import check_outputs
from geoseg.run.progress import Progress, Silent
from geoseg.training.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from geoseg.training.module import Epoch, TrainingModule
    from geoseg.training.prepare import Prepared
    from geoseg.training.transfer import StartedNetwork

PathLike = str | os.PathLike[str]
EXTRA = ("lightning", "matplotlib", "tensorboard", "torchvision")
RECIPE_FILE, FINGERPRINT, DETAILS = "recipe.toml", "fingerprint.txt", "training"


@dataclass(frozen=True)
class TrainResult:
    """What a training run made.

    Attributes:
        model: The model package.
        metrics: Its scores on the ground that validated.
        history: Every epoch, oldest first; empty where the run had been finished before.
    """

    model: Path
    metrics: Mapping[str, Any]
    history: tuple[Epoch, ...] = field(default=(), repr=False)


def train(
    recipe: PathLike,
    output: PathLike | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a network as a recipe says, and write a model package.

    Args:
        recipe: TOML file; ``geoseg train --example`` prints one with every setting.
        output: Folder of the model package; default the recipe's name in the current folder.
        resume: Continue a run that was interrupted, from its last finished epoch; the weights become those of
            a run that was not. Starts where there is nothing to continue.
        overwrite: Replace a finished package and unfinished work.
        progress: Shows how far the run is.

    Returns:
        The package and its scores.

    Raises:
        InputError: If the recipe or what it names is wrong; nothing was written.
        RunError: If the run failed.
    """
    progress = progress or Silent()
    loaded = load_recipe(recipe)
    check_extra()
    folder = Path(output) if output is not None else Path(loaded.name)
    work = folder.with_name(f"{folder.name}.geoseg-work")
    from geoseg.training.prepare import prepare_training

    mark = fingerprint(loaded)
    if _is_finished(folder, work, mark, resume=resume, overwrite=overwrite):
        from geoseg.models import load_card

        progress.say(f"{folder} is finished already")
        return TrainResult(folder, load_card(folder).metrics)
    progress.say("reading labels and scenes")
    return _run(prepare_training(loaded), folder, work, mark, progress)


def preview(recipe: PathLike, output: PathLike, *, overwrite: bool = False) -> Path:
    """Write a contact sheet of augmented training chips with their labels.

    Args:
        recipe: TOML file.
        output: The PNG.
        overwrite: Replace it if it is there.

    Returns:
        Its path.

    Raises:
        InputError: If the recipe or what it names is wrong.
    """
    loaded = load_recipe(recipe)
    check_extra()
    check_outputs({"--preview": Path(output)}, [], endings={"--preview": (".png",)}, overwrite=overwrite)
    from geoseg.training.prepare import prepare_training
    from geoseg.training.preview import write_preview

    return write_preview(output, prepare_training(loaded).training, loaded.classes)


def check_extra() -> None:
    """Refuse to start without the packages that only training needs.

    Raises:
        SettingsError: Naming them and how to get them.
    """
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(f"geoseg train needs {', '.join(missing)}: pip install 'geoseg[train]'")


def fingerprint(recipe: Recipe) -> str:
    """What a run can only be resumed with: the settings, and the files as they are."""
    lines = [__version__, recipe.settings()]
    for name in sorted({file for files in (*recipe.scenes, recipe.labels) for file in files}):
        if os.path.exists(name):
            status = os.stat(name)
            lines.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _is_finished(folder: Path, work: Path, mark: str, *, resume: bool, overwrite: bool) -> bool:
    """Whether the package is there already; refuses whatever a flag would have to allow."""
    if not folder.parent.is_dir():
        raise OutputError(f"-o {folder}: there is no folder {folder.parent}; make it first")
    if overwrite:
        shutil.rmtree(work, ignore_errors=True)
        return False
    if folder.exists():
        if resume and _mark_of(folder / DETAILS) == mark:
            return True
        raise OutputError(f"-o {folder} exists; --overwrite replaces it")
    if work.exists():
        if not resume:
            raise OutputError(
                f"{work} holds unfinished work: --resume continues it, --overwrite starts again (make "
                "sure that no other run is writing there)"
            )
        if _mark_of(work) != mark:
            raise OutputError(
                f"{work} was begun with other settings, files or another version; --overwrite starts again"
            )
    return False


def _mark_of(folder: Path) -> str | None:
    path = folder / FINGERPRINT
    return path.read_text().strip() if path.is_file() else None


def _begin(work: Path, mark: str, recipe: Recipe) -> None:
    work.mkdir(exist_ok=True)
    shutil.copyfile(recipe.path, work / RECIPE_FILE)
    (work / FINGERPRINT).write_text(mark + "\n")


def _run(prepared: Prepared, folder: Path, work: Path, mark: str, progress: Progress) -> TrainResult:
    from geoseg.inference.torch_backend import resolve_device, resolve_precision
    from geoseg.training.assemble import assemble, describe_ground
    from geoseg.training.curves import PNG_FILE, draw_curves, write_history
    from geoseg.training.fit import BEST_WEIGHTS, LAST_CHECKPOINT, LAST_WEIGHTS, fit
    from geoseg.training.module import save_weights
    from geoseg.training.split_files import write_split

    recipe = prepared.recipe
    names = [one.name for one in recipe.classes]
    device = resolve_device(recipe.run.device)
    started, module, data = assemble(prepared, work / BEST_WEIGHTS, device)
    _begin(work, mark, recipe)
    for note in (*describe_ground(prepared), *started.notes):
        progress.say(note)
    write_split(work, prepared.split, prepared.grounds, recipe.classes, prepared.every, prepared.cells)
    batches = prepared.steps * recipe.run.accumulate * recipe.run.epochs
    with progress.stage("training", batches, "batches") as bar:
        history, per_class = fit(
            module,
            data,
            work,
            recipe.run,
            device=device,
            precision=resolve_precision(recipe.run.precision, device),
            freezes=recipe.transfer.freeze_epochs > 0,
            reporter=_reporter(recipe, progress, bar, work, names),
        )
    write_history(work, history, per_class, names)
    draw_curves(work / PNG_FILE, history)
    save_weights(started.network, work / LAST_WEIGHTS)
    card = _finish_card(prepared, started, history, per_class, work / BEST_WEIGHTS, device)
    (work / LAST_CHECKPOINT).unlink()
    (work / BEST_WEIGHTS).unlink()  # the package has them
    _publish(card, started, prepared, folder, work)
    return TrainResult(folder, card.metrics, tuple(history))


def _reporter(recipe: Recipe, progress: Progress, bar: Any, work: Path, names: list[str]) -> Any:
    from geoseg.training.curves import PNG_FILE, draw_curves, write_history
    from geoseg.training.fit import Reporter

    def on_epoch(module: TrainingModule) -> None:
        entry = module.history[-1]
        write_history(work, module.history, module.per_class, names)
        draw_curves(work / PNG_FILE, module.history)
        progress.say(
            f"epoch {entry.epoch + 1}/{recipe.run.epochs}: loss {entry.train_loss:.3f}, validation loss "
            f"{entry.val_loss:.3f}, accuracy {entry.accuracy:.3f}, mIoU {entry.miou:.3f}, "
            f"{entry.waiting:.0%} of {entry.seconds:.0f} s waiting for chips"
        )

    if recipe.run.devices > 1:  # goes to other processes
        return Reporter(_nothing, _nothing)
    return Reporter(lambda: bar.advance(1), on_epoch)


def _nothing(*_: Any) -> None:
    """Say nothing."""


def _finish_card(
    prepared: Prepared,
    started: StartedNetwork,
    history: list[Epoch],
    per_class: list[list[float]],
    weights: Path,
    device: str,
) -> ModelCard:
    """Load the best weights, fit their temperature, and write down what the model is."""
    from geoseg.models.weights import load_weights
    from geoseg.training.calibrate import temperature_of
    from geoseg.training.cards import make_card

    load_weights(started.network, weights.read_bytes(), str(weights))
    temperatures = {}
    if prepared.recipe.run.calibrate:
        temperatures = {"none": temperature_of(started.network, prepared.validation, device)}
    return make_card(prepared, started, history, per_class, temperatures)


def _publish(card: ModelCard, started: StartedNetwork, prepared: Prepared, folder: Path, work: Path) -> None:
    """Write the package beside its final place, put the run's details into it, and give it its name."""
    from geoseg.models import save_model

    staged = work / "package"
    save_model(staged, card, started.network.cpu().eval(), precision=prepared.recipe.model.precision)
    details = staged / DETAILS
    details.mkdir()
    for entry in sorted(work.iterdir()):
        if entry != staged:
            entry.rename(details / entry.name)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(staged, folder)
    work.rmdir()
