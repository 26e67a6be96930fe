"""Labelled scenes: a scene with its labels as class indices, and counts of its labels in small cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE, LandClass
from geoseg.errors import InputError
from geoseg.grid import Window, tiles
from geoseg.labels.labels import Labels, open_labels
from geoseg.scene.match import resolve
from geoseg.scene.opening import open_scene
from geoseg.scene.scene import Scene
from geoseg.training.recipe.recipe import Recipe

STREAM = 1024
"""Side of the windows in which scenes are read, in pixels; a multiple of every cell size."""
_SMALLEST_CELL = 16
_MOST_CELLS = 2**21

Mask = Callable[[Window], NDArray[np.bool_]]


@dataclass(frozen=True)
class LabelledScene:
    """One scene and its labels.

    Attributes:
        image: The scene's bands, in the network's order.
        labels: Its labels on its grid.
        class_ids: Class ids by index, ascending.
        rim: Labels within this many pixels of a different label are ignored.
    """

    image: Scene
    labels: Labels
    class_ids: tuple[int, ...]
    rim: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.image.shape

    @cached_property
    def _index_of(self) -> NDArray[np.uint8]:
        table = np.full(256, IGNORE, np.uint8)
        table[list(self.class_ids)] = np.arange(len(self.class_ids))
        return table

    def read_labels(self, window: Window) -> NDArray[np.uint8]:
        """Read class indices in a window inside the scene, uint8 (rows, columns), ``IGNORE`` for no label.

        Raises:
            InputError: If a label is not a class, naming the file.
        """
        grown = window.grown(self.rim, self.shape)
        ids = self.labels.read(grown)
        indices = self._index_of[ids]
        if ((indices == IGNORE) & (ids != IGNORE)).any():
            unknown = sorted(set(np.unique(ids).tolist()) - {IGNORE, *self.class_ids})
            raise InputError(f"{self.labels.path}: label {unknown[0]} is not a class of the recipe")
        if self.rim:
            indices[_near_borders(indices, self.rim)] = IGNORE
        return indices[window.slices(grown)]

    def windows(self) -> Iterator[Window]:
        """Tile the scene with windows, in row order."""
        return tiles(self.shape, STREAM)


def open_labelled_scenes(recipe: Recipe) -> tuple[LabelledScene, ...]:
    """Open the scenes and labels of a recipe; only headers are read.

    Raises:
        InputError: If a file cannot be opened, or a scene lacks bands of the others.
    """
    reading, values = recipe.reading, recipe.label_values
    remap = cast("Mapping[int | str, int]", values.remap)
    scenes: list[LabelledScene] = []
    wanted: Sequence[str | int] | None = recipe.bands
    for paths, label_path in zip(recipe.scenes, recipe.labels, strict=True):
        image = open_scene(
            paths, nodata=reading.nodata, scale=reading.scale, offset=reading.offset, warp=reading.warp
        )
        if wanted is None:
            wanted = [band.common_name or band.number for band in image.bands]
        named = resolve(image, wanted)
        image = named.scene.select(named.numbers, invalid_where=reading.invalid_where)
        labels = open_labels(
            label_path,
            image,
            recipe.classes,
            column=values.column,
            remap=remap or None,
            ignore=values.ignore,
        )
        ids = tuple(land_class.id for land_class in recipe.classes)
        scenes.append(LabelledScene(image, labels, ids, values.rim))
    return tuple(scenes)


def band_names(scene: Scene) -> tuple[str, ...]:
    """Name the bands for the model card: common names, else descriptions, else numbers; all different."""
    names: list[str] = []
    for band in scene.bands:
        name = band.common_name or band.name or f"band {band.number}"
        names.append(name if name not in names else f"{name} ({band.number})")
    return tuple(names)


@dataclass(frozen=True)
class LabelCells:
    """Counts of the labels of each class in the cells of a regular lattice over a scene.

    Attributes:
        size: Side of a cell in pixels.
        counts: uint32 (cell rows, cell columns, classes).
    """

    size: int
    counts: NDArray[np.uint32]

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """Labelled pixels of each class."""
        totals: NDArray[np.int64] = self.counts.sum(axis=(0, 1), dtype=np.int64)
        return totals

    @cached_property
    def _integral(self) -> NDArray[np.int64]:
        sums = self.counts.sum(axis=2, dtype=np.int64).cumsum(axis=0).cumsum(axis=1)
        return np.pad(sums, ((1, 0), (1, 0)))

    def around(self, window: Window) -> int:
        """Count labelled pixels in the cells that touch the window; an upper bound of those in the window."""
        rows, cols = self.counts.shape[:2]
        top, left = max(0, window.row // self.size), max(0, window.col // self.size)
        bottom, right = (
            min(rows, -(-window.row_stop // self.size)),
            min(cols, -(-window.col_stop // self.size)),
        )
        if top >= bottom or left >= right:
            return 0
        i = self._integral
        return int(i[bottom, right] - i[top, right] - i[bottom, left] + i[top, left])


def count_labels(scene: LabelledScene, mask: Mask | None = None) -> LabelCells:
    """Count the labels of a scene in small cells, reading it once.

    Args:
        scene: The scene.
        mask: Marks the pixels to count in a window; None for all.

    Raises:
        InputError: If a label is not a class.
        RunError: If a file cannot be read.
    """
    size = _cell_size(scene.shape)
    cells = tuple(-(-n // size) for n in scene.shape)
    counts = np.zeros((*cells, len(scene.class_ids)), np.uint32)
    for window in scene.windows():
        labels = scene.read_labels(window)
        if mask is not None:
            labels[~mask(window)] = IGNORE
        row, col = window.row // size, window.col // size
        for index in np.unique(labels):
            if index != IGNORE:
                part = _sum_cells(labels == index, size)
                counts[row : row + part.shape[0], col : col + part.shape[1], index] = part
    return LabelCells(size, counts)


def _cell_size(shape: tuple[int, int]) -> int:
    size = _SMALLEST_CELL
    while (shape[0] // size) * (shape[1] // size) > _MOST_CELLS and size < STREAM:
        size *= 2
    return size


def _sum_cells(hits: NDArray[np.bool_], size: int) -> NDArray[np.uint32]:
    rows, cols = (-(-n // size) for n in hits.shape)
    padded = np.zeros((rows * size, cols * size), bool)
    padded[: hits.shape[0], : hits.shape[1]] = hits
    summed: NDArray[np.uint32] = padded.reshape(rows, size, cols, size).sum(axis=(1, 3), dtype=np.uint32)
    return summed


def _near_borders(indices: NDArray[np.uint8], rim: int) -> NDArray[np.bool_]:
    """Mark pixels with two different labels within ``rim`` pixels; a missing label is not a different one."""
    from scipy.ndimage import maximum_filter, minimum_filter

    known = indices != IGNORE
    largest = maximum_filter(np.where(known, indices.astype(np.int16), -1), 2 * rim + 1, mode="nearest")
    smallest = minimum_filter(np.where(known, indices.astype(np.int16), 999), 2 * rim + 1, mode="nearest")
    near: NDArray[np.bool_] = (largest > smallest) & (smallest < 999)
    return near


def class_table(classes: Sequence[LandClass], counts: NDArray[np.int64]) -> dict[str, int]:
    """Key counts by the names of their classes."""
    return {land_class.name: int(count) for land_class, count in zip(classes, counts, strict=True)}
