"""The work folder of a training run: its files, and how it becomes a model package.

It stays complete until the package has its final name, so that a run can be resumed. Each network is trained
in a folder: the work folder itself, or with cross-validation ``folds/0``, ``folds/1`` ... and ``final``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from geoseg.files import remove_folder, write_file
from geoseg.training.network.history import Epoch

PACKAGE, EPOCHS = "model", "epochs.json"
"""Package and history of one network; the history is written when its training is finished."""
FOLDS, FINAL, MEASURED = "folds", "final", "measured.json"
STAGED, DETAILS = "package", "training"
_LEFT_BEHIND = shutil.ignore_patterns(PACKAGE, STAGED, FINAL, EPOCHS, MEASURED, "*.ckpt", "kept.*", ".*")


@dataclass(frozen=True)
class TrainedNetwork:
    """A network whose training is finished.

    Attributes:
        package: Its model package, whose card has no scores yet.
        history: Every epoch, oldest first.
    """

    package: Path
    history: tuple[Epoch, ...] = field(repr=False)


@dataclass(frozen=True)
class MeasuredQuality:
    """Temperatures and scores of a network on held-out regions, for its card.

    Attributes:
        temperatures: Temperature by test-time augmentation.
        metrics: Scores, and how they were measured.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


def mark_finished(folder: Path, history: Sequence[Epoch]) -> TrainedNetwork:
    """Mark the training in a network's folder as finished."""
    write_file(folder / EPOCHS, json.dumps([asdict(entry) for entry in history]))
    return TrainedNetwork(folder / PACKAGE, tuple(history))


def find_trained(folder: Path) -> TrainedNetwork | None:
    """Find the network that was trained in a folder; None where its training is not finished."""
    marker = folder / EPOCHS
    if not marker.is_file():
        return None
    epochs = json.loads(marker.read_text(encoding="utf-8"))
    return TrainedNetwork(folder / PACKAGE, tuple(Epoch(**entry) for entry in epochs))


def write_card(package: Path, target: Path, precision: str, quality: MeasuredQuality) -> None:
    """Write a copy of a package with the measured quality on its card.

    Args:
        package: The package as it was trained.
        target: The new package; replaced if it exists.
        precision: Precision of the stored weights.
        quality: The measured quality.
    """
    from geoseg.models.package import load_model, save_model

    model = load_model(package)
    card = replace(model.card, temperatures=quality.temperatures, metrics=quality.metrics)
    save_model(target, card, model.network, precision=precision)


def publish(work: Path, folder: Path) -> None:
    """Copy the run's details into the staged package, and move it to its final name.

    Args:
        work: The work folder, with the package in ``STAGED``; removed afterwards.
        folder: The final name; replaced if it exists.
    """
    staged, details = work / STAGED, work / STAGED / DETAILS
    shutil.rmtree(details, ignore_errors=True)
    shutil.copytree(work, details, ignore=_LEFT_BEHIND)
    if (work / FINAL).is_dir():  # the last network of a cross-validation
        shutil.copytree(work / FINAL, details, ignore=_LEFT_BEHIND, dirs_exist_ok=True)
        for weights in (details / FOLDS).glob("*/*.safetensors"):
            weights.unlink()
    remove_folder(folder)
    os.replace(staged, folder)
    shutil.rmtree(work)
