"""The tables of a recipe: every setting, its default, its range and one line about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, SettingsError
from geoseg.inference.backends.tta import SYMMETRIES
from geoseg.models.region import ModelRegion, read_gsd_range, read_months
from geoseg.training.chips.augment import (
    Augmentation,
    BandDropout,
    Blur,
    Brightness,
    Contrast,
    Crop,
    Flips,
    Gamma,
    Haze,
    Hue,
    Noise,
    QuarterTurns,
    Rotation,
    Scaling,
    Season,
    Shadow,
)
from geoseg.training.recipe.tables import setting
from geoseg.units import parse_length

SPLIT_METHODS = ("blocks", "scenes", "polygons", "none")
KEEPS = ("best", "last")
CLASS_WEIGHTS = ("none", "inverse", "median", "effective", "manual")
SCHEDULES = ("cosine", "poly", "one_cycle", "plateau", "constant")
AVERAGES = ("ema", "swa", "none")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
LOSSES: Mapping[str, str] = {
    "cross_entropy": "CrossEntropy",
    "focal": "Focal",
    "dice": "Dice",
    "jaccard": "Jaccard",
    "tversky": "Tversky",
    "lovasz": "Lovasz",
    "bce": "BinaryCrossEntropy",
    "bce_dice": "BinaryCrossEntropyDice",
}
"""Name of each loss -> its class in ``training.network.losses``, which imports torch."""


@dataclass(frozen=True, kw_only=True)
class LabelValues:
    """How the values of label files become classes."""

    column: str | None = setting(None, "polygons: the attribute that holds the class")
    remap: Mapping[str, int] = setting(
        factory=dict, about='label value = class id, such as { "121" = 9, corn = 1 }'
    )
    ignore: tuple[Any, ...] = setting((), "label values that mean no label")
    rim: int = setting(0, "ignore this many pixels on both sides of label borders", least=0, most=64)


@dataclass(frozen=True, kw_only=True)
class SceneReading:
    """How scenes are read, where their files do not say it themselves."""

    nodata: float | None = setting(None, "stored value that means nodata")
    scale: float | None = setting(None, "physical value = stored value * scale + offset")
    offset: float | None = setting(None, "see scale")
    warp: bool = setting(False, "bring a scene with GCPs, RPCs or a rotation to a north-up grid")
    invalid_where: str = setting(
        "all", 'a pixel is invalid where "all" or "any" of its bands are nodata', choices=("all", "any")
    )
    units: str | None = setting(None, "what band values mean, for the model card; default by their range")


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """Which part of the scenes validates; the rest trains."""

    method: str = setting(
        "blocks",
        "cut scenes into blocks, hold out whole scenes, take folds from polygons, or train on all labels",
        choices=SPLIT_METHODS,
    )
    block_size: str | None = setting(
        None, 'side of a block, "768px" or "20km"; default a quarter of the smallest scene, 64 to 768 pixels'
    )
    buffer: str | None = setting(
        None,
        'width around validation blocks that no training chip reads, "64px" or "2km"; default a chip / 4',
    )
    folds: int = setting(5, "number of folds", least=2, most=100)
    fold: int = setting(0, "the fold that validates, from 0", least=0, most=99)
    validation_scenes: tuple[str, ...] = setting(
        (), 'scenes: names of those that validate, such as ["heldout"]'
    )
    polygons: Path | None = setting(None, "polygons: vector file; pixels outside all polygons train")
    column: str = setting("fold", "polygons: attribute with the fold's number")

    def __post_init__(self) -> None:
        for key in ("block_size", "buffer"):
            if getattr(self, key) is not None:
                parse_length(getattr(self, key), key, zero=key == "buffer")
        if self.fold >= self.folds:
            raise SettingsError(
                f"fold is {self.fold}; with folds = {self.folds} it must be 0 to {self.folds - 1}"
            )
        if self.method == "polygons" and self.polygons is None:
            raise SettingsError('method "polygons" needs the key polygons: a vector file')


@dataclass(frozen=True, kw_only=True)
class ChipSettings:
    """Training chips: their size, number and sampling."""

    size: int | None = setting(
        None, "side of a training chip; default 256, or less where blocks are smaller", least=16, most=4096
    )
    batch_size: int = setting(16, "chips a step", least=1, most=4096)
    per_epoch: int | None = setting(
        None, "chips an epoch; default such that an epoch covers the labels about twice, 240 to 3200", least=1
    )
    rare_share: float = setting(
        0.3, "share of chips placed on a class drawn with equal chances, not on any label", least=0, most=1
    )
    workers: int | None = setting(
        None, "processes that read chips; default 1 on a CPU, up to 8 with a GPU", least=0, most=256
    )


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The network, and the chips it will predict on."""

    architecture: str = setting("unet-classic", "one of geoseg.models.architectures()")
    encoder: str | None = setting(
        None, 'smp encoder, or "tu-" and a timm name; default resnet18; unet-classic has none'
    )
    options: Mapping[str, Any] = setting(
        factory=dict,
        about="further arguments of the architecture; default for unet-classic: depth 4, width 32",
    )
    chip_size: int | None = setting(
        None,
        "side of the chips that predict will use; default twice the training chip, at most 512",
        least=32,
        most=8192,
    )
    overlap: int | None = setting(
        None, "pixels that those chips share; default a quarter of them, at most 64", least=0
    )
    precision: str = setting("fp32", "how the weights are stored", choices=("fp32", "fp16"))
    summary: str = setting("", "the model in a sentence, for the model card")
    gsd: float | None = setting(
        None, "metres a pixel, estimated, where the scenes do not say it; for the model card", above=0
    )
    gsd_range: tuple[float, ...] = setting(
        (), "least and most metres a pixel that the model is for, such as [10, 30]"
    )
    region: Any = setting(
        None,
        "where the model is for: [west, south, east, north] in degrees, several such boxes, or a GeoJSON "
        "geometry as a table; default any place",
    )
    region_name: str = setting("", "the region in a few words")
    months: tuple[int, ...] = setting(
        (), "months that the model is for, such as [8, 9]; default any", least=1, most=12
    )
    license: str = setting("", "licence of the weights, for the model card")
    citation: str = setting("", "how to cite the data, for the model card")
    trust: str = setting("", "where the model is and is not to be trusted, for the model card")

    def __post_init__(self) -> None:
        try:
            read_months(self.months)
            if self.gsd_range:
                read_gsd_range(self.gsd_range)
            if self.region is not None:
                ModelRegion.read(self.region)
        except ModelError as error:
            raise SettingsError(str(error)) from error
        if self.region_name and self.region is None:
            raise SettingsError("region_name names a region, but there is no region; give its borders")


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """The network's initial weights."""

    encoder_weights: str | None = setting(
        None, '"imagenet", or a safetensors file of the encoder; adapted to the number of bands'
    )
    start_from: str | None = setting(
        None, "a model package, or a network in smp's save_pretrained layout: a folder, or hf://owner/name"
    )
    freeze_epochs: int = setting(0, "epochs in which the encoder is not changed", least=0)
    encoder_rate: float = setting(
        1.0, "learning rate of the encoder, as a share of the others'", least=0, most=1
    )


