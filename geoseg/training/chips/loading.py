"""Batches for the training run; their content depends on epoch and step, not on the number of workers."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from geoseg.inference.backends import BACKENDS, backend_kind
from geoseg.training.chips.chips import TrainingChips, ValidationChips


class EpochSampler:
    """Numbers of the chips that this process trains on in an epoch.

    Lightning calls ``set_epoch`` before every epoch, also after resuming.

    Args:
        per_epoch: Chips an epoch, over all processes.
        rank: Rank of this process.
        world: Number of processes.
    """

    def __init__(self, per_epoch: int, rank: int = 0, world: int = 1) -> None:
        self.per_epoch, self.rank, self.world, self.epoch = per_epoch, rank, world, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch // self.world

    def __iter__(self) -> Iterator[int]:
        start = self.epoch * self.per_epoch
        return iter(range(start + self.rank, start + len(self) * self.world, self.world))


class _AsDataset(Dataset):  # type: ignore[misc]
    """Chips as a torch dataset."""

    def __init__(self, chips: TrainingChips | ValidationChips) -> None:
        self.chips = chips

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        values, labels = self.chips[number]
        return torch.from_numpy(values), torch.from_numpy(labels)


class ChipDataModule(LightningDataModule):  # type: ignore[misc]
    """The batches of a run.

    Args:
        training: Endless training chips.
        validation: All validation chips.
        batch_size: Chips a batch.
        per_epoch: Training chips an epoch, a multiple of the batch.
        workers: Processes that read; 0 reads in the training process.
    """

    def __init__(
        self,
        training: TrainingChips,
        validation: ValidationChips,
        *,
        batch_size: int,
        per_epoch: int,
        workers: int,
    ) -> None:
        super().__init__()
        self.training, self.validation = training, validation
        self.batch_size, self.per_epoch, self.workers = batch_size, per_epoch, workers

    def train_dataloader(self) -> DataLoader:
        """Make the training batches of this process."""
        sampler = EpochSampler(self.per_epoch, *self._ranks())
        if self.trainer is not None:
            # After resuming, workers get their first numbers before Lightning knows the epoch.
            steps = len(sampler) // (self.batch_size * self.trainer.accumulate_grad_batches)
            sampler.set_epoch(self.trainer.global_step // steps)
        return self._loader(self.training, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Make the validation batches of this process; all processes together see every chip once."""
        rank, world = self._ranks()
        numbers = range(rank, len(self.validation), world)
        return self._loader(self.validation, numbers, drop_last=False)

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _loader(self, chips: Any, numbers: Any, *, drop_last: bool) -> DataLoader:
        return DataLoader(
            _AsDataset(chips),
            batch_size=self.batch_size,
            sampler=numbers,
            drop_last=drop_last,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
            prefetch_factor=4 if self.workers else None,
            multiprocessing_context=_start_method() if self.workers else None,
        )


def _start_method() -> str:
    """Choose how reading processes start: by fork, or by forkserver where a runtime has started threads."""
    runtimes = {kind.package for kind in map(backend_kind, BACKENDS) if kind.formats} | {"nncf"}
    has_threads = not runtimes.isdisjoint(sys.modules)
    methods = multiprocessing.get_all_start_methods()
    wanted = "forkserver" if has_threads else "fork"
    if wanted not in methods:
        return "spawn"
    if wanted == "forkserver":
        # The server imports torch once for all readers; else each takes seconds to start.
        multiprocessing.set_forkserver_preload([__name__])
    return wanted
