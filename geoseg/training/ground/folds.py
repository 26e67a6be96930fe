"""Spatial folds: which ground validates, which trains, and the buffer between them that nobody trains on.

A chip may lie across a border, but what it may not read enters it as nodata does: invalid, 0, without a
label. So any chip size works with blocks and polygons of any shape, and still no chip of one fold reads a
pixel of another fold's ground or of the buffer around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SettingsError
from geoseg.grid import Window
from geoseg.training.ground.fold_polygons import read_fold_polygons
from geoseg.training.ground.ground import Ground, LabelCells
from geoseg.training.ground.regions import Region
from geoseg.training.recipe.settings import SplitSettings
from geoseg.units import parse_length

NO_FOLD = -1
"""Ground that trains in every fold."""


@dataclass(frozen=True)
class Split:
    """Who reads what.

    Attributes:
        regions: Everything that belongs to a fold.
        fold: The fold that validates; None if all ground trains.
        buffers: Pixels around validation regions that no training chip reads, by scene.
        method: "blocks", "scenes", "polygons" or "none".
    """

    regions: tuple[Region, ...]
    fold: int | None
    buffers: tuple[int, ...]
    method: str

    @property
    def validation(self) -> tuple[Region, ...]:
        """The regions that validate."""
        return () if self.fold is None else self.of(self.fold)

    @property
    def folds(self) -> tuple[int, ...]:
        """All folds that have ground, ascending."""
        return tuple(sorted({region.fold for region in self.regions} - {NO_FOLD}))

    def of(self, fold: int) -> tuple[Region, ...]:
        """The regions of one fold."""
        return tuple(region for region in self.regions if region.fold == fold)

    def holding_out(self, fold: int | None) -> Split:
        """The same folds with another one that validates, or none."""
        return replace(self, fold=fold)

    def trains(self, scene: int, window: Window) -> NDArray[np.bool_]:
        """Pixels that training chips may read: outside validation regions and their buffers."""
        allowed = np.ones(window.shape, bool)
        for region in self.validation:
            if region.scene == scene:
                allowed &= ~region.mask(window, self.buffers[scene])
        return allowed


def make_split(
    settings: SplitSettings,
    grounds: Sequence[Ground],
    cells: Sequence[LabelCells],
    *,
    chip_size: int,
    seed: int,
) -> Split:
    """Cut the ground into folds.

    Args:
        settings: The recipe's.
        grounds: The scenes.
        cells: Their labels, counted.
        chip_size: Of training chips, for the default buffer.
        seed: Breaks ties between blocks alike.

    Returns:
        The split: same input, same split.

    Raises:
        SettingsError: If there is not enough labelled ground for the folds.
    """
    if settings.method == "none":
        return Split((), None, (0,) * len(grounds), settings.method)
    buffers = tuple(
        chip_size // 4 if settings.buffer is None else in_pixels(settings.buffer, "buffer", ground)
        for ground in grounds
    )
    if settings.method == "polygons":
        regions = read_fold_polygons(settings, grounds)
    elif settings.method == "scenes":
        regions = _scenes(settings, grounds, cells, seed)
    else:
        regions = _blocks(settings, grounds, cells, seed)
    split = Split(tuple(regions), settings.fold, buffers, settings.method)
    if not split.validation:
        raise SettingsError(f"[split] nothing belongs to fold {settings.fold}, so nothing would validate")
    return split


def in_pixels(text: str, key: str, ground: Ground) -> int:
    """Turn "64px", "640m" or "2km" into pixels of a scene.

    Raises:
        SettingsError: If it is no length, or the scene does not know its pixel size.
    """
    length = parse_length(text, f"[split] {key}", zero=True)
    if length.in_pixels:
        return round(length.amount)
    if ground.scene.gsd is None:
        raise SettingsError(
            f"[split] {key} is {text}, and {ground.scene.name} does not say how large its pixels are; give px"
        )
    return round(length.amount / ground.scene.gsd)


def default_block_size(grounds: Sequence[Ground]) -> int:
    """A quarter of the smallest scene's shorter side, 64 to 768 pixels."""
    return min(max(min(min(ground.shape) for ground in grounds) // 4, 64), 768)


def _blocks(
    settings: SplitSettings, grounds: Sequence[Ground], cells: Sequence[LabelCells], seed: int
) -> list[Region]:
    windows = []
    for number, ground in enumerate(grounds):
        size = default_block_size(grounds)
        if settings.block_size is not None:
            size = in_pixels(settings.block_size, "block_size", ground)
        if size < 1:
            raise SettingsError(f"[split] block_size is {settings.block_size}, less than a pixel")
        windows += [(number, window) for window in cut(ground.shape, size)]
    return _assign(
        windows, settings.folds, cells, seed, "blocks; a smaller block_size or fewer folds would do"
    )


def _scenes(
    settings: SplitSettings, grounds: Sequence[Ground], cells: Sequence[LabelCells], seed: int
) -> list[Region]:
    windows = [(number, Window.from_shape(ground.shape)) for number, ground in enumerate(grounds)]
    if not settings.validation_scenes:
        return _assign(windows, settings.folds, cells, seed, "scenes; give more scenes, or fewer folds")
    named = [ground.scene.name in settings.validation_scenes for ground in grounds]
    if all(named):
        raise SettingsError("[split] validation_scenes names every scene, so nothing is left to train on")
    return [
        Region(number, settings.fold if is_named else NO_FOLD, window)
        for (number, window), is_named in zip(windows, named, strict=True)
    ]


def cut(shape: tuple[int, int], size: int) -> list[Window]:
    """Tile a scene with blocks of nearly equal sides, as near to ``size`` as whole blocks can be."""
    rows, cols = (
        [round(n * i / max(1, round(n / size))) for i in range(max(1, round(n / size)) + 1)] for n in shape
    )
    return [
        Window.from_bounds(rows[i], cols[j], rows[i + 1], cols[j + 1])
        for i in range(len(rows) - 1)
        for j in range(len(cols) - 1)
    ]


def _assign(
    windows: Sequence[tuple[int, Window]], folds: int, cells: Sequence[LabelCells], seed: int, lacking: str
) -> list[Region]:
    """Give every window with labels a fold; windows without are nobody's."""
    counted = [(scene, window, _count(cells[scene], window)) for scene, window in windows]
    filled = [entry for entry in counted if entry[2].any()]
    if len(filled) < folds:
        raise SettingsError(
            f"[split] {folds} folds need at least as many labelled {lacking}: there are {len(filled)}"
        )
    chosen = balance(np.array([counts for _, _, counts in filled]), folds, seed)
    return [Region(scene, int(fold), window) for (scene, window, _), fold in zip(filled, chosen, strict=True)]


def _count(cells: LabelCells, window: Window) -> NDArray[np.int64]:
    """Labels of each class in the cells whose centre is in the window."""
    size, half = cells.size, cells.size // 2
    rows = slice(max(0, -(-(window.row - half) // size)), max(0, -(-(window.row_stop - half) // size)))
    cols = slice(max(0, -(-(window.col - half) // size)), max(0, -(-(window.col_stop - half) // size)))
    counted: NDArray[np.int64] = cells.counts[rows, cols].sum(axis=(0, 1), dtype=np.int64)
    return counted


def balance(counts: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Share blocks out so that every fold gets its part of every class.

    Greedy: blocks with most of something rare come first, and each goes to the fold where the squares of all
    classes' shortfalls against an equal share fall most. The number of blocks counts like one more class.

    Args:
        counts: int64 (blocks, classes).
        folds: Number of folds, at most the number of blocks.
        seed: Breaks ties.

    Returns:
        int64 (blocks,): the fold of each block; no fold is empty.
    """
    total = counts.sum(axis=0)
    shares = np.column_stack([counts[:, total > 0] / total[total > 0], np.full(len(counts), 1 / len(counts))])
    tie = np.random.default_rng(seed).permutation(len(counts))
    order = np.lexsort((tie, -shares.max(axis=1)))
    held = np.zeros((folds, shares.shape[1]))
    chosen = np.empty(len(counts), np.int64)
    for rank, block in enumerate(order):
        gain = ((1 / folds - held) ** 2 - (1 / folds - held - shares[block]) ** 2).sum(axis=1)
        empty = ~held.any(axis=1)
        if empty.sum() >= len(order) - rank:  # every block left is needed to fill a fold
            gain = np.where(empty, gain, -np.inf)
        chosen[block] = np.argmax(gain)
        held[chosen[block]] += shares[block]
    return chosen
