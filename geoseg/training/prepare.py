"""Prepare a training run: open the scenes of a recipe, split them, measure bands, and place chips."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, SceneError, SettingsError
from geoseg.models.card import ModelBand
from geoseg.models.transforms import Chain, transform
from geoseg.omissions import Omission
from geoseg.training.chips.chips import ChipPlacer, ChipReader, TrainingChips, ValidationChips
from geoseg.training.ground.folds import Split, default_block_size, make_split
from geoseg.training.ground.labelled_scene import (
    LabelCells,
    LabelledScene,
    band_names,
    count_labels,
    open_labelled_scenes,
)
from geoseg.training.network.transfer import start_transforms
from geoseg.training.recipe.recipe import Recipe

_KEYS = {"--bands": "`bands`", "--label-column": "[label_values] column"} | {
    f"--{key}": f"[{table}] {key}"
    for table, keys in {
        "reading": ("nodata", "scale", "offset", "warp"),
        "label_values": ("column", "remap", "ignore"),
    }.items()
    for key in keys
}
_MULTIPLE = 32
_LARGEST_DEFAULT = 256
_FEWEST, _MOST = 240, 3200


@dataclass(frozen=True)
class TrainingData:
    """The labelled scenes of a recipe and their folds, before a fold is held out.

    Attributes:
        recipe: The recipe.
        scenes: Its labelled scenes.
        all_cells: Counts of all labels, by scene.
        split: The folds; the recipe's fold validates.
        chip_size: Side of a training chip in pixels.
    """

    recipe: Recipe
    scenes: tuple[LabelledScene, ...]
    all_cells: tuple[LabelCells, ...]
    split: Split
    chip_size: int


@dataclass(frozen=True)
class FoldData:
    """The data of one network: chips to train on, and chips of the held-out fold to validate on.

    Attributes:
        recipe: The recipe.
        scenes: Its labelled scenes.
        split: The folds, with the one that validates.
        all_cells: Counts of all labels, by scene.
        cells: Counts of the labels that train, by scene.
        bands: The bands and their normalisation.
        training: Endless training chips.
        validation: All validation chips.
    """

    recipe: Recipe
    scenes: tuple[LabelledScene, ...]
    split: Split
    all_cells: tuple[LabelCells, ...]
    cells: tuple[LabelCells, ...]
    bands: tuple[ModelBand, ...]
    training: TrainingChips
    validation: ValidationChips

    @property
    def chip_size(self) -> int:
        """Side of a training chip in pixels."""
        return self.training.reader.size

    @property
    def per_epoch(self) -> int:
        """Chips an epoch, the same for every fold: as in the recipe, or enough to cover all labels twice."""
        step = self._chips_a_step
        wanted = self.recipe.chips.per_epoch
        if wanted is None:
            labelled = sum(int(cells.classes.sum()) for cells in self.all_cells)
            wanted = min(max(2 * labelled // self.chip_size**2, _FEWEST), _MOST)
        return max(1, round(wanted / step)) * step

    @property
    def steps(self) -> int:
        """Optimiser steps an epoch."""
        return self.per_epoch // self._chips_a_step

    @property
    def _chips_a_step(self) -> int:
        return self.recipe.chips.batch_size * self.recipe.run.accumulate * self.recipe.run.devices

    def class_weights(self) -> NDArray[np.float32] | None:
        """Compute the recipe's class weights, float32 (classes,), or None."""
        rows = np.concatenate([cells.counts.reshape(-1, cells.counts.shape[2]) for cells in self.cells])
        in_places = np.array([rows[rows[:, i] > 0].sum() for i in range(rows.shape[1])], np.float64)
        totals = rows.sum(axis=0)
        ids = [land_class.id for land_class in self.recipe.classes]
        return class_weights(
            self.recipe.loss.class_weights,
            totals.astype(np.int64),
            totals / np.maximum(in_places, 1),
            beta=self.recipe.loss.effective_beta,
            manual={ids.index(int(key)): value for key, value in self.recipe.loss.manual.items()},
        )


