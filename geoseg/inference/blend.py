"""Weighted sums of probabilities in whole numbers: the order of adding cannot change the result.

A probability is rounded to steps of 1/65535 and a weight to steps of 1/32768, so a pixel whose weights sum to
one reaches at most 65535 * 32768 < 2^31: the sums are exact in int32.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import WEIGHT_ONE, Block, Chip, Grid, Window
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.decision import Decision, decide
from geoseg.inference.pixels import BlockPixels

PROBABILITY_ONE = 65535
"""The stored probability that stands for 1."""

SUM_ONE = PROBABILITY_ONE * WEIGHT_ONE
"""The blended sum that stands for 1."""


def to_steps(probabilities: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round probabilities of 0 to 1 to steps of 1/65535; overwrites its argument."""
    return _round(probabilities).astype(np.uint16)


def _round(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    probabilities *= PROBABILITY_ONE
    np.rint(probabilities, out=probabilities)
    return np.clip(probabilities, 0, PROBABILITY_ONE, out=probabilities)


class BlockSum:
    """The blended probabilities of one block's chips over its reach, on the host; see ``AccumulatedBlock``.

    Attributes:
        block: The block.
        sums: int32 (classes, rows, columns) over ``block.reach``, in units of ``SUM_ONE``.
    """

    def __init__(self, backend: Backend, grid: Grid, block: Block, classes: int) -> None:
        self.block = block
        self.sums = np.zeros((classes, *block.reach.shape), np.int32)
        self._backend, self._grid = backend, grid
        self._locks = [Lock() for _ in range(classes)]

    def forward(self, pixels: BlockPixels, chips: Sequence[Chip]) -> NDArray[np.float32]:
        """Run one forward: float32 (batch_size, classes, chip_size, chip_size)."""
        return self._backend.probabilities(pixels.cut(chips, self._backend.batch_size, self._grid.chip_size))

    def stitch(self, chips: Sequence[Chip], answer: NDArray[np.float32]) -> None:
        """Add the weighted probabilities of one forward; overwrites ``answer``."""
        for chip, probabilities in zip(chips, answer, strict=False):
            self._stitch(chip, probabilities)

    def _stitch(self, chip: Chip, probabilities: NDArray[np.float32]) -> None:
        """Class by class, so that all that is computed in between stays in the processor's cache."""
        inside = chip.window.intersection(self.block.reach)
        if inside is None:
            return
        rows, cols = inside.slices(chip.window)
        weights = self._grid.weights(chip)[rows, cols]
        target = self.part(inside)
        weighted = np.empty(inside.shape, np.int32)
        for plane, sums, lock in zip(probabilities[:, rows, cols], target, self._locks, strict=True):
            np.copyto(weighted, _round(plane), casting="unsafe")
            np.multiply(weighted, weights, out=weighted)
            with lock:
                sums += weighted  # noqa: PLW2901 -- in place

    def margin(self, window: Window) -> NDArray[np.int32]:
        """A copy of the sums of one window of the reach."""
        return self.part(window).copy()

    def add(self, window: Window, sums: NDArray[np.int32]) -> None:
        """Add what another block computed of a window of this block's reach."""
        self.part(window)[...] += sums

    def decide(self, window: Window, valid: NDArray[np.bool_], *, with_sums: bool) -> Decision:  # noqa: ARG002
        """Pick the most probable class of every pixel of a window; the sums are here anyway, as a view."""
        return decide(self.part(window), valid)

    def part(self, window: Window) -> NDArray[np.int32]:
        """The sums of one window of the reach, a view."""
        return self.sums[(slice(None), *window.slices(self.block.reach))]
