"""The history of a training run: scores of every epoch, the epoch that is kept, and learning curves."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

CSV_FILE, PNG_FILE = "history.csv", "curves.png"


@dataclass(frozen=True)
class Epoch:
    """Scores and timing of a finished epoch.

    Attributes:
        epoch: From 0.
        step: Optimiser steps done.
        rate: Learning rate of its last step.
        train_loss: Mean loss of its batches.
        val_loss: Mean cross-entropy of labelled validation pixels; NaN without validation.
        accuracy: Share of validation pixels that are correct; NaN without validation.
        miou: Mean IoU over the classes in validation labels or predictions; NaN without validation.
        waiting: Share of the training time spent waiting for chips.
        seconds: Time spent in training, without validation.
    """

    epoch: int
    step: int
    rate: float
    train_loss: float
    val_loss: float
    accuracy: float
    miou: float
    waiting: float
    seconds: float


def kept_epoch(history: Sequence[Epoch], keep: str) -> Epoch:
    """Find the epoch whose weights are kept.

    Args:
        history: All epochs.
        keep: "last", or "best" for the highest mean IoU, the latest of equal ones.
    """
    if keep == "last" or math.isnan(history[-1].miou):
        return history[-1]
    return max(history, key=lambda entry: (entry.miou, entry.epoch))


def write_history(
    folder: Path, history: Sequence[Epoch], per_class: Sequence[Sequence[float]], names: Sequence[str]
) -> None:
    """Write a CSV with a row an epoch; its last columns are the IoU of every class.

    Args:
        folder: Folder of the file.
        history: The epochs.
        per_class: IoU by class, for each epoch.
        names: Names of the classes.
    """
    with (folder / CSV_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(field.name for field in fields(Epoch)), *(f"iou {name}" for name in names)])
        for epoch, scored in zip(history, per_class, strict=True):
            ious = scored or [math.nan] * len(names)  # without validation there are no scores
            numbers = [f"{value:.6g}" for value in (*asdict(epoch).values(), *ious)]
            writer.writerow(numbers)


def draw_curves(path: Path, history: Sequence[Epoch], keep: str = "best") -> None:
    """Draw losses, scores and learning rate over the epochs; without validation there are no scores.

    Args:
        path: The PNG.
        history: The epochs, at least one.
        keep: Which epoch's weights are kept, "best" or "last"; that epoch is marked.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kept = kept_epoch(history, keep)
    validates = not math.isnan(kept.miou)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, *middle, rate = figure.subplots(1, 3 if validates else 2)
    epochs = [entry.epoch + 1 for entry in history]
    curves = [("train_loss", "training"), ("val_loss", "validation (cross-entropy)")]
    for key, label in curves if validates else curves[:1]:
        losses.plot(epochs, [getattr(entry, key) for entry in history], label=label)
    for scores in middle:
        for key, label in (("miou", "mIoU"), ("accuracy", "accuracy")):
            line = f"{label} ({keep}: {getattr(kept, key):.3f})"
            scores.plot(epochs, [getattr(entry, key) for entry in history], label=line)
        scores.axvline(kept.epoch + 1, color="grey", linestyle=":", label=f"{keep} epoch")
        scores.set_ylim(0, 1)
        _finish(scores, "score on the validation chips")
    rate.plot(epochs, [entry.rate for entry in history], label="learning rate")
    _finish(losses, "loss")
    _finish(rate, "learning rate")
    figure.savefig(path, dpi=110)


def _finish(axes: Any, title: str) -> None:
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
