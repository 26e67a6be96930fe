"""Training and validation chips; the content of a chip depends on its number and the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.errors import SettingsError
from geoseg.grid import Window
from geoseg.inference.reading import Normalisation
from geoseg.models.card import ModelBand
from geoseg.training.chips.augment import TrainingChip, augment
from geoseg.training.ground.folds import Region, Split
from geoseg.training.ground.labelled_scene import LabelCells, LabelledScene
from geoseg.training.recipe.settings import AugmentSettings

ChipArrays = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""What the network gets: normalised (bands, rows, columns), and class indices (rows, columns)."""
_TRIES = 8
_GOOD_SHARE = 0.5


@dataclass(frozen=True)
class ChipPlace:
    """The position of a chip.

    Attributes:
        scene: Index of the scene.
        window: Its pixels; may reach beyond the scene.
    """

    scene: int
    window: Window


@dataclass(frozen=True)
class ChipReader:
    """Reads and normalises chips.

    Attributes:
        scenes: The scenes.
        split: Marks the pixels that training and validation chips may read.
        bands: The bands and their normalisation.
        size: Side of a chip in pixels.
    """

    scenes: tuple[LabelledScene, ...]
    split: Split
    bands: tuple[ModelBand, ...]
    size: int

    def read(self, place: ChipPlace, region: Region | None = None) -> TrainingChip:
        """Read a chip.

        Args:
            place: The position.
            region: Read it as a validation chip of this region; None: as a training chip. Pixels that such a
                chip may not read are invalid, and their labels are ignored.
        """
        scene, window = self.scenes[place.scene], place.window
        values = np.full((len(self.bands), *window.shape), np.nan, np.float32)
        valid = np.zeros(window.shape, bool)
        labels = np.full(window.shape, IGNORE, np.uint8)
        inside = window.intersection(Window.from_shape(scene.shape))
        if inside is None:
            return TrainingChip(values, valid, labels)
        here = inside.slices(window)
        values[(slice(None), *here)], valid[here] = scene.image.read(inside)
        labels[here] = scene.read_labels(inside)
        if region is None:
            allowed = self.split.trains(place.scene, window)
        else:
            allowed = region.mask(window, self.split.buffers[place.scene])
        values[:, ~allowed] = np.nan
        labels[~allowed | ~valid] = IGNORE
        return TrainingChip(values, valid & allowed, labels)

    def normalise(self, chip: TrainingChip) -> ChipArrays:
        """Normalise a chip for the network: 0 wherever a pixel is invalid or a band is nodata."""
        return Normalisation.of(self.bands).apply(chip.values.copy(), chip.valid), chip.labels


class ChipPlacer:
    """Draws positions for training chips where there are labels.

    A share of the chips is placed on a class that is drawn with equal chances, so that rare classes occur;
    the others are placed on any label. Of several draws the first with half of its pixels labelled is taken,
    else the one with the most labels.

    Args:
        cells: Counts of the labels that train, by scene.
        size: Side of a chip in pixels.
        rare_share: Share of chips placed by class.

    Raises:
        SettingsError: If nothing is labelled.
    """

    def __init__(self, cells: Sequence[LabelCells], size: int, rare_share: float) -> None:
        self.cells, self.size, self.rare_share = tuple(cells), size, rare_share
        flat = [one.counts.reshape(-1, one.counts.shape[2]) for one in cells]
        self._first = np.cumsum([0, *(len(one) for one in flat)])
        counts = np.concatenate(flat)
        self.present = np.flatnonzero(counts.any(axis=0))
        if not self.present.size:
            raise SettingsError("no label is left to train on: all lie in validation regions or their buffer")
        self._any = _Weighted(counts.sum(axis=1))
        self._by_class = {int(index): _Weighted(counts[:, index]) for index in self.present}

    def draw(self, rng: np.random.Generator) -> ChipPlace:
        """Draw the position of one chip."""
        best, most = None, -1.0
        for _ in range(_TRIES):
            place = self._try(rng)
            share = self.cells[place.scene].around(place.window) / self.size**2
            if share > most:
                best, most = place, share
            if share >= _GOOD_SHARE:
                break
        assert best is not None
        return best

    def _try(self, rng: np.random.Generator) -> ChipPlace:
        is_rare = rng.random() < self.rare_share
        weighted = self._by_class[int(rng.choice(self.present))] if is_rare else self._any
        cell = weighted.draw(rng)
        scene = int(np.searchsorted(self._first, cell, side="right")) - 1
        cells = self.cells[scene]
        row, col = divmod(cell - int(self._first[scene]), cells.counts.shape[1])
        pixel = (axis * cells.size + int(rng.integers(cells.size)) for axis in (row, col))
        top, left = (axis - int(rng.integers(self.size)) for axis in pixel)
        return ChipPlace(scene, Window(top, left, self.size, self.size))