@dataclass(frozen=True, kw_only=True)
class LossTerm:
    """One loss, and how much it counts."""

    name: str = setting(about=f"name one of: {', '.join(LOSSES)}", choices=tuple(LOSSES))
    weight: float = setting(1.0, "how much it counts in the sum", above=0)
    smoothing: float = setting(
        0.0, "cross_entropy: share of a label spread over all classes", least=0, most=0.9
    )
    gamma: float = setting(2.0, "focal: how little easy pixels count", least=0, most=10)
    alpha: float = setting(0.3, "tversky: weight of false positives", least=0, most=1)
    beta: float = setting(0.7, "tversky: weight of false negatives", least=0, most=1)


DEFAULT_TERMS = (LossTerm(name="cross_entropy", smoothing=0.05), LossTerm(name="dice", weight=0.5))


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """The loss that is minimised."""

    terms: tuple[LossTerm, ...] = setting(DEFAULT_TERMS, f"the losses that are added, of {', '.join(LOSSES)}")
    learned: bool = setting(False, "learn the terms' weights by uncertainty weighting (Kendall et al. 2018)")
    class_weights: str = setting("none", "weights of classes in pixel-wise losses", choices=CLASS_WEIGHTS)
    effective_beta: float = setting(0.9999, "effective: beta of Cui et al. (2019)", least=0, most=0.99999999)
    manual: Mapping[str, float] = setting(factory=dict, about="manual: class id = weight", least=0)

    def __post_init__(self) -> None:
        if not self.terms:
            raise SettingsError("terms is an empty list; name at least one loss")
        if self.class_weights == "manual" and not self.manual:
            raise SettingsError('class_weights "manual" needs the table manual: { "1" = 2.0, "2" = 0.5 }')


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """The augmentations of a recipe: true (defaults), false (never), or a table; applied in this order."""

    flips: Flips | None = setting(Flips(), "mirror rows and columns")
    turns: QuarterTurns | None = setting(QuarterTurns(), "turn by quarters")
    rotation: Rotation | None = setting(None, "turn by any angle")
    scaling: Scaling | None = setting(None, "enlarge or shrink")
    crop: Crop | None = setting(None, "cut out a part and enlarge it")
    season: Season | None = setting(None, "plants ahead or behind")
    shadow: Shadow | None = setting(None, "darken one side")
    haze: Haze | None = setting(None, "mix in haze")
    hue: Hue | None = setting(None, "turn the colours of red, green and blue")
    brightness: Brightness | None = setting(Brightness(), "multiply bands")
    contrast: Contrast | None = setting(None, "stretch bands about their means")
    gamma: Gamma | None = setting(None, "bend the curves of bands")
    blur: Blur | None = setting(None, "smooth")
    noise: Noise | None = setting(Noise(), "add noise")
    band_dropout: BandDropout | None = setting(None, "take bands away")

    def __iter__(self) -> Iterator[Augmentation]:
        """Iterate over the augmentations that are on."""
        for field in fields(self):
            augmentation = getattr(self, field.name)
            if augmentation is not None:
                yield augmentation


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """The learning rate over time."""

    name: str = setting("cosine", "shape after the warm-up", choices=SCHEDULES)
    warmup: float = setting(0.05, "share of all steps with a rising rate", least=0, most=0.9)
    final: float = setting(0.01, "cosine, poly: rate at the end, as a share of the peak", least=0, most=1)
    power: float = setting(0.9, "poly: exponent", above=0)
    factor: float = setting(0.3, "plateau: the rate is multiplied by this", above=0, most=1)
    patience: int = setting(3, "plateau: epochs without a better score before that", least=0)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The training run."""

    epochs: int = setting(30, "epochs", least=1, most=100000)
    rate: float = setting(2e-3, "peak of the learning rate (AdamW)", above=0, most=10)
    weight_decay: float = setting(0.05, "AdamW's weight decay", least=0)
    accumulate: int = setting(1, "batches whose gradients make one step", least=1)
    clip: float = setting(5.0, "longest gradient; 0 for no limit", least=0)
    average: str = setting(
        "ema", "averaged weights: exponential, or equal over the last quarter", choices=AVERAGES
    )
    decay: float = setting(
        0.995, "ema: share of the average kept a step, less in the first steps", least=0, most=1
    )
    keep: str = setting(
        "best", "weights that are kept: of the epoch that validates best, or of the last epoch", choices=KEEPS
    )
    stop_after: int | None = setting(None, "stop after this many epochs without a better score", least=1)
    precision: str = setting("auto", "auto: bf16 where the device computes in it", choices=PRECISIONS)
    device: str = setting("auto", "auto, cpu, cuda or mps")
    devices: int = setting(1, "GPUs, or processes on a CPU, by distributed data parallel (DDP)", least=1)
    calibrate: tuple[str, ...] = setting(
        ("none",),
        "fit a temperature on the held-out fold for each of these test-time augmentations (flips and d4 take "
        "4 and 8 times as long)",
        choices=tuple(SYMMETRIES),
    )
