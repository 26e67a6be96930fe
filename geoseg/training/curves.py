"""Learning curves, as CSV to read and PNG to look at."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from geoseg.training.module import Epoch

CSV_FILE, PNG_FILE = "history.csv", "curves.png"


def write_history(
    folder: Path, history: Sequence[Epoch], per_class: Sequence[Sequence[float]], names: Sequence[str]
) -> None:
    """One row an epoch, the IoU of every class at its end.

    Args:
        folder: Where.
        history: The epochs.
        per_class: IoU by class, for each epoch.
        names: Of the classes.
    """
    with (folder / CSV_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(field.name for field in fields(Epoch)), *(f"iou {name}" for name in names)])
        for epoch, ious in zip(history, per_class, strict=True):
            numbers = [f"{value:.6g}" for value in (*asdict(epoch).values(), *ious)]
            writer.writerow(numbers)


def draw_curves(path: Path, history: Sequence[Epoch]) -> None:
    """Losses, scores and learning rate over the epochs.

    Args:
        path: The PNG.
        history: The epochs, at least one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores, rate = figure.subplots(1, 3)
    epochs = [entry.epoch + 1 for entry in history]
    for key, label in (("train_loss", "training"), ("val_loss", "validation (cross-entropy)")):
        losses.plot(epochs, [getattr(entry, key) for entry in history], label=label)
    for key, label in (("miou", "mIoU"), ("accuracy", "accuracy")):
        scores.plot(epochs, [getattr(entry, key) for entry in history], label=label)
    best = max(history, key=lambda entry: (entry.miou, entry.epoch))
    scores.axvline(best.epoch + 1, color="grey", linestyle=":", label=f"best: {best.miou:.3f}")
    scores.set_ylim(0, 1)
    rate.plot(epochs, [entry.rate for entry in history], label="learning rate")
    _finish(losses, "loss")
    _finish(scores, "score on the validation fold")
    _finish(rate, "learning rate")
    figure.savefig(path, dpi=110)


def _finish(axes: Any, title: str) -> None:
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
