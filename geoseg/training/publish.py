"""From a finished work folder to a model package. The work folder is whole until the package has its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.files import remove_folder
from geoseg.training.network.train_network import EPOCHS, PACKAGE

STAGED, DETAILS, FINAL, MEASURED = "package", "training", "final", "measured.json"
_LEFT_BEHIND = shutil.ignore_patterns(PACKAGE, STAGED, FINAL, EPOCHS, MEASURED, "*.ckpt", "kept.*", ".*")


def write_card(
    package: Path,
    target: Path,
    precision: str,
    temperatures: Mapping[str, float],
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Write a package with what has been found out about its model.

    Args:
        package: As it was trained; it stays as it is.
        target: The new package, replaced if it is there.
        precision: Of the stored weights.
        temperatures: By test-time augmentation.
        metrics: For the card.
    """
    from geoseg.models import load_model, save_model

    model = load_model(package)
    card = replace(model.card, temperatures=temperatures, metrics=metrics or {})
    save_model(target, card, model.network, precision=precision)


def publish(work: Path, folder: Path) -> None:
    """Put the run's details into the staged package, and give it its name.

    Args:
        work: The work folder, with the package in ``STAGED``; gone afterwards.
        folder: The package's name; replaced if it is there.
    """
    staged, details = work / STAGED, work / STAGED / DETAILS
    shutil.rmtree(details, ignore_errors=True)
    shutil.copytree(work, details, ignore=_LEFT_BEHIND)
    if (work / FINAL).is_dir():  # the last network of a cross-validation
        shutil.copytree(work / FINAL, details, ignore=_LEFT_BEHIND, dirs_exist_ok=True)
        for weights in (details / "folds").glob("*/*.safetensors"):
            weights.unlink()
    remove_folder(folder)
    os.replace(staged, folder)
    shutil.rmtree(work)
