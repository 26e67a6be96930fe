"""The protocol of a backend, which takes normalised chips and returns probabilities."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """Runs one network on batches of one fixed shape, from several threads at once."""

    @property
    def name(self) -> str:
        """Name in reports: ``"torch"``, ``"openvino"`` or ``"onnx"``."""

    @property
    def device(self) -> str:
        """The device: ``"cpu"``, ``"cuda:0"`` ..."""

    @property
    def precision(self) -> str:
        """The precision: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``."""

    @property
    def batch_size(self) -> int:
        """Chips in every batch."""

    @property
    def forwards(self) -> int:
        """How many inferences are worth having in flight at once."""

    def prepare_thread(self) -> None:
        """Prepare the calling thread; call it once in each thread that will call ``probabilities``."""

    def probabilities(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on one batch.

        Args:
            chips: float32 (batch_size, bands, chip_size, chip_size), normalised.

        Returns:
            float32 (batch_size, classes, chip_size, chip_size), 0 to 1, summing to 1 over the classes.
        """