class _Weighted:
    """Draws indices with probabilities proportional to their weights."""

    def __init__(self, weights: NDArray[np.integer]) -> None:
        self.where = np.flatnonzero(weights)
        self.sums = np.cumsum(weights[self.where], dtype=np.int64)

    def draw(self, rng: np.random.Generator) -> int:
        return int(self.where[np.searchsorted(self.sums, rng.integers(self.sums[-1]), side="right")])


@dataclass(frozen=True)
class TrainingChips:
    """Endless training chips: number n is always the same chip.

    Attributes:
        reader: Reads the chips.
        placer: Draws their positions.
        augmentations: The augmentations.
        seed: Seed of everything random.
    """

    reader: ChipReader
    placer: ChipPlacer
    augmentations: AugmentSettings
    seed: int

    def chip(self, number: int) -> TrainingChip:
        """Read and augment a chip; it is not normalised."""
        rng = np.random.default_rng((self.seed, number))
        for _ in range(_TRIES):  # a chip drawn from a cell with few labels may contain none
            chip = self.reader.read(self._inside(self.placer.draw(rng)))
            if (chip.labels != IGNORE).any():
                break
        return augment(chip, self.reader.bands, self.augmentations, rng)

    def __getitem__(self, number: int) -> ChipArrays:
        return self.reader.normalise(self.chip(number))

    def _inside(self, place: ChipPlace) -> ChipPlace:
        """Move a chip inside the scene if it fits, because pixels beyond the edge have no labels."""
        window, shape = place.window, self.reader.scenes[place.scene].shape
        row = min(max(window.row, 0), max(shape[0] - window.height, 0))
        col = min(max(window.col, 0), max(shape[1] - window.width, 0))
        return ChipPlace(place.scene, Window(row, col, window.height, window.width))


class ValidationChips:
    """All labelled chips of the validation regions; every labelled pixel there is scored in exactly one.

    Args:
        reader: Reads the chips.
        cells: Counts of all labels, by scene.
    """

    def __init__(self, reader: ChipReader, cells: Sequence[LabelCells]) -> None:
        self.reader = reader
        self.places = [
            (ChipPlace(region.scene, window), core, region)
            for region in reader.split.validation
            for window, core in cut_region(
                region, reader.split, reader.scenes[region.scene].shape, reader.size
            )
            if cells[region.scene].around(core)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> ChipArrays:
        place, core, region = self.places[number]
        values, labels = self.reader.normalise(self.reader.read(place, region))
        return values, core_labels(labels, place.window, core, region)


def cut_region(
    region: Region, split: Split, shape: tuple[int, int], chip_size: int
) -> list[tuple[Window, Window]]:
    """Cut a validation region into chips.

    Args:
        region: The region.
        split: Its buffer is the context that a validation chip may read.
        shape: Rows and columns of the scene.
        chip_size: Side of a chip.

    Returns:
        (chip, core) pairs: the chip's window, which may reach beyond the scene, and the part of it that
        is scored. The cores tile the region's window.
    """
    margin = min(split.buffers[region.scene], chip_size // 8)
    inner = chip_size - 2 * margin
    window = region.window.grown(0, shape)
    pairs = []
    for row in range(window.row, window.row_stop, inner):
        for col in range(window.col, window.col_stop, inner):
            core = Window(row, col, inner, inner).intersection(window)
            if core is not None:
                pairs.append((Window(row - margin, col - margin, chip_size, chip_size), core))
    return pairs


def core_labels(labels: NDArray[np.uint8], window: Window, core: Window, region: Region) -> NDArray[np.uint8]:
    """Keep the labels of a chip that are scored: those in its core that belong to the region."""
    kept = np.full_like(labels, IGNORE)
    inside = core.slices(window)
    own = region.mask(core)
    kept[inside] = np.where(own, labels[inside], IGNORE)
    return kept
