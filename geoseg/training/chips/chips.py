"""Training and validation chips; what a chip holds depends on its number and the seed alone."""

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
from geoseg.training.chips.augment.chip import TrainingChip
from geoseg.training.chips.augment.pipeline import AugmentSettings, augment
from geoseg.training.chips.tiles import keep, tiles
from geoseg.training.ground.folds import Split
from geoseg.training.ground.ground import Ground, LabelCells
from geoseg.training.ground.regions import Region

Sample = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""What the network gets: normalised (bands, rows, columns), and class indices (rows, columns)."""

_TRIES = 8
_GOOD_SHARE = 0.5


@dataclass(frozen=True)
class Place:
    """Where a chip lies.

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
        grounds: The scenes.
        split: Who reads what.
        bands: Their normalisation.
        size: Side of a chip in pixels.
    """

    grounds: tuple[Ground, ...]
    split: Split
    bands: tuple[ModelBand, ...]
    size: int

    def read(self, place: Place, region: Region | None = None) -> TrainingChip:
        """Read a chip.

        Args:
            place: Where.
            region: Read as a validation chip of this region; None as a training chip. Pixels that it may not
                read are invalid, and their labels ignored.
        """
        ground, window = self.grounds[place.scene], place.window
        values = np.full((len(self.bands), *window.shape), np.nan, np.float32)
        valid = np.zeros(window.shape, bool)
        labels = np.full(window.shape, IGNORE, np.uint8)
        inside = window.intersection(Window.from_shape(ground.shape))
        if inside is None:
            return TrainingChip(values, valid, labels)
        here = inside.slices(window)
        values[(slice(None), *here)], valid[here] = ground.scene.read(inside)
        labels[here] = ground.read_labels(inside)
        if region is None:
            allowed = self.split.trains(place.scene, window)
        else:
            allowed = region.mask(window, self.split.buffers[place.scene])
        values[:, ~allowed] = np.nan
        labels[~allowed | ~valid] = IGNORE
        return TrainingChip(values, valid & allowed, labels)

    def normalise(self, chip: TrainingChip) -> Sample:
        """What the network gets of a chip: 0 wherever a pixel is invalid or a band is nodata."""
        normalisation = Normalisation(
            np.array([band.mean for band in self.bands], np.float32),
            np.array([band.std for band in self.bands], np.float32),
        )
        return normalisation.apply(chip.values.copy(), chip.valid), chip.labels


class Placer:
    """Draws places for training chips where labels are.

    A share of the chips is placed on a class drawn with equal chances, so that rare classes are seen; the
    others on any label. Of some tries the first that is half labelled is taken, else the best.

    Args:
        cells: Labels that train, counted, by scene.
        size: Side of a chip in pixels.
        rare_share: See above.

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
            raise SettingsError("no label is left to train on: all lie in validation ground or its buffer")
        self._any = _Weighted(counts.sum(axis=1))
        self._by_class = {int(index): _Weighted(counts[:, index]) for index in self.present}

    def draw(self, rng: np.random.Generator) -> Place:
        """A place for one chip."""
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

    def _try(self, rng: np.random.Generator) -> Place:
        is_rare = rng.random() < self.rare_share
        weighted = self._by_class[int(rng.choice(self.present))] if is_rare else self._any
        cell = weighted.draw(rng)
        scene = int(np.searchsorted(self._first, cell, side="right")) - 1
        cells = self.cells[scene]
        row, col = divmod(cell - int(self._first[scene]), cells.counts.shape[1])
        pixel = (axis * cells.size + int(rng.integers(cells.size)) for axis in (row, col))
        top, left = (axis - int(rng.integers(self.size)) for axis in pixel)
        return Place(scene, Window(top, left, self.size, self.size))


class _Weighted:
    """Draws indices as often as their weights say."""

    def __init__(self, weights: NDArray[np.integer]) -> None:
        self.where = np.flatnonzero(weights)
        self.sums = np.cumsum(weights[self.where], dtype=np.int64)

    def draw(self, rng: np.random.Generator) -> int:
        return int(self.where[np.searchsorted(self.sums, rng.integers(self.sums[-1]), side="right")])


@dataclass(frozen=True)
class TrainingChips:
    """Endless training chips: number n is always the same chip.

    Attributes:
        reader: Reads them.
        placer: Places them.
        augmentations: Change them.
        seed: Of everything random.
    """

    reader: ChipReader
    placer: Placer
    augmentations: AugmentSettings
    seed: int

    def chip(self, number: int) -> TrainingChip:
        """An augmented chip, not normalised."""
        rng = np.random.default_rng((self.seed, number))
        for _ in range(_TRIES):  # a cell with few labels may give a chip without any
            chip = self.reader.read(self._inside(self.placer.draw(rng)))
            if (chip.labels != IGNORE).any():
                break
        return augment(chip, self.reader.bands, self.augmentations, rng)

    def __getitem__(self, number: int) -> Sample:
        return self.reader.normalise(self.chip(number))

    def _inside(self, place: Place) -> Place:
        """Move a chip into the scene where it fits: what lies beyond the edge teaches nothing."""
        window, shape = place.window, self.reader.grounds[place.scene].shape
        row = min(max(window.row, 0), max(shape[0] - window.height, 0))
        col = min(max(window.col, 0), max(shape[1] - window.width, 0))
        return Place(place.scene, Window(row, col, window.height, window.width))


class ValidationChips:
    """All labelled chips of the ground that validates; every labelled pixel of it is in one of them.

    Args:
        reader: Reads them.
        cells: All labels, counted, by scene.
    """

    def __init__(self, reader: ChipReader, cells: Sequence[LabelCells]) -> None:
        self.reader = reader
        self.places = [
            (Place(region.scene, window), core, region)
            for region in reader.split.validation
            for window, core in tiles(region, reader.split, reader.grounds[region.scene].shape, reader.size)
            if cells[region.scene].around(core)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Sample:
        place, core, region = self.places[number]
        values, labels = self.reader.normalise(self.reader.read(place, region))
        return values, keep(labels, place.window, core, region)
