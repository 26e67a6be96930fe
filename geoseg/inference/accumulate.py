"""Where the weighted sums of a block are kept: beside the network, on whatever device that computes.

A block's chips are forwarded and their weighted probabilities added up over the block's reach. The sums are
whole numbers, so the order of adding changes nothing, and neither does the device. Every backend gets
``blend.BlockSum``, which adds on the host what ``Backend.probabilities`` gives. A backend that keeps
probabilities on a device offers ``accumulate`` (see ``Accumulates``) and makes a block of its own: then only
margins and decisions come back to the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Chip, Grid, Window
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.blend import BlockSum
from geoseg.inference.decision import Decision
from geoseg.inference.pixels import BlockPixels


class AccumulatedBlock(Protocol):
    """The weighted sums of one block's chips over its reach.

    ``forward`` and ``stitch`` are called for one batch after the other in each of several threads that
    ``Backend.prepare_thread`` has prepared; the other methods by one thread, after all batches are stitched.
    """

    @property
    def block(self) -> Block:
        """The block."""

    def forward(self, pixels: BlockPixels, chips: Sequence[Chip]) -> Any:
        """Run one forward.

        Args:
            pixels: The block's input; the same for all batches.
            chips: At most ``Backend.batch_size`` chips; the batch is filled up to its fixed shape.

        Returns:
            What ``stitch`` needs of it, wherever that lies.
        """

    def stitch(self, chips: Sequence[Chip], answer: Any) -> None:
        """Add the weighted probabilities of one forward, in steps of 1/65535 (``blend``).

        Args:
            chips: As given to ``forward``.
            answer: What that returned; may be overwritten.
        """

    def margin(self, window: Window) -> NDArray[np.int32]:
        """A copy of the sums of one window of the reach, as they are now.

        Returns:
            int32 (classes, rows, columns) in units of ``blend.SUM_ONE``.
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
class Accumulates(Protocol):
    """A backend that makes its own accumulated blocks."""

    def accumulate(self, grid: Grid, block: Block, classes: int) -> AccumulatedBlock:
        """Begin a block, all sums zero."""


def begin_block(backend: Backend, grid: Grid, block: Block, classes: int) -> AccumulatedBlock:
    """Begin a block on the backend's device where it can, else on the host; all sums are zero."""
    if backend.device != "cpu" and isinstance(backend, Accumulates):
        return backend.accumulate(grid, block, classes)
    return BlockSum(backend, grid, block, classes)
