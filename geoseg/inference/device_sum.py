"""Sum weighted probabilities on a torch device; only margins and decisions are copied to the host.

The integer arithmetic is that of ``sums.HostSums``: equal probabilities give equal sums, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Chip, Grid, Window, blending_weights
from geoseg.inference.reading import BlockPixels
from geoseg.inference.sums import PROBABILITY_ONE, Decision, require_numbers

if TYPE_CHECKING:
    from torch import Tensor

    Run = Callable[[Tensor], Tensor]
    """Chips float32 (batch_size, bands, rows, columns) to probabilities of that size, all on the device."""


class DeviceSums:
    """The blended probabilities of one block's chips over its reach, on a device; see ``WeightedSums``.

    The block's pixels are copied to the device once, through page-locked memory on a separate stream, so that
    the copy overlaps the inferences of another block. ``infer`` only starts an inference and ``stitch`` waits
    for it: each thread has one in flight, so the device always has the next one queued.

    Args:
        run: The network.
        device: The device, ``"cuda:0"`` ...
        batch_size: Chips in every batch.
        grid: The global chip grid.
        block: The block.
        classes: Number of classes.
    """

    def __init__(
        self, run: Run, device: str, batch_size: int, grid: Grid, block: Block, classes: int
    ) -> None:
        import torch

        self.block = block
        self._run, self._device, self._batch_size, self._grid = run, device, batch_size, grid
        self._sums = torch.zeros((classes, *block.reach.shape), dtype=torch.int32, device=device)
        self._values: Tensor | None = None
        self._lock = Lock()

    def infer(self, pixels: BlockPixels, chips: Sequence[Chip]) -> Tensor:
        """Start one inference: float32 (batch_size, classes, chip_size, chip_size) on the device."""
        import torch

        with torch.inference_mode():
            with self._lock:
                if self._values is None:
                    self._values = _upload(pixels.values, self._device)
            return self._run(self._cut(self._values, chips))

    def _cut(self, values: Tensor, chips: Sequence[Chip]) -> Tensor:
        """Stack chips into one batch of the fixed shape; 0 beyond the scene and in missing chips."""
        size = self._grid.chip_size
        batch = values.new_zeros((self._batch_size, values.shape[0], size, size))
        for slot, chip in zip(batch, chips, strict=False):
            inside = chip.window.intersection(self.block.reach)
            if inside is not None:
                source = (slice(None), *inside.slices(self.block.reach))
                slot[(slice(None), *inside.slices(chip.window))] = values[source]
        return batch

    def stitch(self, chips: Sequence[Chip], answer: Tensor) -> None:
        """Add the weighted probabilities of one batch; overwrite ``answer``."""
        import torch

        with torch.inference_mode():
            is_finite = torch.isfinite(answer[: len(chips)]).all()
            answer.mul_(PROBABILITY_ONE).round_().clamp_(0, PROBABILITY_ONE)
            for chip, steps in zip(chips, answer, strict=False):
                inside = chip.window.intersection(self.block.reach)
                if inside is None:
                    continue
                rows, cols = inside.slices(chip.window)
                weights = _weights(self._grid.chip_size, self._grid.overlap, chip.ramps, self._device)
                weighted = steps[:, rows, cols].to(torch.int32).mul_(weights[rows, cols])
                with self._lock:
                    self._part(inside).add_(weighted)
            _wait(self._device)
            require_numbers(self.block, bool(is_finite))

    def margin(self, window: Window) -> NDArray[np.int32]:
        """Copy the sums of one window of the reach to the host."""
        import torch

        with torch.inference_mode():
            return _to_host(self._part(window))

    def add(self, window: Window, sums: NDArray[np.int32]) -> None:
        """Add the margin that another block computed for a window of this block's reach."""
        import torch

        with torch.inference_mode():
            self._part(window).add_(torch.from_numpy(sums).to(self._device))

    def decide(self, window: Window, valid: NDArray[np.bool_], *, with_sums: bool) -> Decision:
        """Choose the most probable class of every pixel of a window; ties go to the lowest index."""
        import torch

        with torch.inference_mode():
            part = self._part(window)
            top = part[0].clone()
            winner = torch.zeros(top.shape, dtype=torch.uint8, device=self._device)
            for index, plane in enumerate(part[1:], 1):
                winner.masked_fill_(plane > top, index)
                torch.maximum(top, plane, out=top)
            sums = _to_host(part) if with_sums else None
            return Decision(_to_host(winner), _to_host(top), valid, sums)

    def _part(self, window: Window) -> Tensor:
        return self._sums[(slice(None), *window.slices(self.block.reach))]


def _upload(values: NDArray[np.float32], device: str) -> Tensor:
    """Copy a block's pixels to the device; the computing stream waits for the copy, the host does not."""
    import torch

    source = torch.from_numpy(values)
    if not device.startswith("cuda"):
        return source.to(device)
    with torch.cuda.device(device):
        computing, copying = torch.cuda.current_stream(), _copy_stream(device)
        with torch.cuda.stream(copying):
            uploaded = source.pin_memory().to(device, non_blocking=True)
        computing.wait_stream(copying)
        uploaded.record_stream(computing)
    return uploaded


@lru_cache(maxsize=16)
def _copy_stream(device: str) -> Any:
    import torch

    return torch.cuda.Stream(device)


def _wait(device: str) -> None:
    """Wait for the work that this thread has queued on the device so far, not for that of other threads."""
    import torch

    if device.startswith("cuda"):
        with torch.cuda.device(device):
            done = torch.cuda.Event()
            done.record()
            done.synchronize()


@lru_cache(maxsize=64)
def _weights(chip_size: int, overlap: int, ramps: tuple[bool, bool, bool, bool], device: str) -> Tensor:
    """Return the blending weights of a chip, int32 (rows, columns), on the device."""
    import torch

    return torch.from_numpy(blending_weights(chip_size, overlap, ramps).copy()).to(device)


def _to_host(tensor: Tensor) -> NDArray[Any]:
    """Copy a tensor to the host; also if it is there already."""
    array: NDArray[Any] = tensor.contiguous().cpu().numpy()
    return array.copy() if tensor.device.type == "cpu" else array
