"""Spatial folds: regions that validate, pixels that train, and a buffer between them that is not used.

A chip may lie across the border of a region. Pixels that it may not read enter it as nodata: invalid, 0,
without a label. So chips of any size work with regions of any shape, and no training chip reads a pixel of a
validation region or of the buffer around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, SettingsError
from geoseg.grid import Window
from geoseg.labels.polygons import find_column
from geoseg.omissions import Omission
from geoseg.scene.area import AreaOfInterest
from geoseg.scene.placing import GridOf, place_polygons
from geoseg.scene.vector import VectorPolygons, read_polygons
from geoseg.training.ground.labelled_scene import LabelCells, LabelledScene
from geoseg.training.recipe.settings import SplitSettings
from geoseg.units import parse_length

NO_FOLD = -1
"""Fold of regions that train in every fold."""


@dataclass(frozen=True)
class Region:
    """A part of a scene that belongs to one fold: a rectangle, or polygons.

    Attributes:
        scene: Index of the scene.
        fold: Its fold.
        window: Its bounding box, whole pixels.
        geometry: Polygons in pixel coordinates, x = column and y = row; None for the whole window.
    """

    scene: int
    fold: int
    window: Window
    geometry: Any = None

    def mask(self, window: Window, buffer: int = 0) -> NDArray[np.bool_]:
        """Mark pixels of ``window`` in the region or within ``buffer`` pixels of it, bool (rows, columns)."""
        inside = np.zeros(window.shape, bool)
        grown = Window.from_bounds(
            self.window.row - buffer, self.window.col - buffer,
            self.window.row_stop + buffer, self.window.col_stop + buffer,
        )  # fmt: skip
        common = grown.intersection(window)
        if common is None:
            return inside
        if self.geometry is None:
            inside[common.slices(window)] = True
        else:
            inside[common.slices(window)] = _area(self, buffer).mask(common)
        return inside


@lru_cache(maxsize=256)
def _area(region: Region, buffer: int) -> AreaOfInterest:
    geometry: Any = region.geometry
    return AreaOfInterest(region.window, geometry.buffer(buffer) if buffer else geometry)


@dataclass(frozen=True)
class Split:
    """The regions of all folds, and the fold that validates.

    Attributes:
        regions: Regions that belong to a fold.
        fold: The fold that validates; None if all labels train.
        buffers: Width in pixels of the buffer around validation regions, by scene.
        method: "blocks", "scenes", "polygons" or "none".
        omissions: Rows of the layer of fold polygons that are in no region.
    """

    regions: tuple[Region, ...]
    fold: int | None
    buffers: tuple[int, ...]
    method: str
    omissions: tuple[Omission, ...] = ()

    @property
    def validation(self) -> tuple[Region, ...]:
        """The regions that validate."""
        return () if self.fold is None else self.of(self.fold)

    @property
    def folds(self) -> tuple[int, ...]:
        """All folds that have regions, ascending."""
        return tuple(sorted({region.fold for region in self.regions} - {NO_FOLD}))

    def of(self, fold: int) -> tuple[Region, ...]:
        """List the regions of one fold."""
        return tuple(region for region in self.regions if region.fold == fold)

    def holding_out(self, fold: int | None) -> Split:
        """Return the same folds with another fold that validates, or none."""
        return replace(self, fold=fold)

    def trains(self, scene: int, window: Window) -> NDArray[np.bool_]:
        """Mark pixels that training chips may read: outside validation regions and their buffers."""
        allowed = np.ones(window.shape, bool)
        for region in self.validation:
            if region.scene == scene:
                allowed &= ~region.mask(window, self.buffers[scene])
        return allowed


def make_split(
    settings: SplitSettings,
    scenes: Sequence[LabelledScene],
    cells: Sequence[LabelCells],
    *,
    chip_size: int,
    seed: int,
) -> Split:
    """Split scenes into folds.

    Args:
        settings: The recipe's ``[split]`` table.
        scenes: The scenes.
        cells: Counts of their labels.
        chip_size: Side of training chips, for the default buffer.
        seed: Breaks ties between equal blocks.

    Returns:
        The split; the same arguments give the same split.

    Raises:
        SettingsError: If there are not enough labels for the folds.
    """
    if settings.method == "none":
        return Split((), None, (0,) * len(scenes), settings.method)
    buffers = tuple(
        chip_size // 4 if settings.buffer is None else in_pixels(settings.buffer, "buffer", scene)
        for scene in scenes
    )
    omissions: tuple[Omission, ...] = ()
    if settings.method == "polygons":
        regions, omissions = read_fold_polygons(settings, scenes)
    elif settings.method == "scenes":
        regions = _scenes(settings, scenes, cells, seed)
    else:
        regions = _blocks(settings, scenes, cells, seed)
    split = Split(tuple(regions), settings.fold, buffers, settings.method, omissions)
    if not split.validation:
        raise SettingsError(f"[split] fold {settings.fold} has no region, so nothing would validate")
    return split


def in_pixels(text: str, key: str, scene: LabelledScene) -> int:
    """Turn "64px", "640m" or "2km" into pixels of a scene.

    Raises:
        SettingsError: If it is not a length, or the scene's pixel size is unknown.
    """
    length = parse_length(text, f"[split] {key}", zero=True)
    if length.in_pixels:
        return round(length.amount)
    if scene.image.gsd is None:
        raise SettingsError(
            f"[split] {key} is {text}, and the pixel size of {scene.image.name} is unknown; give pixels (px)"
        )
    return round(length.amount / scene.image.gsd)


def default_block_size(scenes: Sequence[LabelledScene]) -> int:
    """Take a quarter of the smallest scene's shorter side, 64 to 768 pixels."""
    return min(max(min(min(scene.shape) for scene in scenes) // 4, 64), 768)


def _blocks(
    settings: SplitSettings, scenes: Sequence[LabelledScene], cells: Sequence[LabelCells], seed: int
) -> list[Region]:
    windows = []
    for number, scene in enumerate(scenes):
        size = default_block_size(scenes)
        if settings.block_size is not None:
            size = in_pixels(settings.block_size, "block_size", scene)
        if size < 1:
            raise SettingsError(f"[split] block_size is {settings.block_size}, less than a pixel")
        windows += [(number, window) for window in cut(scene.shape, size)]
    return _assign(
        windows, settings.folds, cells, seed, "blocks; a smaller block_size or fewer folds would do"
    )


def _scenes(
    settings: SplitSettings, scenes: Sequence[LabelledScene], cells: Sequence[LabelCells], seed: int
) -> list[Region]:
    windows = [(number, Window.from_shape(scene.shape)) for number, scene in enumerate(scenes)]
    if not settings.validation_scenes:
        return _assign(windows, settings.folds, cells, seed, "scenes; give more scenes, or fewer folds")
    named = [scene.image.name in settings.validation_scenes for scene in scenes]
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
    """Assign every window with labels to a fold; windows without labels belong to none."""
    counted = [(scene, window, _count(cells[scene], window)) for scene, window in windows]
    filled = [entry for entry in counted if entry[2].any()]
    if len(filled) < folds:
        raise SettingsError(
            f"[split] {folds} folds need at least as many labelled {lacking}: there are {len(filled)}"
        )
    chosen = balance(np.array([counts for _, _, counts in filled]), folds, seed)
    return [Region(scene, int(fold), window) for (scene, window, _), fold in zip(filled, chosen, strict=True)]


def _count(cells: LabelCells, window: Window) -> NDArray[np.int64]:
    """Count the labels of each class in the cells whose centre is in the window."""
    size, half = cells.size, cells.size // 2
    rows = slice(max(0, -(-(window.row - half) // size)), max(0, -(-(window.row_stop - half) // size)))
    cols = slice(max(0, -(-(window.col - half) // size)), max(0, -(-(window.col_stop - half) // size)))
    counted: NDArray[np.int64] = cells.counts[rows, cols].sum(axis=(0, 1), dtype=np.int64)
    return counted


def balance(counts: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Assign blocks to folds so that every fold gets an equal share of every class.

    Greedy: blocks with the largest share of any class come first, and each goes to the fold where it reduces
    most the sum over the classes of squared differences from an equal share. The number of blocks counts as
    one more class.

    Args:
        counts: Labelled pixels, int64 (blocks, classes).
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
        if empty.sum() >= len(order) - rank:  # the remaining blocks only just suffice for the empty folds
            gain = np.where(empty, gain, -np.inf)
        chosen[block] = np.argmax(gain)
        held[chosen[block]] += shares[block]
    return chosen


def read_fold_polygons(
    settings: SplitSettings, scenes: Sequence[LabelledScene]
) -> tuple[list[Region], tuple[Omission, ...]]:
    """Read the polygons of every fold and place them on every scene's grid; say which rows are left out.

    Args:
        settings: The recipe's ``[split]`` table; it names the layer and the column with the fold's number.
        scenes: The scenes.

    Raises:
        SettingsError: If the column is missing or holds other values than whole numbers.
        InputError: If the layer cannot be read, or a scene has no transform.
    """
    import shapely

    polygons = read_polygons(str(settings.polygons), "[split] polygons")
    folds = _folds_of(polygons, settings.column)
    used = np.zeros(len(folds), bool)
    regions: list[Region] = []
    for number, scene in enumerate(scenes):
        if scene.image.georeference.transform is None:
            raise InputError(f"{scene.image.name} has no transform, so polygons cannot be placed on it")
        grid = GridOf.of(scene.image)
        placed = place_polygons(polygons.shapes, polygons.crs, polygons.path, grid)
        here = grid.touches(placed)
        used |= here
        for fold in np.unique(folds[here]).tolist():
            region = _region(shapely.union_all(placed[here & (folds == fold)]), number, fold, scene)
            regions += [] if region is None else [region]
    if not regions:
        raise InputError(f"{settings.polygons}: no polygon lies on a scene; check its CRS")
    beyond = polygons.left_out(
        int(np.count_nonzero(~used)), "they lie on no scene", "polygons ([split] polygons)"
    )
    return regions, (*polygons.omissions, *beyond)


def _folds_of(polygons: VectorPolygons, wanted: str) -> NDArray[np.int64]:
    """Read the fold of every polygon."""
    import pandas

    column = find_column(polygons.path, list(polygons.attributes.columns), wanted)
    stored = polygons.attributes[column]
    folds = pandas.to_numeric(stored, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = ~(folds >= 0) | (folds != np.floor(folds)) | ~np.isfinite(folds)
    if wrong.any():
        raise SettingsError(
            f'{polygons.path}: column "{column}" holds {stored[wrong].iloc[0]!r}; '
            "folds are whole numbers from 0"
        )
    whole: NDArray[np.int64] = folds.astype(np.int64)
    return whole


def _region(pixels: Any, number: int, fold: int, scene: LabelledScene) -> Region | None:
    """Make the region of a fold from its polygons in pixels; None where they do not touch the scene."""
    left, top, right, bottom = pixels.bounds
    box = Window.from_bounds(math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right))
    window = box.intersection(Window.from_shape(scene.shape))
    return None if window is None else Region(number, fold, window, pixels)
