"""What runs a network: every backend takes normalised chips and gives probabilities."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """Runs one network on batches of one fixed shape, from several threads at once.

    Attributes:
        name: ``"torch"``, for the report.
        device: The kind of device it runs on, ``"cpu"``, ``"cuda:0"`` ...
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        batch_size: Chips in every forward.
        forwards: How many forwards are worth having in flight at once.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - the attributes are described above
    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def forwards(self) -> int: ...  # noqa: D102

    def prepare_thread(self) -> None:
        """Called once in each thread that will call ``probabilities``."""

    def probabilities(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one forward.

        Args:
            chips: float32 (batch_size, bands, chip_size, chip_size), normalised.

        Returns:
            float32 (batch_size, classes, chip_size, chip_size), 0 to 1, summing to 1 over the classes.
        """
