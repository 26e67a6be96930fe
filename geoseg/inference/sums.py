"""Add up weighted probabilities in whole numbers, and decide on classes by the sums.

A block's chips go through the network, and their weighted probabilities are added up over the block's reach.
A probability is rounded to steps of 1/65535 and a weight to steps of 1/32768, so a pixel whose weights sum to
one reaches at most 65535 * 32768 < 2^31: the sums are exact in int32, whatever the order of adding and
whatever the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import WEIGHT_ONE, Block, Chip, Grid, Window
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.reading import BlockPixels

PROBABILITY_ONE = 65535
"""The stored probability that stands for 1."""

SUM_ONE = PROBABILITY_ONE * WEIGHT_ONE
"""The blended sum that stands for 1."""

_ROWS = 32
"""Rows decided at once: what is compared again and again stays in the processor's cache."""


@dataclass(frozen=True)
class Decision:
    """What the network says about one window of the scene.

    Attributes:
        winner: uint8 (rows, columns): index of the most probable class; ties go to the lowest.
        top: int32 (rows, columns): its sum, in units of ``SUM_ONE``.
        valid: bool (rows, columns): pixels to be mapped.
        sums: int32 (classes, rows, columns), blended probabilities in the same units; None where nobody
            asked for them.
    """

    winner: NDArray[np.uint8]
    top: NDArray[np.int32]
    valid: NDArray[np.bool_]
    sums: NDArray[np.int32] | None


class WeightedSums(Protocol):
    """The weighted sums of one block's chips over its reach, on whatever device computes them.

    ``infer`` and ``stitch`` are called for one batch after the other in each of several threads that
    ``Backend.prepare_thread`` has prepared; the other methods by one thread, after all batches are stitched.
    """

    @property
    def block(self) -> Block:
        """The block."""

    def infer(self, pixels: BlockPixels, chips: Sequence[Chip]) -> Any:
        """Run the network on one batch.

        Args:
            pixels: The block's input; the same for all batches.
            chips: At most ``Backend.batch_size`` chips; the batch is filled up to its fixed shape.

        Returns:
            What ``stitch`` needs of it, wherever that lies.
        """

    def stitch(self, chips: Sequence[Chip], answer: Any) -> None:
        """Add the weighted probabilities of one batch, in steps of 1/65535.

        Args:
            chips: As given to ``infer``.
            answer: What that returned; may be overwritten.
        """

    def margin(self, window: Window) -> NDArray[np.int32]:
        """Copy the sums of one window of the reach, as they are now.

        Returns:
            int32 (classes, rows, columns) in units of ``SUM_ONE``.
        """

    def add(self, window: Window, sums: NDArray[np.int32]) -> None:
        """Add what another block computed of a window of this block's reach; as ``margin`` returns it."""

    def decide(self, window: Window, valid: NDArray[np.bool_], *, with_sums: bool) -> Decision:
        """Pick the most probable class of every pixel of a window whose sums are complete.

        Args:
            window: A window of the reach.
            valid: bool (rows, columns): pixels to be mapped.
            with_sums: Whether ``Decision.sums`` is wanted; without it they need not leave the device.
        """


@runtime_checkable
class KeepsSums(Protocol):
    """A backend that keeps a block's sums on its device: only margins and decisions come back to the host."""

    def begin_sums(self, grid: Grid, block: Block, classes: int) -> WeightedSums:
        """Begin a block, all sums zero."""


def begin_sums(backend: Backend, grid: Grid, block: Block, classes: int) -> WeightedSums:
    """Begin a block on the backend's device where it can, else on the host; all sums are zero."""
    if backend.device != "cpu" and isinstance(backend, KeepsSums):
        return backend.begin_sums(grid, block, classes)
    return HostSums(backend, grid, block, classes)


class HostSums:
    """Add up what ``Backend.probabilities`` gives, in the memory of the host; see ``WeightedSums``.

    Attributes:
        block: The block.
        sums: int32 (classes, rows, columns) over ``block.reach``, in units of ``SUM_ONE``.
    """

    def __init__(self, backend: Backend, grid: Grid, block: Block, classes: int) -> None:
        self.block = block
        self.sums = np.zeros((classes, *block.reach.shape), np.int32)
        self._backend, self._grid = backend, grid
        self._locks = [Lock() for _ in range(classes)]

    def infer(self, pixels: BlockPixels, chips: Sequence[Chip]) -> NDArray[np.float32]:
        """Run the network on one batch: float32 (batch_size, classes, chip_size, chip_size)."""
        return self._backend.probabilities(pixels.cut(chips, self._backend.batch_size, self._grid.chip_size))

    def stitch(self, chips: Sequence[Chip], answer: NDArray[np.float32]) -> None:
        """Add the weighted probabilities of one batch; overwrites ``answer``."""
        for chip, probabilities in zip(chips, answer, strict=False):
            self._stitch(chip, probabilities)

    def margin(self, window: Window) -> NDArray[np.int32]:
        """Copy the sums of one window of the reach."""
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

    def _stitch(self, chip: Chip, probabilities: NDArray[np.float32]) -> None:
        inside = chip.window.intersection(self.block.reach)
        if inside is None:
            return
        rows, cols = inside.slices(chip.window)
        weights = self._grid.weights(chip)[rows, cols]
        target = self.part(inside)
        weighted = np.empty(inside.shape, np.int32)
        # Class by class, so that all that is computed in between stays in the processor's cache.
        for plane, sums, lock in zip(probabilities[:, rows, cols], target, self._locks, strict=True):
            np.copyto(weighted, _round(plane), casting="unsafe")
            np.multiply(weighted, weights, out=weighted)
            with lock:
                sums += weighted  # noqa: PLW2901 -- in place


def decide(sums: NDArray[np.int32], valid: NDArray[np.bool_]) -> Decision:
    """Pick the most probable class of every pixel from the unrounded sums.

    Args:
        sums: int32 (classes, rows, columns) in units of ``SUM_ONE``.
        valid: bool (rows, columns).
    """
    top, winner = np.empty(valid.shape, np.int32), np.empty(valid.shape, np.uint8)
    for first in range(0, len(top), _ROWS):
        rows = slice(first, first + _ROWS)
        _pick(sums[:, rows], top[rows], winner[rows])
    return Decision(winner, top, valid, sums)


def to_steps(probabilities: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round probabilities of 0 to 1 to steps of 1/65535; overwrites its argument."""
    return _round(probabilities).astype(np.uint16)


def _round(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    probabilities *= PROBABILITY_ONE
    np.rint(probabilities, out=probabilities)
    return np.clip(probabilities, 0, PROBABILITY_ONE, out=probabilities)


def _pick(sums: NDArray[np.int32], top: NDArray[np.int32], winner: NDArray[np.uint8]) -> None:
    np.copyto(top, sums[0])
    winner[...] = 0
    better = np.empty(top.shape, bool)
    index = better.view(np.uint8)
    for number, plane in enumerate(sums[1:], 1):
        np.greater(plane, top, out=better)
        np.maximum(top, plane, out=top)
        # Of the classes that were better than all before them the last is the best: no masked copy is needed.
        np.multiply(index, np.uint8(number), out=index)
        np.maximum(winner, index, out=winner)
