"""Pixel geometry of a run: windows, the global chip grid, blocks of chips, and blending weights.

All of it is integer arithmetic; nothing reads a file. Chips lie on one regular grid anchored at the raster's
origin, so a chip never depends on how the scene is cut into blocks. Blending weights are integers that sum to
exactly ``WEIGHT_ONE`` at every pixel (a partition of unity), so stitching is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SettingsError

WEIGHT_BITS = 15
WEIGHT_ONE = 1 << WEIGHT_BITS
"""The blending weight that represents 1."""
_MOST_BLOCKS = 500_000
"""Beyond it a plan alone would take gigabytes; Sentinel-2 pixels of all land are fewer."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels, rows before columns.

    Attributes:
        row: First row.
        col: First column.
        height: Number of rows.
        width: Number of columns.
    """

    row: int
    col: int
    height: int
    width: int

    @classmethod
    def from_shape(cls, shape: tuple[int, int]) -> Window:
        """Return the window that covers a raster of ``shape`` (rows, columns)."""
        return cls(0, 0, *shape)

    @classmethod
    def from_bounds(cls, row: int, col: int, row_stop: int, col_stop: int) -> Window:
        """Return the window from (row, col) to before (row_stop, col_stop); empty if they cross."""
        return cls(row, col, max(0, row_stop - row), max(0, col_stop - col))

    @property
    def row_stop(self) -> int:
        """The row after the last."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """The column after the last."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def intersection(self, other: Window) -> Window | None:
        """Return the pixels in both windows, or None if there are none."""
        common = Window.from_bounds(
            max(self.row, other.row),
            max(self.col, other.col),
            min(self.row_stop, other.row_stop),
            min(self.col_stop, other.col_stop),
        )
        return common if common.pixels else None

    def grown(self, pixels: int, shape: tuple[int, int]) -> Window:
        """Return the window grown on all sides, and cut to a raster of ``shape``."""
        return Window.from_bounds(
            max(0, self.row - pixels),
            max(0, self.col - pixels),
            min(shape[0], self.row_stop + pixels),
            min(shape[1], self.col_stop + pixels),
        )

    def slices(self, origin: Window | None = None) -> tuple[slice, slice]:
        """Return the row and column slices of this window in an array of ``origin`` (default: the raster)."""
        row, col = (origin.row, origin.col) if origin is not None else (0, 0)
        return slice(self.row - row, self.row_stop - row), slice(self.col - col, self.col_stop - col)


def tiles(shape: tuple[int, int], size: int) -> Iterator[Window]:
    """Tile a raster of ``shape`` with windows of ``size``, in row order."""
    for row in range(0, shape[0], size):
        for col in range(0, shape[1], size):
            yield Window(row, col, min(size, shape[0] - row), min(size, shape[1] - col))


