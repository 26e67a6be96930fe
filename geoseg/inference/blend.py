"""Weighted sums of probabilities in whole numbers: the order of adding cannot change the result.

A probability is stored in steps of 1/65535 (uint16) and a weight in steps of 1/32768, so a pixel whose
weights sum to one reaches at most 65535 * 32768 < 2^31: the sums are exact in int32.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import WEIGHT_ONE, Block, Chip, Grid, Window

PROBABILITY_ONE = 65535
"""The stored probability that stands for 1."""

SUM_ONE = PROBABILITY_ONE * WEIGHT_ONE
"""The blended sum that stands for 1."""


def to_steps(probabilities: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round probabilities of 0 to 1 to steps of 1/65535; overwrites its argument."""
    probabilities *= PROBABILITY_ONE
    np.rint(probabilities, out=probabilities)
    return probabilities.clip(0, PROBABILITY_ONE, out=probabilities).astype(np.uint16)


class BlockSum:
    """The blended probabilities of one block's chips over its reach.

    Attributes:
        block: The block.
        sums: int32 (classes, rows, columns) over ``block.reach``, in units of ``SUM_ONE``.
    """

    def __init__(self, grid: Grid, block: Block, classes: int) -> None:
        self.block = block
        self.sums = np.zeros((classes, *block.reach.shape), np.int32)
        self._grid = grid

    def add(self, chip: Chip, steps: NDArray[np.uint16]) -> None:
        """Add one chip.

        Args:
            chip: The chip's place.
            steps: uint16 (classes, chip_size, chip_size) from ``to_steps``.
        """
        inside = chip.window.intersection(self.block.reach)
        if inside is None:
            return
        rows, cols = inside.slices(chip.window)
        weighted = steps[:, rows, cols].astype(np.int32)
        weighted *= self._grid.weights(chip)[rows, cols]
        self.sums[(slice(None), *inside.slices(self.block.reach))] += weighted

    def part(self, window: Window) -> NDArray[np.int32]:
        """The sums of one window of the reach, a view."""
        return self.sums[(slice(None), *window.slices(self.block.reach))]


@dataclass(frozen=True)
class Margin:
    """Sums that a block hands to the block that owns their pixels."""

    window: Window
    sums: NDArray[np.int32]


@dataclass
class Margins:
    """Margins on their way from finished blocks to the neighbours below and to the right."""

    _waiting: dict[tuple[int, int], list[Margin]] = field(default_factory=dict)

    def hand_on(self, done: BlockSum) -> None:
        """Keep what a block computed beyond its core for the blocks that own it."""
        core, reach = done.block.core, done.block.reach
        row, col = done.block.index
        right = Window.from_bounds(core.row, core.col_stop, core.row_stop, reach.col_stop)
        below = Window.from_bounds(core.row_stop, core.col, reach.row_stop, core.col_stop)
        corner = Window.from_bounds(core.row_stop, core.col_stop, reach.row_stop, reach.col_stop)
        owners = {(row, col + 1): right, (row + 1, col): below, (row + 1, col + 1): corner}
        for owner, window in owners.items():
            if window.pixels:
                self._waiting.setdefault(owner, []).append(Margin(window, done.part(window).copy()))

    def take(self, block: Block) -> list[Margin]:
        """The margins that were handed to a block."""
        return self._waiting.pop(block.index, [])
