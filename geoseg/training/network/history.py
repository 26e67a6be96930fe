"""The history of a training run: what each epoch scored, which one is kept, and learning curves."""

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
    """What is known of an epoch when it is over.

    Attributes:
        epoch: From 0.
        step: Optimiser steps done.
        rate: Learning rate of its last step.
        train_loss: Mean loss of its batches.
        val_loss: Mean cross-entropy of labelled validation pixels; NaN where nothing validates.
        accuracy: Share of validation pixels that are right; NaN where nothing validates.
        miou: Mean IoU over the classes that occur in validation labels or predictions; NaN where nothing
            validates.
        waiting: Share of the training time spent waiting for chips.
        seconds: Of training, validation apart.
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
        keep: "last", or "best": the best score, the latest of equals.
    """
    if keep == "last" or math.isnan(history[-1].miou):
        return history[-1]
    return max(history, key=lambda entry: (entry.miou, entry.epoch))


def write_history(
    folder: Path, history: Sequence[Epoch], per_class: Sequence[Sequence[float]], names: Sequence[str]
) -> None:
    """Write a CSV with a row an epoch, the IoU of every class at its end.

    Args:
        folder: Where.
        history: The epochs.
        per_class: IoU by class, for each epoch.
        names: Of the classes.
    """
    with (folder / CSV_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(field.name for field in fields(Epoch)), *(f"iou {name}" for name in names)])
        for epoch, scored in zip(history, per_class, strict=True):
            ious = scored or [math.nan] * len(names)  # nothing validates
            numbers = [f"{value:.6g}" for value in (*asdict(epoch).values(), *ious)]
            writer.writerow(numbers)


def draw_curves(path: Path, history: Sequence[Epoch], keep: str = "best") -> None:
    """Draw losses, scores and learning rate over the epochs; scores only where something validates.

    Args:
        path: The PNG.
        history: The epochs, at least one.
        keep: Which epoch's weights are kept, "best" or "last"; it is marked.
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
