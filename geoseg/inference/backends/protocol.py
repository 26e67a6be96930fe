"""What a backend is: it takes normalised chips and gives probabilities; its ``KIND`` says what it can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.models.conversion import ChipShape, ConvertedNetwork


class Backend(Protocol):
    """Runs one network on batches of one fixed shape, from several threads at once."""

    @property
    def name(self) -> str:
        """What it is called in reports: a key of ``BACKENDS``."""

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
    def concurrency(self) -> int:
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


class BackendSettings(Protocol):
    """How a network runs: what a backend needs of the settings of a run."""

    @property
    def backend(self) -> str:
        """A key of ``BACKENDS``."""

    @property
    def device(self) -> str:
        """``"cpu"``, ``"cuda:0"`` ..."""

    @property
    def precision(self) -> str:
        """``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``."""

    @property
    def chip_size(self) -> int:
        """Side of a chip in pixels."""

    @property
    def batch_size(self) -> int:
        """Chips in the network at once, in every inference."""

    @property
    def concurrency(self) -> int:
        """Inferences in flight at once."""

    @property
    def tta(self) -> str:
        """A key of ``tta.SYMMETRIES``."""

    @property
    def temperature(self) -> float:
        """Divides the logits before the softmax."""


def _nothing(_runtime: Any) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class BackendKind:
    """What is known of a backend before it is made; each backend's module has one, ``KIND``.

    Attributes:
        name: Its key in ``BACKENDS``.
        title: What people call its runtime.
        package: The package of its runtime, by the name under which pip installs and Python imports it.
        install: The command that installs that.
        devices: The kinds of device where it runs: ``"cpu"``, ``"cuda"``, ``"mps"``.
        planes: Precision in which it computes -> float32 planes of a chip that one inference of a U-Net
            resnet18 holds: what is assumed of a network that cannot be measured, or is not worth it.
        loaded: Bytes of a process that has loaded the runtime and such a network.
        make: Makes the backend of a network: a torch module or, with ``formats``, a ``ConvertedNetwork``.
        formats: Formats of converted networks that it runs, the preferred one first; none if it runs torch's.
        resize: Gives a converted network chips of another shape without converting again, if the runtime
            can.
        describe: Says what the imported runtime finds on this machine, for ``geoseg env``.
    """

    name: str
    title: str
    package: str
    install: str
    devices: tuple[str, ...]
    planes: Mapping[str, int]
    loaded: int
    make: Callable[[Any, BackendSettings], Backend]
    formats: tuple[str, ...] = ()
    resize: Callable[[ConvertedNetwork, ChipShape], ConvertedNetwork] | None = None
    describe: Callable[[Any], Mapping[str, Any]] = _nothing
