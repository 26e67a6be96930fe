"""Confidence intervals by resampling blocks of the map.

Pixels near each other are right or wrong together, so a million pixels are not a million independent trials.
Blocks of a regular lattice are drawn with replacement instead (spatial block bootstrap; Lahiri 2003,
"Resampling Methods for Dependent Data"), and every score is computed again from the sums over the drawn
blocks. The interval is that of the percentiles of these scores (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.scores import Floats
from geoseg.errors import SettingsError
from geoseg.raster.georeference import Georeference
from geoseg.units import parse_length

REPLICATES = 1000
LEVEL = 0.95
FEW_BLOCKS = 20
"""With fewer blocks an interval is rough, and tends to be too narrow."""
_DEFAULT_BLOCK = 512
_LEAST_DEFAULT = 32
_SMALLEST_BLOCK = 16
_PORTION = 100
"""Replicates computed at once, to bound memory."""

Measure = Callable[[Floats], Mapping[str, Floats]]


def block_size(text: str | None, georeference: Georeference, shape: tuple[int, int]) -> int:
    """Choose the side of the blocks that are resampled, in pixels.

    Args:
        text: ``"7.5km"``, ``"512px"``; by default 512 pixels, or less on rasters that hold fewer than eight
            of these on their longer side.
        georeference: Where the raster lies.
        shape: Its rows and columns.

    Raises:
        SettingsError: If it is not a length, is in metres where a pixel's size is unknown, or is too small.
    """
    if text is None:
        return min(_DEFAULT_BLOCK, max(_LEAST_DEFAULT, max(shape) // 8))
    length = parse_length(text, "--blocks")
    side = length.amount
    if not length.in_pixels:
        gsd = georeference.gsd(shape)
        if gsd is None:
            raise SettingsError(f"--blocks {text}: the map has no CRS, so give pixels, as in 512px")
        side /= gsd
    if side < _SMALLEST_BLOCK:
        raise SettingsError(
            f"--blocks {text} is {side:.3g} pixels; under {_SMALLEST_BLOCK} pixels intervals are far too "
            "narrow, because neighbouring pixels are wrong together"
        )
    return round(side)


@dataclass
class BlockSums:
    """Whole-number sums of each block of a lattice, gathered in any order and in pieces.

    Attributes:
        size: Side of a block in pixels.
        width: Length of a block's sums.
    """

    size: int
    width: int
    _keys: list[tuple[int, int]] = field(default_factory=list)
    _places: list[NDArray[np.intp]] = field(default_factory=list)
    _values: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, block: tuple[int, int], sums: NDArray[np.int64]) -> None:
        """Add to the sums of the block at (row, column) of the lattice."""
        places = np.flatnonzero(sums)
        if places.size:
            self._keys.append(block)
            self._places.append(places)
            self._values.append(sums[places])

    def extend(self, other: BlockSums, below: int = 0) -> None:
        """Add all sums of other blocks of the same size and width, moved down by ``below`` rows of blocks."""
        self._keys += [(row + below, col) for row, col in other._keys]
        self._places += other._places
        self._values += other._values

    def blocks(self) -> list[tuple[int, int]]:
        """List the blocks that have sums, in row order."""
        return sorted(set(self._keys))

    def matrix(self) -> Any:
        """Return all sums as a sparse matrix, float64 (blocks, width), in row order of the blocks."""
        from scipy.sparse import csr_matrix

        number = {key: i for i, key in enumerate(self.blocks())}
        pairs = zip(self._keys, self._places, strict=True)
        rows = [np.full(places.size, number[key]) for key, places in pairs]
        shape = (len(number), self.width)
        if not rows:
            return csr_matrix(shape)
        values = np.concatenate(self._values).astype(np.float64)
        return csr_matrix((values, (np.concatenate(rows), np.concatenate(self._places))), shape=shape)

    def select(self, columns: NDArray[np.intp]) -> BlockSums:
        """Return the same blocks with only these columns of their sums, in this order."""
        where = np.full(self.width, -1, np.intp)
        where[columns] = np.arange(columns.size)
        chosen = BlockSums(self.size, columns.size, list(self._keys))
        for places, values in zip(self._places, self._values, strict=True):
            kept = where[places] >= 0
            chosen._places.append(where[places[kept]])
            chosen._values.append(values[kept])
        return chosen

    def total(self) -> NDArray[np.int64]:
        """Add the sums of all blocks, int64 (width,)."""
        sums = np.zeros(self.width, np.int64)
        for places, values in zip(self._places, self._values, strict=True):
            sums[places] += values
        return sums


def bootstrap(
    blocks: BlockSums, measure: Measure, *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Compute percentile intervals of scores.

    Args:
        blocks: The sums of each block.
        measure: Turns sums (replicates, width) into scores by name, each (replicates, ...).
        replicates: How often blocks are drawn.
        seed: Seed of the random draws.

    Returns:
        Score name -> float64 (2, ...), lower and upper bound; NaN where fewer than two blocks have sums.
    """
    sums = blocks.matrix()
    count = len(blocks.blocks())
    if count < 2:
        empty = measure(np.zeros((1, blocks.width)))
        return {name: np.full((2, *np.shape(value)[1:]), np.nan) for name, value in empty.items()}
    rng = np.random.default_rng(seed)
    found: dict[str, list[Floats]] = {}
    for start in range(0, replicates, _PORTION):
        times = rng.multinomial(count, np.full(count, 1 / count), min(_PORTION, replicates - start))
        drawn = np.asarray(times.astype(np.float64) @ sums)
        for name, value in measure(drawn).items():
            found.setdefault(name, []).append(value)
    tail = 100 * (1 - LEVEL) / 2
    return {name: _percentiles(np.concatenate(values), tail) for name, values in found.items()}


def _percentiles(values: Floats, tail: float) -> Floats:
    """Compute two percentiles (2, ...) of values (replicates, ...), over the replicates that have a value."""
    flat = values.reshape(values.shape[0], -1)
    answer = np.full((2, flat.shape[1]), np.nan)
    for i, column in enumerate(flat.T):
        known = column[~np.isnan(column)]
        if known.size:
            answer[:, i] = np.percentile(known, [tail, 100 - tail])
    return answer.reshape(2, *values.shape[1:])