def open_training_data(recipe: Recipe) -> TrainingData:
    """Open the scenes of a recipe, count their labels and split them into folds.

    Raises:
        InputError: Naming what is wrong.
        RunError: If a file cannot be read.
    """
    with recipe_keys(recipe):
        scenes = open_labelled_scenes(recipe)
        size = recipe.chips.size or default_chip_size(scenes)
        all_cells = tuple(count_labels(scene) for scene in scenes)
        split = make_split(recipe.split, scenes, all_cells, chip_size=size, seed=recipe.seed)
    return TrainingData(recipe, scenes, all_cells, split, size)


def hold_out(data: TrainingData, fold: int | None) -> FoldData:
    """Prepare the data of a network that trains without one fold, which validates.

    Args:
        data: The labelled scenes and their folds.
        fold: The fold; None to train on all labels.

    Raises:
        InputError: Naming what is wrong.
        RunError: If a file cannot be read.
    """
    recipe, scenes, size = data.recipe, data.scenes, data.chip_size
    split, cells = data.split.holding_out(fold), data.all_cells
    with recipe_keys(recipe):
        if split.validation:
            cells = tuple(
                count_labels(scene, partial(split.trains, number)) for number, scene in enumerate(scenes)
            )
        placer = ChipPlacer(cells, size, recipe.chips.rare_share)
        bands = measure_bands(scenes, split, start_transforms(recipe.transfer, band_names(scenes[0].image)))
        reader = ChipReader(scenes, split, bands, size)
        training = TrainingChips(reader, placer, recipe.augment, recipe.seed)
        validation = ValidationChips(reader, data.all_cells)
        if fold is not None and not len(validation):
            raise SettingsError("[split] the validation fold holds no labels; choose another fold")
    return FoldData(recipe, scenes, split, data.all_cells, cells, bands, training, validation)


def prepare_fold(recipe: Recipe) -> FoldData:
    """Open the scenes of a recipe, split them, and hold out the recipe's fold.

    Raises:
        InputError: Naming what is wrong.
        RunError: If a file cannot be read.
    """
    data = open_training_data(recipe)
    return hold_out(data, data.split.fold)


@contextmanager
def recipe_keys(recipe: Recipe) -> Iterator[None]:
    """Replace names of options in messages about scenes and labels by keys of the recipe."""
    try:
        yield
    except InputError as error:
        text = str(error)
        for flag, key in _KEYS.items():
            text = re.sub(rf"{flag}\b", key, text)
        if text == str(error):
            raise
        raise type(error)(f"{recipe.path}: {text}") from error


def omissions_of(scenes: Sequence[LabelledScene], split: Split | None) -> tuple[Omission, ...]:
    """List what is left out of the labels, the scenes, and the layer of folds, each once."""
    every = [each for scene in scenes for each in (*scene.labels.omissions, *scene.image.omissions)]
    every += () if split is None else split.omissions
    # a recipe has no date that one could give
    every = [replace(each, fix="") if each.kind == "dates" else each for each in every]
    return tuple(dict.fromkeys(every))


