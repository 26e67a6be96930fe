"""The training loop: Lightning's Trainer with its checkpoints, logs and early stopping."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from geoseg.progress import Bar
from geoseg.training.chips.loading import ChipDataModule
from geoseg.training.network.history import Epoch
from geoseg.training.network.module import SCORE, TrainingModule
from geoseg.training.recipe.settings import RunSettings

LAST_CHECKPOINT, KEPT_WEIGHTS, LAST_WEIGHTS, LOGS = (
    "last.ckpt",
    "kept.safetensors",
    "last.safetensors",
    "logs",
)
_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class ProgressCallback(Callback):  # type: ignore[misc]
    """Shows the progress of a run.

    Args:
        bar: Shows how many batches are done.
        on_epoch: Called after every epoch and its validation; None for nothing.
    """

    def __init__(self, bar: Bar, on_epoch: Callable[[TrainingModule], None] | None) -> None:
        self.bar, self.on_epoch = bar, on_epoch

    def on_train_batch_end(self, *_: Any) -> None:
        """Show that a batch is done."""
        self.bar.advance(1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: TrainingModule) -> None:
        """Report an epoch, in the first process only."""
        if trainer.is_global_zero and self.on_epoch is not None:
            self.on_epoch(pl_module)


def fit(
    module: TrainingModule,
    data: ChipDataModule,
    folder: Path,
    settings: RunSettings,
    *,
    device: str,
    precision: str,
    freezes: bool,
    validates: bool,
    callback: ProgressCallback,
) -> tuple[list[Epoch], list[list[float]]]:
    """Train, from the last checkpoint in the folder if there is one.

    Only a checkpoint that this run wrote into its own folder is read, as plain tensors and numbers without
    any code.

    Args:
        module: What is trained.
        data: Its batches.
        folder: For checkpoints, logs and weights.
        settings: The recipe's ``[run]`` table.
        device: "cpu", "cuda:0" or "mps".
        precision: "fp32", "bf16" or "fp16".
        freezes: Whether some weights get no gradient in the first epochs.
        validates: Whether there are chips to validate on after each epoch.
        callback: Shows the progress; with several devices it must be picklable.

    Returns:
        All epochs, those before an interruption included, and the IoU of every class after each.

    Raises:
        KeyboardInterrupt: If the run was interrupted; it can be resumed.
    """
    last = folder / LAST_CHECKPOINT
    with _quiet_lightning():
        trainer = _make_trainer(
            folder, settings, device, precision, callback, freezes=freezes, validates=validates
        )
        try:
            trainer.fit(module, data, ckpt_path=str(last) if last.exists() else None, weights_only=True)
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from error
    kept = torch.load(last, weights_only=True, map_location="cpu")["geoseg"]
    return [Epoch(**entry) for entry in kept["history"]], kept["per_class"]


def _make_trainer(
    folder: Path,
    settings: RunSettings,
    device: str,
    precision: str,
    callback: ProgressCallback,
    *,
    freezes: bool,
    validates: bool,
) -> Trainer:
    callbacks: list[Callback] = [
        callback,
        ModelCheckpoint(
            dirpath=folder,
            filename=Path(LAST_CHECKPOINT).stem,
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
    ]
    if settings.stop_after is not None:
        callbacks.append(EarlyStopping(SCORE, mode="max", patience=settings.stop_after))
    kind, _, index = device.partition(":")
    return Trainer(
        accelerator={"cuda": "gpu"}.get(kind, kind),
        devices=[int(index)] if index and settings.devices == 1 else settings.devices,
        strategy=_strategy(settings.devices, freezes),
        precision=_PRECISIONS[precision],
        benchmark=kind == "cuda",  # every batch has one shape
        sync_batchnorm=settings.devices > 1 and kind == "cuda",
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip or None,
        callbacks=callbacks,
        logger=TensorBoardLogger(folder, name=LOGS, version=""),
        default_root_dir=folder,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if validates else 0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10,
    )


def _strategy(devices: int, freezes: bool) -> str:
    """Choose DDP in spawned processes, which works from the command line and from Python alike."""
    if devices == 1:
        return "auto"
    return "ddp_spawn_find_unused_parameters_true" if freezes else "ddp_spawn"


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Run Lightning without its advertising, and without warnings about what is on purpose."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for part in ("num_workers", "does not have many workers", "Checkpoint directory",
                         "log_every_n_steps", "sync_dist", "isinstance.treespec, LeafSpec",
                         "find_unused_parameters"):  # fmt: skip
                warnings.filterwarnings("ignore", message=f".*{part}.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
