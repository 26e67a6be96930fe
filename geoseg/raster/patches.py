"""Count and measure the patches of a raster: 4-connected components of one value, found window by window.

A patch that touches no border of its window is complete. The parts of the others are numbered, joined across
the borders at the end, and all that is kept; so memory grows with the borders of windows, not with the scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.grid import Window, tiles
from geoseg.raster.components import Runs, find_runs, sum_by_group

Read = Callable[[Window], NDArray[np.uint8]]
WINDOW = 1024


@dataclass(frozen=True, eq=False)
class PatchSizes:
    """The patches of a raster.

    Attributes:
        counts: Number of patches of each value, int64 (256,); 0 for 255.
        sizes: Pixels of the patch at each requested place, int64 (places,).
    """

    counts: NDArray[np.int64]
    sizes: NDArray[np.int64]


@dataclass(eq=False)
class _BorderParts:
    """Parts of patches that touch the border of a window."""

    values: list[NDArray[np.uint8]] = field(default_factory=list)
    pixels: list[NDArray[np.int64]] = field(default_factory=list)
    links: list[NDArray[np.int64]] = field(default_factory=list)
    parts: int = 0

    def number(self, runs: Runs, sizes: NDArray[np.int64], at_border: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Number the parts that touch the window's border; return -1 for other parts and for nodata."""
        values = np.empty(runs.n_components, np.uint8)
        values[runs.component] = runs.values
        chosen = at_border & (values != NODATA)
        numbers = np.full(runs.n_components, -1, np.int64)
        count = int(np.count_nonzero(chosen))
        numbers[chosen] = np.arange(self.parts, self.parts + count)
        self.parts += count
        self.values.append(values[chosen])
        self.pixels.append(sizes[chosen])
        return numbers

    def link(self, one: NDArray[np.int64], other: NDArray[np.int64], same: NDArray[np.bool_]) -> None:
        """Record neighbouring parts of the same value."""
        pairs = np.stack([one[same], other[same]])
        if pairs.size:
            self.links.append(np.unique(pairs, axis=1))


def find_patches(
    read: Read,
    shape: tuple[int, int],
    rows: NDArray[np.integer] | None = None,
    cols: NDArray[np.integer] | None = None,
    *,
    window_size: int = WINDOW,
) -> PatchSizes:
    """Count the patches of a raster, and measure those at given places.

    Args:
        read: Reads the values in a window, uint8 (rows, columns); 255 is nodata.
        shape: (rows, columns) of the raster.
        rows: Row of each place.
        cols: Column of each place.
        window_size: Side of the windows in pixels; never changes the result.

    Returns:
        The patches; the size at a place without a value is 0.
    """
    rows = np.zeros(0, np.int64) if rows is None else rows
    cols = np.zeros(0, np.int64) if cols is None else cols
    counts = np.zeros(256, np.int64)
    found = np.zeros(rows.size, np.int64)
    part_of = np.full(rows.size, -1, np.int64)
    parts = _BorderParts()
    above = np.full(shape[1], NODATA, np.uint8), np.full(shape[1], -1, np.int64)
    for window in tiles(shape, window_size):
        if window.col == 0:
            left = np.full(window.height, NODATA, np.uint8), np.full(window.height, -1, np.int64)
        values = read(window)
        runs = find_runs(values)
        sizes = sum_by_group(runs.component, runs.lengths, runs.n_components)
        components = np.repeat(runs.component, runs.lengths).reshape(window.shape)
        at_border = _at_border(components, runs.n_components)
        numbers = parts.number(runs, sizes, at_border)
        _count_complete(counts, runs, at_border)
        inside = np.flatnonzero(_holds(window, rows, cols))
        here = components[rows[inside] - window.row, cols[inside] - window.col]
        known = values[rows[inside] - window.row, cols[inside] - window.col] != NODATA
        found[inside] = np.where(known, sizes[here], 0)
        part_of[inside] = numbers[here]
        columns = slice(window.col, window.col_stop)
        named = numbers[components[0]], numbers[components[:, 0]]
        parts.link(above[1][columns], named[0], (above[0][columns] == values[0]) & (values[0] != NODATA))
        parts.link(left[1], named[1], (left[0] == values[:, 0]) & (values[:, 0] != NODATA))
        above[0][columns], above[1][columns] = values[-1], numbers[components[-1]]
        left = values[:, -1].copy(), numbers[components[:, -1]]
    return _join(parts, counts, found, part_of)


def _holds(window: Window, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> NDArray[np.bool_]:
    held: NDArray[np.bool_] = (rows >= window.row) & (rows < window.row_stop)
    held &= (cols >= window.col) & (cols < window.col_stop)
    return held


def _at_border(components: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    marked = np.zeros(count, bool)
    for line in (components[0], components[-1], components[:, 0], components[:, -1]):
        marked[line] = True
    return marked


def _count_complete(counts: NDArray[np.int64], runs: Runs, at_border: NDArray[np.bool_]) -> None:
    values = np.empty(runs.n_components, np.uint8)
    values[runs.component] = runs.values
    inner = values[~at_border]
    counts += np.bincount(inner[inner != NODATA], minlength=256)


def _join(
    parts: _BorderParts, counts: NDArray[np.int64], found: NDArray[np.int64], part_of: NDArray[np.int64]
) -> PatchSizes:
    """Join the parts across the borders of windows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not parts.parts:
        return PatchSizes(counts, found)
    one, other = np.concatenate([*parts.links, np.zeros((2, 0), np.int64)], axis=1)
    links = coo_array((np.ones(one.size, np.int8), (one, other)), shape=(parts.parts, parts.parts))
    number, whole = connected_components(links, directed=False)
    value_of = np.empty(number, np.uint8)
    value_of[whole] = np.concatenate(parts.values)
    sizes = sum_by_group(whole, np.concatenate(parts.pixels), number)
    counts += np.bincount(value_of, minlength=256)
    reaches = part_of >= 0
    found[reaches] = sizes[whole[part_of[reaches]]]
    return PatchSizes(counts, found)
