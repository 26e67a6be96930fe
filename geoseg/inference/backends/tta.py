"""Test-time augmentation: average the probabilities of a chip over mirrored and rotated views.

A network gives a mirrored field slightly different probabilities. The mean over the symmetries of the square
is more stable than any one of them, and costs as many inferences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Grid
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.inference.device_sum import DeviceSums
from geoseg.inference.sums import HostSums, WeightedSums

if TYPE_CHECKING:
    from torch import Tensor

Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
SYMMETRIES: dict[str, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "d4": tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True)),
}
"""Name to the (quarter turns, mirrored left to right first) of each view. ``flips`` mirrors along both axes;
``d4`` has all eight symmetries of the square, the dihedral group D4."""


class SymmetricBackend:
    """Average another backend's probabilities over symmetries; see ``Backend``.

    Args:
        inner: The backend that runs the network.
        tta: A key of ``SYMMETRIES``.
    """

    def __init__(self, inner: Backend, tta: str) -> None:
        self.inner, self.tta = inner, tta
        self.name, self.device, self.precision = inner.name, inner.device, inner.precision
        self.batch_size, self.concurrency = inner.batch_size, inner.concurrency

    def prepare_thread(self) -> None:
        """Prepare a thread for the inner backend."""
        self.inner.prepare_thread()

    def probabilities(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Average over the symmetries, summed in a fixed order; shapes as in ``Backend``."""
        total = np.zeros((), np.float32)
        for answer in each_view(self.inner.probabilities, chips, self.tta):
            total = total + answer
        mean: NDArray[np.float32] = total / np.float32(len(SYMMETRIES[self.tta]))
        return mean

    def begin_sums(self, grid: Grid, block: Block, classes: int) -> WeightedSums:
        """Begin a block whose sums stay on the device, where the inner backend is torch's."""
        inner = self.inner
        if not isinstance(inner, TorchBackend):
            return HostSums(self, grid, block, classes)

        def run(chips: Tensor) -> Tensor:
            total = None
            for answer in _each_view_on_device(inner.on_device, chips, self.tta):
                total = answer if total is None else total.add_(answer)
            assert total is not None  # every kind of augmentation has a view
            return total.div_(len(SYMMETRIES[self.tta]))

        return DeviceSums(run, self.device, self.batch_size, grid, block, classes)


def _each_view_on_device(run: Callable[[Tensor], Tensor], chips: Tensor, tta: str) -> Iterator[Tensor]:
    """Do as ``each_view``, for tensors."""
    for turns, mirrored in SYMMETRIES[tta]:
        seen = (chips.flip(-1) if mirrored else chips).rot90(turns, (-2, -1))
        answer = run(seen).rot90(-turns, (-2, -1))
        yield answer.flip(-1) if mirrored else answer.clone()


def each_view(run: Infer, chips: NDArray[np.float32], tta: str) -> Iterator[NDArray[np.float32]]:
    """Yield the probabilities of every view of a batch, rotated and mirrored back.

    Args:
        run: Returns the probabilities of a batch.
        chips: float32 (..., rows, columns), squares.
        tta: A key of ``SYMMETRIES``; the views come in its order.
    """
    for turns, mirrored in SYMMETRIES[tta]:
        seen = np.rot90(chips[..., ::-1] if mirrored else chips, turns, (-2, -1))
        answer = np.rot90(run(np.ascontiguousarray(seen)), -turns, (-2, -1))
        yield answer[..., ::-1] if mirrored else answer