@dataclass(frozen=True, slots=True)
class Chip:
    """One input of the network: a square of the global chip grid.

    Attributes:
        index: (row, column) in the chip grid.
        window: The chip's pixels; may extend beyond the scene's lower and right edges.
        ramps: Sides at which the weights ramp, (top, bottom, left, right); False at the scene's edges.
    """

    index: tuple[int, int]
    window: Window
    ramps: tuple[bool, bool, bool, bool]


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of chips that is stitched together, and the pixels that it owns.

    Attributes:
        index: (row, column) among the blocks of a run.
        chips: First and past-the-last chip: (row, column, row_stop, col_stop) in the chip grid.
        core: The pixels that this block owns; the cores of all blocks tile the scene.
        reach: All scene pixels that its chips cover: the core, and the margins below it and right of it,
            which belong to the cores of the next blocks.
    """

    index: tuple[int, int]
    chips: tuple[int, int, int, int]
    core: Window
    reach: Window


@dataclass(frozen=True, slots=True)
class Grid:
    """The global chip grid of a scene.

    Attributes:
        shape: (rows, columns) of the scene.
        chip_size: Side of a chip in pixels.
        overlap: Pixels that neighbouring chips share, 0 to ``chip_size // 2``.

    Raises:
        SettingsError: If the chip size or the overlap is out of range.
    """

    shape: tuple[int, int]
    chip_size: int
    overlap: int

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise SettingsError(
                f"a scene of {self.shape[0]} x {self.shape[1]} pixels holds nothing to predict"
            )
        if self.chip_size < 1:
            raise SettingsError(f"--chip-size must be at least 1 pixel, not {self.chip_size}")
        if not 0 <= self.overlap <= self.chip_size // 2:
            raise SettingsError(
                f"--overlap must be between 0 and half a chip ({self.chip_size // 2} pixels at --chip-size "
                f"{self.chip_size}), not {self.overlap}"
            )

    @property
    def stride(self) -> int:
        """Pixels from the start of one chip to the start of the next."""
        return self.chip_size - self.overlap

    @property
    def counts(self) -> tuple[int, int]:
        """Number of chips along (rows, columns): ``max(1, ceil((N - overlap) / (chip - overlap)))``."""
        rows, cols = (max(1, -(-(n - self.overlap) // self.stride)) for n in self.shape)
        return rows, cols

    def chips(self, block: Block) -> Iterator[Chip]:
        """Iterate over the chips of a block, in row order."""
        rows, cols = self.counts
        first_row, first_col, row_stop, col_stop = block.chips
        for row in range(first_row, row_stop):
            for col in range(first_col, col_stop):
                window = Window(row * self.stride, col * self.stride, self.chip_size, self.chip_size)
                yield Chip((row, col), window, (row > 0, row < rows - 1, col > 0, col < cols - 1))

    def weights(self, chip: Chip) -> NDArray[np.int32]:
        """Return the blending weights of a chip, int32 (rows, columns), 0 to ``WEIGHT_ONE``; read-only."""
        return blending_weights(self.chip_size, self.overlap, chip.ramps)

    def alone(self, chip: Chip) -> Window | None:
        """Return the pixels of a chip that no other chip covers: those of weight ``WEIGHT_ONE``."""
        top, bottom, left, right = (self.overlap * ramp for ramp in chip.ramps)
        window = chip.window
        found = Window.from_bounds(
            window.row + top, window.col + left, window.row_stop - bottom, window.col_stop - right
        )
        return found if found.pixels else None

    def blocks(self, block_size: int, window: Window | None = None) -> list[Block]:
        """Group the chips that touch ``window`` into blocks, in row order.

        Args:
            block_size: Side of a block in pixels, rounded down to whole chips, at least one.
            window: The part of the scene to cover; default all of it.

        Returns:
            Blocks whose cores together cover the window.

        Raises:
            SettingsError: If the block size is not positive, or there are too many blocks to plan.
        """
        if block_size < 1:
            raise SettingsError(f"--block-size must be at least 1 pixel, not {block_size}")
        window = window or Window.from_shape(self.shape)
        step = max(1, block_size // self.stride)
        rows = _chip_range(window.row, window.row_stop, self.counts[0], self.chip_size, self.stride)
        cols = _chip_range(window.col, window.col_stop, self.counts[1], self.chip_size, self.stride)
        count = -(-len(rows) // step) * -(-len(cols) // step)
        if count > _MOST_BLOCKS:
            raise SettingsError(
                f"{window.height:,} x {window.width:,} pixels are {count:,} blocks of {block_size} pixels, "
                f"more than the {_MOST_BLOCKS:,} that can be planned; map a part with --aoi, or give a "
                "larger --block-size"
            )
        return [
            self._block((i, j), (row, col, min(row + step, rows.stop), min(col + step, cols.stop)))
            for i, row in enumerate(range(rows.start, rows.stop, step))
            for j, col in enumerate(range(cols.start, cols.stop, step))
        ]

    def count_chips(self, window: Window) -> int:
        """Count the chips that touch ``window``."""
        rows = _chip_range(window.row, window.row_stop, self.counts[0], self.chip_size, self.stride)
        cols = _chip_range(window.col, window.col_stop, self.counts[1], self.chip_size, self.stride)
        return len(rows) * len(cols)

    def _block(self, index: tuple[int, int], chips: tuple[int, int, int, int]) -> Block:
        row, col, row_stop, col_stop = (n * self.stride for n in chips)
        last_row, last_col = (chips[2] == self.counts[0]), (chips[3] == self.counts[1])
        height, width = self.shape
        reach = Window.from_bounds(
            row, col, min(row_stop + self.overlap, height), min(col_stop + self.overlap, width)
        )
        core = Window.from_bounds(row, col, height if last_row else row_stop, width if last_col else col_stop)
        return Block(index, chips, core, reach)


def _chip_range(start: int, stop: int, count: int, chip_size: int, stride: int) -> range:
    """Return the indices, along one axis, of the chips that hold any pixel of [start, stop)."""
    first = max(0, (start - chip_size) // stride + 1)
    return range(first, min(count, (stop - 1) // stride + 1))


def ramp(overlap: int) -> NDArray[np.int32]:
    """Return the rising half of a Hann window: ``sin^2(pi/2 * (k + 1/2) / overlap)``.

    Returns:
        int32 (overlap,) in units of ``WEIGHT_ONE``. The falling ramp is ``WEIGHT_ONE - ramp``, so the two sum
        to one exactly.
    """
    k = np.arange(overlap)
    rising: NDArray[np.float64] = np.sin(np.pi / 2 * (k + 0.5) / max(overlap, 1)) ** 2
    return np.rint(rising * WEIGHT_ONE).astype(np.int32)


@lru_cache(maxsize=16)
def blending_weights(chip_size: int, overlap: int, ramps: tuple[bool, bool, bool, bool]) -> NDArray[np.int32]:
    """Return separable sin^2 weights of a chip, rounded so that overlapping chips sum to exactly one.

    If the product of two ramps were rounded chip by chip, the sum of four chips at a corner could be off by a
    step or two. So only the share of the chip that comes second on both axes is rounded, ``f = round(u *
    v)``. The shares of the other three are ``u - f``, ``v - f`` and ``1 - u - v + f``, each within half a
    step of its exact product.

    Args:
        chip_size: Side of the chip in pixels.
        overlap: Overlap in pixels, at most half the chip.
        ramps: Sides at which the weights ramp, (top, bottom, left, right).

    Returns:
        int32 (chip_size, chip_size), 0 to ``WEIGHT_ONE``, read-only.
    """
    top, bottom, left, right = ramps
    u, v = _shares(chip_size, overlap, top, bottom)[:, None], _shares(chip_size, overlap, left, right)
    weights: NDArray[np.int32] = (u * v + WEIGHT_ONE // 2) >> WEIGHT_BITS  # at most 2^30: int32 holds it
    # So far the weights are those of a chip that comes second, or is alone, along both axes.
    row, col = chip_size - overlap * bottom, chip_size - overlap * right
    weights[:row, col:] = u[:row] - weights[:row, col:]
    weights[row:, :col] = v[:col] - weights[row:, :col]
    weights[row:, col:] += WEIGHT_ONE - u[row:] - v[col:]
    weights.setflags(write=False)
    return weights


def _shares(chip_size: int, overlap: int, rises: bool, falls: bool) -> NDArray[np.int32]:
    """Return the share of the second of two overlapping chips at each pixel along one axis."""
    share = np.full(chip_size, WEIGHT_ONE, np.int32)
    if rises and overlap:
        share[:overlap] = ramp(overlap)
    if falls and overlap:
        share[chip_size - overlap :] = ramp(overlap)
    return share
