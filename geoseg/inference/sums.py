"""Sum weighted probabilities in fixed point, and choose classes by the sums.

The weighted probabilities of a block's chips are summed over the block's reach. Probabilities are rounded to
steps of 1/65535 and weights to steps of 1/32768, so a pixel whose weights sum to one reaches at most
65535 * 32768 < 2^31. The sums are exact in int32, whatever the order of addition and the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RunError
from geoseg.grid import WEIGHT_BITS, WEIGHT_ONE, Block, Chip, Grid, Window
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.reading import BlockPixels

PROBABILITY_ONE = 65535
"""The integer that represents the probability 1."""

SUM_ONE = PROBABILITY_ONE * WEIGHT_ONE
"""The blended sum that represents the probability 1."""

_STEPS_FROM = np.float32(3 << 22)
"""Rounds float32 numbers below 2^22, half to even, when it is added to them: the lowest bits then count."""

_ZERO = int(_STEPS_FROM.view(np.int32))
"""The bits of the sum of it and 0, as an integer; those of the sums with 1, 2, 3 ... follow."""

_AT_ONCE = 2**16
"""Values rounded at once, few enough to stay in the processor's cache."""

_ROWS = 32
"""Rows decided at once, few enough to stay in the processor's cache."""


@dataclass(frozen=True)
class Decision:
    """The classes of one window of the scene.

    Attributes:
        winner: Index of the most probable class, uint8 (rows, columns); ties go to the lowest.
        top: Its blended probability in units of ``SUM_ONE``, int32 (rows, columns).
        valid: Pixels to map, bool (rows, columns).
        sums: Blended probabilities of all classes in the same units, int32 (classes, rows, columns); None if
            not requested.
    """

    winner: NDArray[np.uint8]
    top: NDArray[np.int32]
    valid: NDArray[np.bool_]
    sums: NDArray[np.int32] | None


class WeightedSums(Protocol):
    """The weighted sums of one block's chips over its reach, on the host or on a device.

    Several threads, each prepared by ``Backend.prepare_thread``, call ``infer`` and then ``stitch`` for one
    batch after the other. One thread calls the other methods, after all batches are stitched.
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
            The probabilities for ``stitch``, on the host or the device.
        """

    def stitch(self, chips: Sequence[Chip], answer: Any) -> None:
        """Add the weighted probabilities of one batch, rounded to steps of 1/65535.

        Args:
            chips: The chips that were given to ``infer``.
            answer: What ``infer`` returned; may be overwritten.

        Raises:
            RunError: If the network gave what is no number.
        """

    def margin(self, window: Window) -> NDArray[np.int32]:
        """Copy the sums of one window of the reach, as they are now.

        Returns:
            int32 (classes, rows, columns) in units of ``SUM_ONE``.
        """

    def add(self, window: Window, sums: NDArray[np.int32]) -> None:
        """Add the margin that another block computed for a window of this block's reach."""

    def decide(self, window: Window, valid: NDArray[np.bool_], *, with_sums: bool) -> Decision:
        """Choose the most probable class of every pixel of a window whose sums are complete.

        Args:
            window: A window of the reach.
            valid: Pixels to map, bool (rows, columns).
            with_sums: Whether to return the sums too; without them, they need not leave the device.
        """


@runtime_checkable
class KeepsSums(Protocol):
    """A backend that keeps a block's sums on its device."""

    def begin_sums(self, grid: Grid, block: Block, classes: int) -> WeightedSums:
        """Begin a block, with all sums zero."""


def begin_sums(backend: Backend, grid: Grid, block: Block, classes: int) -> WeightedSums:
    """Begin a block, with all sums zero, on the backend's device if it can keep them, else on the host."""
    if backend.device != "cpu" and isinstance(backend, KeepsSums):
        return backend.begin_sums(grid, block, classes)
    return HostSums(backend, grid, block, classes)


_Slices = tuple[slice, slice]
_Weights = NDArray[np.int32]