def default_chip_size(scenes: tuple[LabelledScene, ...]) -> int:
    """Choose 256 pixels, or the largest multiple of 32 that fits into a default block."""
    return min(_LARGEST_DEFAULT, max(_MULTIPLE, default_block_size(scenes) // _MULTIPLE * _MULTIPLE))


def class_weights(
    method: str,
    counts: NDArray[np.int64],
    shares: NDArray[np.float64],
    *,
    beta: float = 0.9999,
    manual: Mapping[int, float] | None = None,
) -> NDArray[np.float32] | None:
    """Compute weights of classes for pixel-wise losses.

    Args:
        method: "none", "inverse" (1 / frequency), "median" (median frequency / frequency, Eigen and Fergus
            2015), "effective" ((1 - beta) / (1 - beta^n), Cui et al. 2019), or "manual".
        counts: Labelled training pixels of each class.
        shares: Frequency of each class in the cells where it occurs, for "median".
        beta: Parameter of "effective".
        manual: Weights of "manual" by class index; other classes have 1.

    Returns:
        float32 (classes,), 0 for classes without a pixel, scaled so that the mean weight of a labelled pixel
        is 1 (manual weights are kept as they are); None for "none".
    """
    if method == "none":
        return None
    if method == "manual":
        return np.array([(manual or {}).get(i, 1.0) for i in range(len(counts))], np.float32)
    present = counts > 0
    weights = np.zeros(len(counts))
    if method == "inverse":
        weights[present] = counts.sum() / counts[present]
    elif method == "median":
        weights[present] = np.median(shares[present]) / shares[present]
    else:
        weights[present] = (1 - beta) / -np.expm1(counts[present] * np.log(beta)) if beta > 0 else 1.0
    mean = (weights * counts).sum() / max(counts.sum(), 1)
    scaled: NDArray[np.float32] = (weights / (mean or 1.0)).astype(np.float32)
    return scaled


_PERCENTILE_PIXELS = 2_000_000


class Moments:
    """Mean and variance of values that come in parts, merged in float64 (Chan, Golub and LeVeque 1983)."""

    def __init__(self, bands: int) -> None:
        self.count = np.zeros(bands, np.int64)
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)

    def add(self, values: NDArray[np.float32]) -> None:
        """Add values (bands, pixels); NaN are left out."""
        known = np.isfinite(values)
        count = known.sum(axis=1)
        exact = np.where(known, values, 0).astype(np.float64)
        mean = exact.sum(axis=1) / np.maximum(count, 1)
        squares = (np.where(known, exact - mean[:, None], 0) ** 2).sum(axis=1)
        total = np.maximum(self.count + count, 1)
        gap = mean - self.mean
        self.squares += np.where(count > 0, squares + gap**2 * self.count * count / total, 0)
        self.mean += np.where(count > 0, gap * count / total, 0)
        self.count += count

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation over all values (population)."""
        deviation: NDArray[np.float64] = np.sqrt(self.squares / np.maximum(self.count, 1))
        return deviation


def measure_bands(
    scenes: Sequence[LabelledScene], split: Split, transforms: Sequence[Chain] = ()
) -> tuple[ModelBand, ...]:
    """Measure mean, standard deviation and percentiles of every band over the valid pixels that train.

    Mean and standard deviation are those of transformed values, percentiles those of physical values, from
    about two million pixels taken at equal steps. Scenes are read window by window.

    Raises:
        SceneError: If no pixel that trains is valid.
        RunError: If a file cannot be read.
    """
    names = band_names(scenes[0].image)
    moments = Moments(len(names))
    step = max(1, sum(rows * cols for rows, cols in (g.shape for g in scenes)) // _PERCENTILE_PIXELS)
    kept: list[NDArray[np.float32]] = []
    for number, scene in enumerate(scenes):
        for window in scene.windows():
            wanted = split.trains(number, window)
            if not wanted.any():
                continue
            values, valid = scene.image.read(window)
            inside = values[:, valid & wanted]
            kept.append(inside[:, ::step].copy())
            transform(inside, transforms)
            moments.add(inside)
    if not moments.count.all():
        empty = [name for name, count in zip(names, moments.count, strict=True) if not count]
        raise SceneError(f"{scenes[0].image.name}: no valid pixel to train on in band {', '.join(empty)}")
    low, high = np.nanpercentile(np.concatenate(kept, axis=1), [1, 99], axis=1)
    chains = transforms or ((),) * len(names)
    stds = np.where(moments.std > 0, moments.std, 1.0)  # a constant band becomes 0 instead of NaN
    numbers = np.array([moments.mean, stds, low, high], np.float32).T.tolist()
    return tuple(
        ModelBand(name, mean, std, first, last, chain)
        for name, (mean, std, first, last), chain in zip(names, numbers, chains, strict=True)
    )
