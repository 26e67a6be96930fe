"""``geoseg train``: from a recipe to a model package."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg._version import __version__
from geoseg.errors import InputError, Interrupted, OutputError, SettingsError
from geoseg.files import exists, write_file, write_json
from geoseg.models.sources import MLM_FILE
from geoseg.plan.outputs import WORK_ENDING, check_name, check_outputs
from geoseg.progress import Progress, Silent
from geoseg.redaction import redacted
from geoseg.scene.identity import file_states
from geoseg.training.recipe.recipe import Recipe, check_cross_validation, load_recipe
from geoseg.training.work_folder import DETAILS, EPOCHS, STAGED, publish, write_card

if TYPE_CHECKING:
    from geoseg.training.network.history import Epoch

PathLike = str | os.PathLike[str]
EXTRA = ("lightning", "tensorboard", "torchvision")
RECIPE_FILE, FINGERPRINT, CHECK_FILE = "recipe.toml", "fingerprint.txt", "check.json"
_SHORT = 16


@dataclass(frozen=True)
class TrainResult:
    """What a training run made.

    Attributes:
        model: The model package; the work folder, where folds are still to be trained.
        metrics: What its card says of its scores.
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
    cross_validate: bool = False,
    folds: Sequence[int] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a network as a recipe says, and write a model package.

    Args:
        recipe: TOML file; ``geoseg train --example`` prints one with every setting.

        **Outputs**
        output: Folder of the model package; default the recipe's name in the current folder.
        resume: Continue a run that was interrupted, from its last finished epoch; the weights become those of
            a run that was not. Starts where there is nothing to continue.
        overwrite: Replace a finished package and unfinished work.

        **Cross-validation**
        cross_validate: Train a network for every fold, score what each says of the ground that it has not
            seen, then train the network of the package on all labelled ground.
        folds: With ``cross_validate``, train only these folds now; once all are trained the run goes on.

        **Run**
        force: Go on although much of the labels is left out.
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
    if cross_validate:
        check_cross_validation(loaded)
        loaded = replace(loaded, run=replace(loaded.run, keep="last"))
    elif folds is not None:
        raise SettingsError("--folds is for --cross-validate; [split] fold says which fold validates without")
    folder = Path(output or loaded.name)
    if not folder.name or folder.name == "..":
        folder = Path(os.path.realpath(folder))
    work = folder.with_name(folder.name + WORK_ENDING)
    mark = fingerprint(loaded, cross_validate=cross_validate)
    if overwrite:
        _check_inputs_stay(folder, loaded)
    if _is_finished(folder, work, mark, resume=resume, overwrite=overwrite):
        from geoseg.models.package import load_card

        progress.say(f"{folder} is finished already")
        return TrainResult(folder, load_card(folder).metrics)
    # Torch and Lightning are imported here, where the command line and the recipe are known to be right.
    from geoseg.training.cross_validation import check_folds, train_every_fold, train_one_fold
    from geoseg.training.label_check.check import examine_labels
    from geoseg.training.prepare import open_training_data

    progress.say("reading labels and scenes")
    check: dict[str, Any] | None = None
    if not (work / CHECK_FILE).is_file():  # an interrupted run was checked when it began
        examined = examine_labels(loaded, Silent())
        check = examined.to_json() | {"left_out": examined.settle(progress, force=force)}
    data = open_training_data(loaded)
    wanted = check_folds(data, folds) if cross_validate else ()
    with _begun(work, mark, loaded):
        if check is not None:
            write_json(work / CHECK_FILE, check)
        if cross_validate:
            done = train_every_fold(data, wanted, folder, work, progress)
        else:
            done = train_one_fold(data, folder, work, progress)
        if done is None:  # folds are still to be trained
            return TrainResult(work, {})
        trained, quality = done
        write_card(trained.package, work / STAGED, loaded.model.precision, quality)
        publish(work, folder)
    return TrainResult(folder, quality.metrics, trained.history)


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
    check_outputs(
        {"--preview": Path(output)}, loaded.inputs(), endings={"--preview": (".png",)}, overwrite=overwrite
    )
    from geoseg.training.chips.preview import write_preview
    from geoseg.training.prepare import prepare_fold

    return write_preview(output, prepare_fold(loaded).training, loaded.classes)


