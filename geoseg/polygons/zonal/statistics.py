"""Zonal statistics (``--stats``): mean, std, min, max and count of other rasters over polygons.

``Zonal`` says which statistics of which rasters, ``sum_block`` sums over the pixels of a block,
``zonal_arrays`` turns the sums into columns. Polygons follow pixels, so each statistic covers exactly the
polygon's pixels.

Values are integers times a fixed step, so that sums are exact in any order and do not depend on blocks: the
stored numbers of a band of 8 or 16 bits, else physical values in steps of 2^-30 of the largest one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.polygons.zonal.indices import LARGEST, Index, compute
from geoseg.raster.components import Runs, sum_by_group
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = np.iinfo(np.int32).min
"""Marks a pixel without a value."""
STATISTICS = ("mean", "std", "min", "max", "count")
_BITS = 30
_LARGEST_VALUE = 1e30
"""Larger numbers are undeclared fill values."""
_PORTION = 2**20
_HALF = 30
"""Squares of numbers below 2^30 are summed in two halves of 30 bits, so that both sums fit into 64 bits."""
_MOST = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True)
class Zonal:
    """The statistics to compute over the pixels of every polygon, and their source.

    Attributes:
        scene: The scene that holds the bands, on the grid of the map.
        corner: Row and column of the map's first pixel in the scene; may lie outside of it.
        measures: The bands and indices.
        columns: The statistics of the measures.
    """

    scene: Scene
    corner: tuple[int, int]
    measures: tuple[Measure, ...]
    columns: tuple[ZonalColumn, ...]

    def read(self, row: int, column: int, height: int, width: int) -> ZonalValues:
        """Read the values in a window of the map; ``MISSING`` where the scene does not reach.

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


@dataclass(frozen=True, slots=True)
class Measure:
    """One value per pixel: a band or an index.

    Attributes:
        name: Its name, as requested.
        numbers: 1-based numbers of its bands in the scene; one for a band.
        index: The index; None for a band.
        step: Physical value = whole number * step + offset.
        offset: See ``step``.
        exact: Whether the whole numbers are the stored numbers; else they are rounded physical values.
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
        name: Name of the column.
        measure: Index of the measure.
        statistic: One of ``STATISTICS``.
    """

    name: str
    measure: int
    statistic: str


@dataclass(frozen=True, slots=True)
class ZonalValues:
    """The values of a block, and which sums are needed.

    Attributes:
        values: Whole numbers, int32 (measures, rows, columns); ``MISSING`` where there is no value.
        squares: Whether sums of squares are needed.
        extremes: Whether least and greatest values are needed.
    """

    values: NDArray[np.int32]
    squares: bool = False
    extremes: bool = False


def band_measure(scene: Scene, name: str, number: int) -> Measure:
    """Return the measure of a band; ``with_steps`` finds the step of bands with more than 16 bits."""
    band = next(layer.band for layer in scene.all_layers if layer.band.number == number)
    dtype = np.dtype(band.dtype)
    if dtype.kind == "c":
        raise SceneError(f"{scene.paths[0]}: band {band} holds complex numbers; take another for --stats")
    if dtype.kind in "iu" and dtype.itemsize <= 2 and band.lowest is None:
        return Measure(name, (number,), None, band.scale, band.offset)
    return Measure(name, (number,), None, math.nan, 0.0, exact=False)


def index_measure(name: str, numbers: tuple[int, ...], index: Index) -> Measure:
    """Return the measure of a spectral index."""
    return Measure(name, numbers, index, _step(LARGEST), 0.0, exact=False)


