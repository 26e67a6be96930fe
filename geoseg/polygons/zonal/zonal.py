"""Statistics of other rasters over the pixels of polygons: which ones, and the values they are made of.

Polygons follow pixels, so a statistic over the pixels of a polygon is exact up to its border. Values are
whole numbers of a fixed step, so that sums are exact in any order and no answer depends on blocks: the stored
numbers of a band of 8 or 16 bits, else physical values in steps of 2^-30 of the largest one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.polygons.zonal.indices import LARGEST, Index, compute
from geoseg.scene.scene import Scene

MISSING = np.iinfo(np.int32).min
"""Stands for no value."""
STATISTICS = ("mean", "std", "min", "max", "count")
_BITS = 30
_LARGEST_VALUE = 1e30
"""Larger numbers are fill values that nobody declared."""
_PORTION = 2**20


@dataclass(frozen=True, slots=True)
class Measure:
    """One value a pixel: a band or an index.

    Attributes:
        name: As it was asked for.
        numbers: 1-based numbers of its bands in the scene; one for a band.
        index: The index; None for a band.
        step: Physical value = whole number * step + offset.
        offset: See ``step``.
        exact: Whether the whole numbers are the stored ones; else they are physical values in steps.
    """

    name: str
    numbers: tuple[int, ...]
    index: Index | None = None
    step: float = 1.0
    offset: float = 0.0
    exact: bool = True


@dataclass(frozen=True, slots=True)
class ZonalColumn:
    """A statistic that becomes a column.

    Attributes:
        name: Of the column.
        measure: Which measure, by its place.
        statistic: One of ``STATISTICS``.
    """

    name: str
    measure: int
    statistic: str


@dataclass(frozen=True, slots=True)
class ZonalValues:
    """The values of a block, and what is to be added up.

    Attributes:
        values: Whole numbers, int32 (measures, rows, columns), ``MISSING`` where there is no value.
        squares: Whether squares have to be added up.
        extremes: Whether least and greatest values have to be found.
    """

    values: NDArray[np.int32]
    squares: bool = False
    extremes: bool = False


@dataclass(frozen=True, slots=True)
class Zonal:
    """What is to be computed over the pixels of every polygon, and from what.

    Attributes:
        scene: Holds the bands, on the grid of the map.
        corner: Row and column of the map's first pixel in the scene; may lie outside of it.
        measures: The values.
        columns: The statistics of them.
    """

    scene: Scene
    corner: tuple[int, int]
    measures: tuple[Measure, ...]
    columns: tuple[ZonalColumn, ...]

    def read(self, row: int, column: int, height: int, width: int) -> ZonalValues:
        """The values in a window of the map; nothing where the scene does not reach.

        Raises:
            RunError: If a file cannot be read.
        """
        values = np.full((len(self.measures), height, width), MISSING, dtype=np.int32)
        window = Window(self.corner[0] + row, self.corner[1] + column, height, width)
        inside = window.intersection(Window.from_shape(self.scene.shape))
        if inside is not None:
            values[(slice(None), *inside.slices(window))] = self._read(inside)
        asked = {column.statistic for column in self.columns}
        return ZonalValues(values, "std" in asked, not asked.isdisjoint(("min", "max")))

    def _read(self, window: Window) -> NDArray[np.int32]:
        numbers = sorted({number for measure in self.measures for number in measure.numbers})
        scene = self.scene.select(numbers)
        raw = scene.read_raw(window)
        gone = raw.missing | raw.hidden
        physical: dict[int, NDArray[np.float64]] = {}

        def band(number: int) -> NDArray[np.float64]:
            if number not in physical:
                at = numbers.index(number)
                found = scene.bands[at].physical(raw.stored[at]).astype(np.float64)
                found[gone[at]] = np.nan
                physical[number] = found
            return physical[number]

        values = np.empty((len(self.measures), *window.shape), dtype=np.int32)
        for target, measure in zip(values, self.measures, strict=True):
            if measure.exact:
                at = numbers.index(measure.numbers[0])
                target[:] = raw.stored[at]
                target[gone[at]] = MISSING
            elif measure.index is not None:
                _round(compute(measure.index, [band(number) for number in measure.numbers]), measure, target)
            else:
                _round(band(measure.numbers[0]), measure, target)
        return values


def _round(values: NDArray[np.float64], measure: Measure, target: NDArray[np.int32]) -> None:
    there = np.abs(values) <= 2.0**_BITS * measure.step
    target[:] = np.rint(np.where(there, values, 0.0) / measure.step)
    target[~there] = MISSING


def band_measure(scene: Scene, name: str, number: int) -> Measure:
    """A band as a measure; with more than 16 bits its step is still to be found (``with_steps``)."""
    band = next(layer.band for layer in scene.all_layers if layer.band.number == number)
    dtype = np.dtype(band.dtype)
    if dtype.kind == "c":
        raise SceneError(f"{scene.paths[0]}: band {band} holds complex numbers; take another for --stats")
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return Measure(name, (number,), None, band.scale, band.offset)
    return Measure(name, (number,), None, math.nan, 0.0, exact=False)


def index_measure(name: str, numbers: tuple[int, ...], index: Index) -> Measure:
    """An index of bands as a measure."""
    return Measure(name, numbers, index, _step(LARGEST), 0.0, exact=False)


def with_steps(zonal: Zonal, shape: tuple[int, int]) -> Zonal:
    """Give bands of more than 16 bits their steps; reads those bands once.

    Args:
        zonal: What is asked for.
        shape: Rows and columns of the map.
    """
    wide = [measure for measure in zonal.measures if math.isnan(measure.step)]
    if not wide:
        return zonal
    numbers = [measure.numbers[0] for measure in wide]
    largest = _largest(zonal.scene.select(numbers), zonal.corner, shape)
    steps = {number: _step(value) for number, value in zip(numbers, largest, strict=True)}
    measures = tuple(replace(m, step=steps[m.numbers[0]]) if m in wide else m for m in zonal.measures)
    return replace(zonal, measures=measures)


def _largest(scene: Scene, corner: tuple[int, int], shape: tuple[int, int]) -> list[float]:
    """The largest magnitude of every band on the map."""
    largest = np.zeros(len(scene.bands))
    whole = Window(*corner, *shape).intersection(Window.from_shape(scene.shape))
    if whole is None:
        return [0.0] * len(scene.bands)
    height = max(scene.storage_block_shape[0], _PORTION // whole.width)
    for row in range(whole.row, whole.row + whole.height, height):
        rows = min(height, whole.row + whole.height - row)
        values = np.abs(scene.read(Window(row, whole.col, rows, whole.width))[0])
        values[~(values < _LARGEST_VALUE)] = 0.0
        largest = np.maximum(largest, values.max(axis=(1, 2)))
    return [float(value) for value in largest]


def _step(largest: float) -> float:
    """A power of two by which values up to the largest are whole numbers below 2^30."""
    return 2.0 ** (math.ceil(math.log2(largest)) - _BITS) if largest > 0 else 1.0


def column_names(columns: Sequence[ZonalColumn]) -> tuple[str, ...]:
    """Names of the columns, in order."""
    return tuple(column.name for column in columns)