def check_extra() -> None:
    """Refuse to start without the packages that only training needs.

    Raises:
        SettingsError: Naming them and how to get them.
    """
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(f"geoseg train needs {', '.join(missing)}: pip install 'geoseg[train]'")


def fingerprint(recipe: Recipe, *, cross_validate: bool = False) -> dict[str, str]:
    """Give what a run can only be resumed with, by name: the version, the settings, and what files hold."""
    # A signed address has another signature every day.
    settings = (redacted(line).partition(" = ") for line in recipe.settings().splitlines())
    found = {name: hashlib.sha256(value.encode()).hexdigest()[:_SHORT] for name, _, value in settings}
    files = (file for files in (*recipe.scenes, recipe.labels) for file in files)
    return (
        {"geoseg": __version__, "--cross-validate": str(cross_validate)}
        | {f"[{name}]": value for name, value in found.items()}
        | file_states(files)
    )


def _is_finished(folder: Path, work: Path, mark: Mapping[str, str], *, resume: bool, overwrite: bool) -> bool:
    """Say whether the package is there already; refuse what an option would have to allow."""
    check_name("-o", folder)
    if exists(folder) and not (folder / MLM_FILE).is_file() and not _is_empty(folder):
        raise OutputError(f"-o {folder} is no model package, so it is not replaced; name another folder")
    if overwrite:
        shutil.rmtree(work, ignore_errors=True)
        return False
    if folder.exists():
        if resume and not _differing(folder / DETAILS, mark):
            shutil.rmtree(work, ignore_errors=True)
            return True
        raise OutputError(f"-o {folder} exists; --overwrite replaces it")
    if work.exists():
        if not resume:
            raise OutputError(
                f"{work} holds unfinished work: --resume continues it, --overwrite starts again (make "
                "sure that no other run is writing there)"
            )
        if found := _differing(work, mark):
            raise OutputError(
                f"{work} was begun with other {', '.join(found)}; run as it was begun to continue, or "
                "--overwrite starts again"
            )
    return False


def _check_inputs_stay(folder: Path, recipe: Recipe) -> None:
    """Refuse to replace a folder that holds files that the run reads."""
    for name in recipe.inputs():
        if exists(folder) and Path(os.path.realpath(name)).is_relative_to(os.path.realpath(folder)):
            raise OutputError(f"-o {folder} holds {name}, which is read; give another folder")


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _differing(folder: Path, mark: Mapping[str, str]) -> list[str]:
    """Name what a run in a folder was begun with that is different now."""
    path = folder / FINGERPRINT
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    old = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return [name for name in dict.fromkeys((*mark, *old)) if old.get(name) != mark.get(name)]


@contextmanager
def _begun(work: Path, mark: Mapping[str, str], recipe: Recipe) -> Iterator[None]:
    """Make the work folder; if the input proves wrong before an epoch is done, it is gone again.

    Any other end that leaves it says how to go on.
    """
    is_new = not work.exists()
    work.mkdir(exist_ok=True)
    # It goes into the package, and so to others.
    write_file(work / RECIPE_FILE, redacted(recipe.path.read_text(encoding="utf-8")))
    write_file(work / FINGERPRINT, "".join(f"{name} = {value}\n" for name, value in mark.items()))
    try:
        yield
    except InputError:
        if is_new and not any(any(work.rglob(name)) for name in (EPOCHS, "*.ckpt")):
            shutil.rmtree(work)
        raise
    except KeyboardInterrupt as error:
        raise Interrupted(_kept(work)) from error
    except Exception as error:
        error.add_note(_kept(work))
        raise


def _kept(work: Path) -> str:
    return f"{work} keeps what was learnt; --resume continues after the last finished epoch"