def with_steps(zonal: Zonal, shape: tuple[int, int]) -> Zonal:
    """Find the steps of bands with more than 16 bits; read those bands once.

    Args:
        zonal: The statistics.
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


def column_names(columns: Sequence[ZonalColumn]) -> tuple[str, ...]:
    """Return the names of the columns, in order."""
    return tuple(column.name for column in columns)


@dataclass(frozen=True, slots=True)
class ZonalSums:
    """Sums over the pixels of polygons, or of parts of them.

    Attributes:
        sums: int64 (parts, measures, 2 or 4): number of pixels with a value, sum of the values and, if
            needed, sums of the upper and of the lower halves of the squares.
        least: Least value, int32 (parts, measures); None if not needed.
        most: Greatest value, int32 (parts, measures); None if not needed.
    """

    sums: NDArray[np.int64]
    least: NDArray[np.int32] | None = None
    most: NDArray[np.int32] | None = None


def sum_block(runs: Runs, zonal: ZonalValues) -> ZonalSums:
    """Sum over the components of a block.

    Args:
        runs: The block's runs.
        zonal: Its values, and which sums are needed.
    """
    values = zonal.values
    count = runs.n_components
    sums = np.zeros((count, len(values), 4 if zonal.squares else 2), dtype=np.int64)
    least = np.full((count, len(values)), _MOST, dtype=np.int32) if zonal.extremes else None
    most = np.full((count, len(values)), MISSING, dtype=np.int32) if zonal.extremes else None

    def gather(pixels: NDArray[np.generic]) -> NDArray[np.int64]:
        over_runs = np.add.reduceat(pixels, runs.starts, dtype=np.int64)
        return sum_by_group(runs.component, over_runs, count)

    for number, plane in enumerate(values):
        flat = plane.ravel()
        there = flat != MISSING
        known = np.where(there, flat, 0)
        sums[:, number, 0] = gather(there)
        sums[:, number, 1] = gather(known)
        if zonal.squares:
            squares = known.astype(np.int64) ** 2
            sums[:, number, 2] = gather(squares >> _HALF)
            sums[:, number, 3] = gather(squares & (2**_HALF - 1))
        if least is not None and most is not None:
            low = np.minimum.reduceat(np.where(there, flat, _MOST), runs.starts)
            np.minimum.at(least[:, number], runs.component, low)
            np.maximum.at(most[:, number], runs.component, np.maximum.reduceat(flat, runs.starts))
    return ZonalSums(sums, least, most)


def zonal_arrays(zonal: Zonal, sums: ZonalSums) -> list[pa.Array]:
    """Compute the columns, in order; null if no pixel of a polygon has a value."""
    import pyarrow as pa

    made = []
    for column in zonal.columns:
        if column.statistic == "count":
            made.append(pa.array(sums.sums[:, column.measure, 0]))
        else:
            made.append(pa.array(_values(zonal, column, sums), pa.float64(), from_pandas=True))
    return made


def _round(values: NDArray[np.float64], measure: Measure, target: NDArray[np.int32]) -> None:
    there = np.abs(values) <= 2.0**_BITS * measure.step
    target[:] = np.rint(np.where(there, values, 0.0) / measure.step)
    target[~there] = MISSING


def _largest(scene: Scene, corner: tuple[int, int], shape: tuple[int, int]) -> list[float]:
    """Find the largest magnitude of every band inside the map."""
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
    """Return the power of two in whose multiples values up to the largest are whole numbers below 2^30."""
    return 2.0 ** (math.ceil(math.log2(largest)) - _BITS) if largest > 0 else 1.0


def _values(zonal: Zonal, column: ZonalColumn, found: ZonalSums) -> NDArray[np.float64]:
    values: Any
    measure = zonal.measures[column.measure]
    sums = found.sums[:, column.measure]
    unknown = sums[:, 0] == 0
    counts = np.where(unknown, 1, sums[:, 0])
    if column.statistic == "mean":
        values = sums[:, 1] / counts * measure.step + measure.offset
    elif column.statistic == "std":
        values = abs(measure.step) * _deviation(counts, sums)
    else:
        # A negative scale swaps least and greatest.
        is_least = (column.statistic == "min") == (measure.step > 0)
        extreme = found.least if is_least else found.most
        assert extreme is not None
        values = extreme[:, column.measure] * measure.step + measure.offset
    found_values: NDArray[np.float64] = np.where(unknown, np.nan, values)
    return found_values


def _deviation(counts: NDArray[np.int64], sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the population standard deviation over each polygon, in steps, without cancellation.

    With the mean m rounded down and the remainder r = sum - n m, the sum of (q - m)^2 equals the sum of q^2
    minus m (sum + r). Both halves of this difference fit into 64 bits.
    """
    mean, rest = np.divmod(sums[:, 1], counts)
    other = sums[:, 1] + rest
    upper = sums[:, 2] - mean * (other >> _HALF)
    lower = sums[:, 3] - mean * (other & (2**_HALF - 1))
    about_mean = upper * 2.0**_HALF + lower
    variance = about_mean / counts - (rest / counts) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))
