"""The model card of a trained model: bands, classes, measured quality, and the split it was measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.models.card import ModelCard
from geoseg.models.region import read_gsd_range
from geoseg.training.ground.folds import Split
from geoseg.training.ground.labelled_scene import LabelledScene
from geoseg.training.network.transfer import StartedNetwork
from geoseg.training.prepare import FoldData

_LARGEST_CHIP, _LARGEST_OVERLAP = 512, 64
_REFLECTANCE_AT_MOST = 2.0
_REGIONS = {"blocks": "spatial blocks", "scenes": "scenes", "polygons": "drawn areas"}
_FIGURES = ("accuracy", "miou", "fwiou", "mean_f1", "ece")


def make_card(data: FoldData, started: StartedNetwork) -> ModelCard:
    """Make the card of a trained model, without the quality that is measured later.

    Args:
        data: The data it was trained on.
        started: Its network.
    """
    recipe, first = data.recipe, data.scenes[0].image
    chip_size, overlap = _prediction_chips(data, started)
    return ModelCard(
        name=recipe.name,
        summary=recipe.model.summary or f"{len(recipe.classes)} classes from {len(data.bands)} bands.",
        bands=data.bands,
        classes=recipe.classes,
        architecture=started.architecture,
        encoder=started.encoder,
        network=started.options,
        chip_size=chip_size,
        overlap=overlap,
        units=recipe.reading.units or _units(data),
        value_scale=first.bands[0].scale,
        value_offset=first.bands[0].offset,
        gsd=first.gsd or recipe.model.gsd,
        gsd_estimated=first.gsd is None and recipe.model.gsd is not None,
        gsd_range=read_gsd_range(recipe.model.gsd_range) if recipe.model.gsd_range else None,
        region=recipe.model.region,
        region_name=recipe.model.region_name,
        months=recipe.model.months,
        invalid_where=recipe.reading.invalid_where,
        trained_on=_trained_on(data),
        license=recipe.model.license,
        citation=recipe.model.citation,
        trust=recipe.model.trust
        or "Trained on these scenes only; compare it with ground truth before using it elsewhere.",
    )


def _units(data: FoldData) -> str:
    """Say what the values of bands are, by their range: only reflectance stays near 0 to 1."""
    if all(band.low > -_REFLECTANCE_AT_MOST and band.high <= _REFLECTANCE_AT_MOST for band in data.bands):
        return "reflectance"
    stored = {(band.scale, band.offset) for scene in data.scenes for band in scene.image.bands}
    return "digital numbers" if stored == {(1.0, 0.0)} else "values with a scale of their own"


def _prediction_chips(data: FoldData, started: StartedNetwork) -> tuple[int, int]:
    """Choose side and overlap of the chips for prediction: at most twice as large as training chips."""
    model, fixed = data.recipe.model, started.options.get("img_size")
    size = model.chip_size or min(_LARGEST_CHIP, 2 * data.chip_size)
    size = int(fixed) if isinstance(fixed, int) else size
    overlap = min(_LARGEST_OVERLAP, size // 4) if model.overlap is None else model.overlap
    return size, min(overlap, size // 2)


def _trained_on(data: FoldData) -> str:
    names = ", ".join(dict.fromkeys(scene.image.name for scene in data.scenes))
    dates = sorted({scene.image.date for scene in data.scenes if scene.image.date})
    pixels = sum(int(cells.classes.sum()) for cells in data.cells)
    when = f" ({', '.join(dates)})" if dates else ""
    return f"{names}{when}: {pixels} labelled pixels"


def make_metrics(report: Mapping[str, Any] | None, split: str) -> dict[str, Any]:
    """Make the ``metrics`` of a card from an evaluation.

    Args:
        report: The report of ``geoseg evaluate``; None where no labelled pixel could be scored.
        split: Where it was measured, and how, in words.

    Returns:
        Scores, with their 95 % intervals where there are any.
    """
    if report is None:
        return {"split": f"{split}; no labelled pixel of it is valid in the scene, so nothing is measured"}
    summary = report["summary"]
    found: dict[str, Any] = {"split": split, "pixels": report["pixels"]["compared"]}
    for name in _FIGURES:
        if summary[name] is not None:
            found[name] = summary[name]
            if summary[f"{name}_interval"] is not None:
                found[f"{name}_interval"] = summary[f"{name}_interval"]
    found["boundary_f1"] = {row["tolerance"]: row["f1"] for row in report["boundary"]}
    found["iou"] = {row["name"]: row["iou"] for row in report["classes"]}
    return found


def describe_fold(split: Split, keep: str, *, fitted: bool) -> str:
    """Describe how a network was measured on the one fold that was held out.

    Args:
        split: The split.
        keep: Which epoch's weights were kept, "best" or "last".
        fitted: Whether a temperature was fitted.
    """
    chosen = ["the epoch was chosen"] if keep == "best" else []
    chosen += ["the temperature was fitted"] if fitted else []
    caution = f"; {' and '.join(chosen)} on the same fold, so expect slightly lower scores elsewhere"
    how = f"mapped as geoseg predict does{caution if chosen else ''}"
    return (
        f"validation fold {split.fold}: {len(split.validation)} of {len(split.regions)} "
        f"{_REGIONS[split.method]}, {_buffer(split)}, {how}"
    )


def describe_folds(split: Split, scenes: Sequence[LabelledScene], folds: int) -> str:
    """Describe how a recipe was measured by cross-validation.

    Args:
        split: The split.
        scenes: The scenes.
        folds: Number of folds.
    """
    names = ", ".join(dict.fromkeys(scene.image.name for scene in scenes))
    count = sum(len(split.of(fold)) for fold in split.folds)
    return (
        f"measured by {folds}-fold cross-validation over {count} {_REGIONS[split.method]} of {names}, "
        f"{_buffer(split)}: each was mapped as geoseg predict does by a network that was not trained on it, "
        "with the weights of its last epoch and a temperature fitted on the other folds; the weights in this "
        "package were trained on all labels with the same recipe and were not measured themselves"
    )


def _buffer(split: Split) -> str:
    return f"buffer {', '.join(str(buffer) for buffer in sorted(set(split.buffers)))} pixels"