class HostSums:
    """Weighted sums in the memory of the host; see ``WeightedSums``.

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
        """Add the weighted probabilities of one batch; overwrite ``answer``."""
        for chip, probabilities in zip(chips, answer, strict=False):
            self._stitch(chip, probabilities)

    def margin(self, window: Window) -> NDArray[np.int32]:
        """Copy the sums of one window of the reach."""
        return self.part(window).copy()

    def add(self, window: Window, sums: NDArray[np.int32]) -> None:
        """Add the margin that another block computed for a window of this block's reach."""
        self.part(window)[...] += sums

    def decide(self, window: Window, valid: NDArray[np.bool_], *, with_sums: bool) -> Decision:  # noqa: ARG002
        """Choose the most probable class of every pixel of a window; return the sums always, as a view."""
        return decide(self.part(window), valid)

    def part(self, window: Window) -> NDArray[np.int32]:
        """Return the sums of one window of the reach, as a view."""
        return self.sums[(slice(None), *window.slices(self.block.reach))]

    def _stitch(self, chip: Chip, probabilities: NDArray[np.float32]) -> None:
        inside = chip.window.intersection(self.block.reach)
        if inside is None:
            return
        step = max(1, _AT_ONCE // inside.width)
        for row in range(inside.row, inside.row_stop, step):
            few = Window.from_bounds(row, inside.col, min(row + step, inside.row_stop), inside.col_stop)
            rows, cols = few.slices(chip.window)
            alone, shared = self._split(chip, few)
            planes = zip(probabilities[:, rows, cols], self.part(few), self._locks, strict=True)
            for plane, sums, lock in planes:
                bits = self._round(plane)
                if alone is not None:
                    np.left_shift(bits[alone], WEIGHT_BITS, out=sums[alone])  # all bits of _ZERO fall out
                for place, weights in shared:
                    weighted = bits[place] - _ZERO
                    weighted *= weights
                    with lock:
                        sums[place] += weighted

    def _split(self, chip: Chip, window: Window) -> tuple[_Slices | None, list[tuple[_Slices, _Weights]]]:
        """Split a window of a chip into what no other chip covers, and the rest with its weights."""
        found = self._grid.alone(chip)
        alone = None if found is None else found.intersection(window)
        if alone is None:
            shared = [window]
        else:
            left, right, above = window.col, window.col_stop, alone.row
            shared = [
                Window.from_bounds(window.row, left, above, right),
                Window.from_bounds(alone.row_stop, left, window.row_stop, right),
                Window.from_bounds(above, left, alone.row_stop, alone.col),
                Window.from_bounds(above, alone.col_stop, alone.row_stop, right),
            ]
        weights = self._grid.weights(chip)
        return (
            None if alone is None else alone.slices(window),
            [(part.slices(window), weights[part.slices(chip.window)]) for part in shared if part.pixels],
        )

    def _round(self, plane: NDArray[np.float32]) -> NDArray[np.int32]:
        """Round probabilities to steps of 1/65535, in place; return their numbers plus ``_ZERO``."""
        plane *= PROBABILITY_ONE
        plane += _STEPS_FROM
        bits = plane.view(np.int32)
        if bits.min() < _ZERO or bits.max() > _ZERO + PROBABILITY_ONE:
            require_numbers(self.block, bool(np.isfinite(plane).all()))
            np.clip(plane, _STEPS_FROM, _STEPS_FROM + PROBABILITY_ONE, out=plane)
        return bits


def require_numbers(block: Block, is_finite: bool) -> None:
    """Refuse a block whose probabilities are not finite: as integers they would be some class.

    Raises:
        RunError: Naming the block.
    """
    if not is_finite:
        row, column = block.index
        core = block.core
        raise RunError(
            f"the network gives NaN in block {row},{column} (rows {core.row} to {core.row_stop}, columns "
            f"{core.col} to {core.col_stop}): try --precision fp32, and see with geoseg inspect "
            "whether the scene's values are like those that it knows"
        )


def decide(sums: NDArray[np.int32], valid: NDArray[np.bool_]) -> Decision:
    """Choose the most probable class of every pixel by the unrounded sums.

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
    """Round probabilities to steps of 1/65535; overwrite the argument."""
    probabilities *= PROBABILITY_ONE
    np.rint(probabilities, out=probabilities)
    return np.clip(probabilities, 0, PROBABILITY_ONE, out=probabilities).astype(np.uint16)


def _pick(sums: NDArray[np.int32], top: NDArray[np.int32], winner: NDArray[np.uint8]) -> None:
    np.copyto(top, sums[0])
    winner[...] = 0
    better = np.empty(top.shape, bool)
    index = better.view(np.uint8)
    for number, plane in enumerate(sums[1:], 1):
        np.greater(plane, top, out=better)
        np.maximum(top, plane, out=top)
        # The last class that beats all before it is the best, so a maximum replaces a masked copy.
        np.multiply(index, np.uint8(number), out=index)
        np.maximum(winner, index, out=winner)
