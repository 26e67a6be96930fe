"""The card of a trained model: what it reads, what it tells apart, how well, and measured on which ground."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.models.card import ModelCard
from geoseg.training.folds import Split
from geoseg.training.module import Epoch, best_of
from geoseg.training.prepare import Prepared
from geoseg.training.transfer import StartedNetwork

_LARGEST_CHIP, _LARGEST_OVERLAP = 512, 64


def make_card(
    prepared: Prepared,
    started: StartedNetwork,
    history: Sequence[Epoch],
    per_class: Sequence[Sequence[float]],
    temperatures: Mapping[str, float],
) -> ModelCard:
    """Everything the package says of its model.

    Args:
        prepared: What it was trained on.
        started: Its network.
        history: The epochs.
        per_class: IoU of every class after each.
        temperatures: Fitted temperatures by test-time augmentation.
    """
    recipe, first = prepared.recipe, prepared.grounds[0].scene
    chip_size, overlap = _prediction_chips(prepared, started)
    return ModelCard(
        name=recipe.name,
        summary=f"{len(recipe.classes)} classes from {len(prepared.bands)} bands.",
        bands=prepared.bands,
        classes=recipe.classes,
        architecture=started.architecture,
        encoder=started.encoder,
        network=started.options,
        chip_size=chip_size,
        overlap=overlap,
        units=recipe.reading.units,
        value_scale=first.bands[0].scale,
        value_offset=first.bands[0].offset,
        gsd=first.gsd,
        invalid_where=recipe.reading.invalid_where,
        temperatures=temperatures,
        trained_on=_trained_on(prepared),
        license=recipe.model.license,
        citation=recipe.model.citation,
        metrics=_metrics(prepared, history, per_class),
        trust=recipe.model.trust
        or "It knows the scenes it was trained on; check it against ground truth before using it elsewhere.",
    )


def _prediction_chips(prepared: Prepared, started: StartedNetwork) -> tuple[int, int]:
    """Side and overlap of the chips to predict on: not much larger than what the network has learnt on."""
    model, fixed = prepared.recipe.model, started.options.get("img_size")
    size = model.chip_size or min(_LARGEST_CHIP, 2 * prepared.chip_size)
    size = int(fixed) if isinstance(fixed, int) else size
    overlap = min(_LARGEST_OVERLAP, size // 4) if model.overlap is None else model.overlap
    return size, min(overlap, size // 2)


def _trained_on(prepared: Prepared) -> str:
    names = ", ".join(dict.fromkeys(ground.scene.name for ground in prepared.grounds))
    dates = sorted({ground.scene.date for ground in prepared.grounds if ground.scene.date})
    pixels = sum(int(cells.classes.sum()) for cells in prepared.cells)
    when = f" ({', '.join(dates)})" if dates else ""
    return f"{names}{when}: {pixels} labelled pixels"


def _metrics(
    prepared: Prepared, history: Sequence[Epoch], per_class: Sequence[Sequence[float]]
) -> dict[str, Any]:
    best = best_of(history)
    ious = per_class[history.index(best)]
    names = [one.name for one in prepared.recipe.classes]
    return {
        "split": _split_in_words(prepared.split),
        "accuracy": best.accuracy,
        "miou": best.miou,
        "iou": {name: None if math.isnan(iou) else iou for name, iou in zip(names, ious, strict=True)},
        "epoch": best.epoch + 1,
        "epochs": len(history),
    }


def _split_in_words(split: Split) -> str:
    what = {"blocks": "spatial blocks", "scenes": "scenes", "polygons": "drawn areas"}[split.method]
    buffers = ", ".join(str(buffer) for buffer in sorted(set(split.buffers)))
    return (
        f"validation fold {split.fold}: {len(split.validation)} of {len(split.regions)} {what}, buffer "
        f"{buffers} pixels; the epoch was chosen on the same ground, so expect a little less elsewhere"
    )
