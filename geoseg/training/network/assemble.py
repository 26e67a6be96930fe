"""From prepared ground to what Lightning trains: the network, its module, its batches."""

from __future__ import annotations

from pathlib import Path

import torch

from geoseg.errors import SettingsError
from geoseg.models import check_chip_size, size_divisor
from geoseg.system.cpu import cores
from geoseg.training.chips.loading import ChipData
from geoseg.training.network.losses.combine import build_loss
from geoseg.training.network.module import TrainingModule
from geoseg.training.network.schedules import Schedule
from geoseg.training.network.transfer import StartedNetwork, start_network
from geoseg.training.prepare import Prepared
from geoseg.training.recipe.recipe import Recipe


def assemble(prepared: Prepared, kept: Path, device: str) -> tuple[StartedNetwork, TrainingModule, ChipData]:
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
        Schedule(recipe.schedule, recipe.run.epochs * prepared.steps),
        recipe.run,
        recipe.transfer,
        seed=recipe.seed,
        kept=kept,
    )
    data = ChipData(
        prepared.training,
        prepared.validation,
        batch_size=recipe.chips.batch_size,
        per_epoch=prepared.per_epoch,
        workers=_workers(recipe, device),
    )
    return started, module, data


def describe_ground(prepared: Prepared) -> tuple[str, ...]:
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
