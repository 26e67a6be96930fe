"""The torch backend: bf16 if the processor has it, channels-last, a fixed shape of batches.

On a CPU every inference is one chip on one thread, and several run side by side. With the shape and the
thread count fixed, a network gives the same bits whatever the number of workers; it is also the fastest way.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RunError
from geoseg.grid import Block, Grid
from geoseg.inference.backends.protocol import BackendKind, BackendSettings
from geoseg.inference.device_sum import DeviceSums
from geoseg.models.networks import size_divisor
from geoseg.system.cpu import cores

if TYPE_CHECKING:
    from torch import Tensor, nn

GPU_BATCH_SIZE = 8


@dataclass(frozen=True)
class TorchBackend:
    """Run a torch network; see ``Backend``.

    Attributes:
        network: Normalised (N, bands, rows, columns) to logits (N, classes, rows', columns').
        device: ``"cpu"``, ``"cuda:0"``, ``"mps"``.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        batch_size: Chips in every batch.
        divisor: Chip sides are padded with zeros to a multiple of this before the network.
        temperature: Divides the logits before the softmax.
    """

    network: nn.Module
    device: str = "cpu"
    precision: str = "fp32"
    batch_size: int = 1
    divisor: int = 1
    temperature: float = 1.0
    name: str = "torch"

    def __post_init__(self) -> None:
        import torch

        if self.device.startswith("cuda"):  # fp32 is to mean fp32: TF32 keeps only ten bits of the mantissa
            torch.backends.cudnn.allow_tf32 = False
        self.network.eval().to(device=self.device, memory_format=torch.channels_last)

    @property
    def concurrency(self) -> int:
        """One inference for each core of a CPU; two on an accelerator, so that copies overlap computing."""
        return cores() if self.device == "cpu" else 2

    def prepare_thread(self) -> None:
        """Make torch compute on the calling thread alone: results depend on the number of threads."""
        import torch

        torch.set_num_threads(1)

    def probabilities(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on one batch; shapes as in ``Backend.probabilities``.

        Raises:
            RunError: If the device runs out of memory.
        """
        result: NDArray[np.float32] = self.on_device(self._upload(chips)).cpu().numpy()
        return result

    def on_device(self, chips: Tensor) -> Tensor:
        """Run the network on one batch on its device; shapes as in ``Backend.probabilities``.

        Raises:
            RunError: If the device runs out of memory.
        """
        import torch

        with torch.inference_mode(), self._autocast():
            return torch.softmax(self._infer(chips) / self.temperature, dim=1)

    def begin_sums(self, grid: Grid, block: Block, classes: int) -> DeviceSums:
        """Begin a block whose sums stay on the device."""
        return DeviceSums(self.on_device, self.device, self.batch_size, grid, block, classes)

    def logits(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of one batch, float32 of the same shape, not divided by the temperature.

        Raises:
            RunError: If the device runs out of memory.
        """
        import torch

        with torch.inference_mode(), self._autocast():
            result: NDArray[np.float32] = self._infer(self._upload(chips)).cpu().numpy()
        return result

    def _upload(self, chips: NDArray[np.float32]) -> Tensor:
        import torch

        return torch.from_numpy(chips).to(self.device, memory_format=torch.channels_last)

    def _infer(self, chips: Tensor) -> Tensor:
        """Compute logits, float32 (batch, classes, chip_size, chip_size), on the device."""
        import torch

        rows, cols = chips.shape[-2:]
        padded = _pad_to(chips.contiguous(memory_format=torch.channels_last), self.divisor)
        try:
            logits = self.network(padded)
        except torch.cuda.OutOfMemoryError as error:
            raise RunError(
                f"{self.device} ran out of memory at {self.batch_size} chips of {rows} x {cols}; "
                "give a smaller --batch-size"
            ) from error
        return _upsample(logits.float(), padded.shape[-2:])[..., :rows, :cols]

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        autocast: contextlib.AbstractContextManager[Any] = torch.autocast(self.device.split(":")[0], dtype)
        return autocast


def _pad_to(batch: Tensor, divisor: int) -> Tensor:
    import torch

    rows, cols = batch.shape[-2:]
    padding = (0, -cols % divisor, 0, -rows % divisor)
    return torch.nn.functional.pad(batch, padding) if any(padding) else batch


def _upsample(logits: Tensor, shape: tuple[int, int]) -> Tensor:
    import torch

    if tuple(logits.shape[-2:]) == tuple(shape):
        return logits
    return torch.nn.functional.interpolate(logits, size=shape, mode="bilinear", align_corners=False)


def _make(network: nn.Module, settings: BackendSettings) -> TorchBackend:
    return TorchBackend(
        network,
        device=settings.device,
        precision=settings.precision,
        batch_size=settings.batch_size,
        divisor=size_divisor(network),
        temperature=settings.temperature,
    )


KIND = BackendKind(
    name="torch",
    title="torch",
    package="torch",
    install="pip install torch",
    devices=("cpu", "cuda", "mps"),
    planes={"fp32": 190, "bf16": 190, "fp16": 190},
    loaded=750_000_000,
    make=_make,
)
