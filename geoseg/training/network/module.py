"""The Lightning module of a training run: steps, validation, learning rates, checkpoints."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from geoseg.assess.scores import score
from geoseg.classes import IGNORE
from geoseg.errors import RunError
from geoseg.files import write_file
from geoseg.training.network.averaging import AveragedWeights
from geoseg.training.network.history import Epoch, kept_epoch
from geoseg.training.network.schedules import RateSchedule
from geoseg.training.network.transfer import encoder_of
from geoseg.training.recipe.settings import RunSettings, TransferSettings

SCORE = "miou"
"""The score by which the best epoch is chosen."""


class TrainingModule(LightningModule):  # type: ignore[misc]
    """Trains a network.

    Everything random in a batch is seeded by its number, and checkpoints are written at the end of an epoch,
    so a run that was interrupted and resumed gives the same weights as one that was not.

    Args:
        network: Maps normalised chips to logits.
        loss: See ``geoseg.training.network.losses``.
        schedule: Schedule of the learning rate.
        run: The recipe's ``[run]`` table.
        transfer: The recipe's ``[transfer]`` table.
        seed: Seed of dropout.
        kept: Safetensors file for the weights that are kept: those of the best epoch, or of the last.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        schedule: RateSchedule,
        run: RunSettings,
        transfer: TransferSettings,
        *,
        seed: int,
        kept: Path,
    ) -> None:
        super().__init__()
        self.network, self.loss = network.to(memory_format=torch.channels_last), loss
        self.schedule, self.settings, self.transfer = schedule, run, transfer
        self.seed, self.kept = seed, kept
        self.averaged = None if run.average == "none" else AveragedWeights(network, run.average, run.decay)
        self.history: list[Epoch] = []
        self.per_class: list[list[float]] = []
        self._clock = _Clock()
        self._losses: list[Tensor] = []
        self._matrix = torch.zeros(0)
        self._entropy = torch.zeros(0)

    def configure_optimizers(self) -> Any:
        """Make AdamW; the encoder has its own learning rate, and biases and norms have no weight decay."""
        own = {id(parameter) for parameter in encoder_of(self.network).parameters()}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in self.parameters():
            share = self.transfer.encoder_rate if id(parameter) in own else 1.0
            decay = self.settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((share, decay), []).append(parameter)
        return torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": self.settings.rate * share,
                    "share": share,
                    "weight_decay": decay,
                }
                for (share, decay), parameters in groups.items()
            ]
        )

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Set the learning rate, do the step, and update the averaged weights."""
        factor = self.schedule.factor(self.global_step, [entry.miou for entry in self.history])
        for group in optimizer.param_groups:
            group["lr"] = self.settings.rate * group["share"] * factor
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.averaged is not None:
            self.averaged.update(self.network, self.global_step / self.schedule.steps)

    def on_fit_start(self) -> None:
        """Put the averages on the network's device."""
        if self.averaged is not None:
            state = self.averaged.state
            self.averaged.state = {name: value.to(self.device) for name, value in state.items()}

    def on_train_epoch_start(self) -> None:
        """Freeze or unfreeze the encoder, and start the clock."""
        frozen = self.current_epoch < self.transfer.freeze_epochs
        encoder = encoder_of(self.network)
        encoder.requires_grad_(not frozen)
        encoder.train(not frozen)  # frozen batch statistics too
        self._losses.clear()
        self._clock = _Clock()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """End the wait for a batch, and seed its dropout by its number."""
        self._clock.arrive()
        number = (self.current_epoch << 24) + batch_idx
        torch.manual_seed((self.seed << 40) % 2**62 + (number << 8) + self.global_rank)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Begin the wait for the next batch; end the epoch after its last batch if there is no validation."""
        self._clock.leave()
        if self.trainer.is_last_batch and not self.trainer.enable_validation:
            self._check_losses()
            self._end_epoch(math.nan, math.nan, math.nan, [])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Compute the loss of a batch."""
        logits, labels = self._forward(batch)
        loss = self.loss(logits, labels)
        self._losses.append(loss.detach())
        return loss

    def on_validation_epoch_start(self) -> None:
        """Put the averaged weights into the network, and reset the counts.

        Raises:
            RunError: If the loss is no longer a finite number.
        """
        self._check_losses()
        self._swap = self.averaged.applied(self.network) if self.averaged is not None else None
        if self._swap is not None:
            self._swap.__enter__()
        self._matrix = torch.zeros(0, dtype=torch.int64, device=self.device)
        self._entropy = torch.zeros(2, device=self.device)

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Add a batch to the confusion matrix."""
        logits, labels = self._forward(batch)
        classes, known = logits.shape[1], labels != IGNORE
        joint = labels[known] * classes + logits.argmax(dim=1)[known]
        counts = torch.bincount(joint, minlength=classes**2)
        self._matrix = counts if self._matrix.numel() == 0 else self._matrix + counts
        entropy = cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        self._entropy += torch.stack([entropy, known.sum().float()])

    def on_validation_epoch_end(self) -> None:
        """Score the epoch, keep its weights if they are the best, and restore the network's own weights."""
        if self.trainer.sanity_checking:
            return
        matrix = self.trainer.strategy.reduce(self._matrix, reduce_op="sum")
        entropy = self.trainer.strategy.reduce(self._entropy, reduce_op="sum")
        classes = round(matrix.numel() ** 0.5)
        scores = score(matrix.reshape(classes, classes).cpu().numpy())
        if self._swap is not None:
            self._swap.__exit__(None, None, None)
        self._end_epoch(
            float(entropy[0] / entropy[1].clamp(min=1)),
            float(np.nan_to_num(scores.accuracy)),
            float(np.nan_to_num(scores.miou)),
            [float(value) for value in scores.iou],
        )
        epoch = self.history[-1]
        self.log_dict(
            {"miou": epoch.miou, "accuracy": epoch.accuracy, "val_loss": epoch.val_loss}, sync_dist=True
        )

    def _check_losses(self) -> None:
        if self._losses and not bool(torch.isfinite(torch.stack(self._losses)).all()):
            raise RunError(
                f"the loss of epoch {self.current_epoch + 1} is no longer finite: lower [run] rate, lengthen "
                "[schedule] warmup, or use precision fp32"
            )

    def _end_epoch(self, val_loss: float, accuracy: float, miou: float, ious: list[float]) -> None:
        """Record the epoch, and write its weights if they are the ones to keep so far."""
        losses = torch.stack(self._losses) if self._losses else torch.zeros(1)
        epoch = Epoch(
            epoch=self.current_epoch,
            step=self.global_step,
            rate=self.optimizers().param_groups[-1]["lr"],
            train_loss=float(losses.mean()),
            val_loss=val_loss,
            accuracy=accuracy,
            miou=miou,
            waiting=self._clock.waiting_share,
            seconds=self._clock.seconds,
        )
        self.history.append(epoch)
        self.per_class.append(ious)
        if kept_epoch(self.history, self.settings.keep) is epoch and self.trainer.is_global_zero:
            with self.averaged.applied(self.network) if self.averaged is not None else nullcontext():
                save_weights(self.network, self.kept)
        self.log_dict(
            {"train_loss": epoch.train_loss, "rate": epoch.rate, "waiting": epoch.waiting}, sync_dist=True
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the history and the averaged weights to a checkpoint."""
        checkpoint["geoseg"] = {
            "history": [asdict(entry) for entry in self.history],
            "per_class": self.per_class,
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the history and the averaged weights from a checkpoint."""
        kept = checkpoint["geoseg"]
        self.history = [Epoch(**entry) for entry in kept["history"]]
        self.per_class = kept["per_class"]
        if self.averaged is not None:
            self.averaged.load_state_dict(kept["averaged"])

    def _forward(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Compute logits float32 (N, classes, rows, columns) as large as the labels; labels become int64."""
        chips, labels = batch
        logits = self.network(chips.contiguous(memory_format=torch.channels_last)).float()
        if logits.shape[-2:] != labels.shape[-2:]:
            logits = interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        return logits, labels.long()


class _Clock:
    """Measures how much of an epoch is spent waiting for chips, and how much computing."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self.waited = self.worked = 0.0

    def arrive(self) -> None:
        now = time.perf_counter()
        self.waited, self._since = self.waited + now - self._since, now

    def leave(self) -> None:
        now = time.perf_counter()
        self.worked, self._since = self.worked + now - self._since, now

    @property
    def seconds(self) -> float:
        return self.waited + self.worked

    @property
    def waiting_share(self) -> float:
        return self.waited / max(self.seconds, 1e-9)


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's weights as safetensors."""
    from geoseg.models.weights import dump_weights

    write_file(path, dump_weights(network))
