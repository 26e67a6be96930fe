"""Create the backend that runs a model's network, at once or in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.backends.convert import converted_network
from geoseg.inference.backends.onnx_ import OnnxBackend
from geoseg.inference.backends.openvino_ import OpenVinoBackend
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.inference.backends.tta import SymmetricBackend
from geoseg.models import Model, size_divisor
from geoseg.models.conversion import ChipShape


class BackendSettings(Protocol):
    """The settings of a run that a backend needs."""

    @property
    def backend(self) -> str:
        """``"torch"``, ``"openvino"`` or ``"onnx"``."""

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
        """Chips in every inference."""

    @property
    def forwards(self) -> int:
        """Inferences in flight at once."""

    @property
    def tta(self) -> str:
        """A key of ``tta.SYMMETRIES``."""

    @property
    def temperature(self) -> float:
        """Divides the logits before the softmax."""


def make_backend(model: Model, settings: BackendSettings) -> Backend:
    """Create the backend that runs a model with given settings.

    Raises:
        ModelError: If the backend cannot run the network.
        SettingsError: If this machine cannot run it in the precision.
    """
    backend = _plain_backend(model, settings)
    return backend if settings.tta == "none" else SymmetricBackend(backend, settings.tta)


def begin_backend(model: Model, settings: BackendSettings) -> Backend:
    """Create a backend; on a CPU do so in the background, and let the first inference wait for it."""
    if settings.device != "cpu":
        return make_backend(model, settings)
    return PendingBackend(
        lambda: make_backend(model, settings),
        name=settings.backend,
        device=settings.device,
        precision=settings.precision,
        batch_size=settings.batch_size,
        forwards=settings.forwards,
    )


@dataclass(frozen=True)
class PendingBackend:
    """A backend that is created in a background thread; see ``Backend``.

    Loading a runtime and a network takes a while, in which the first pixels can be read. The first inference
    raises an error that occurred in the thread.

    Attributes:
        make: Creates the backend; no other thread may use its runtime meanwhile.
        name: Name of the backend; like the other attributes, known before it is created.
        device: See ``name``; a CPU.
        precision: See ``name``.
        batch_size: See ``name``.
        forwards: See ``name``.
    """

    make: Callable[[], Backend]
    name: str
    device: str
    precision: str
    batch_size: int
    forwards: int
    _made: Future[Backend] = field(init=False, repr=False)
    _local: threading.local = field(init=False, repr=False, default_factory=threading.local)

    def __post_init__(self) -> None:
        maker = ThreadPoolExecutor(1, "geoseg-load")
        object.__setattr__(self, "_made", maker.submit(self.make))
        maker.shutdown(wait=False)

    def prepare_thread(self) -> None:
        """Do nothing: each thread is prepared at its first inference."""

    def probabilities(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on one batch; shapes as in ``Backend.probabilities``."""
        made = self._made.result()
        if not hasattr(self._local, "is_prepared"):
            made.prepare_thread()
            self._local.is_prepared = True
        return made.probabilities(chips)


def _plain_backend(model: Model, settings: BackendSettings) -> Backend:
    """Create the backend without test-time augmentation."""
    if settings.backend == "torch":
        return TorchBackend(
            model.network,
            device=settings.device,
            precision=settings.precision,
            batch_size=settings.batch_size,
            divisor=size_divisor(model.network),
            temperature=settings.temperature,
        )
    shape = ChipShape(settings.batch_size, len(model.bands), settings.chip_size)
    network = converted_network(model, settings.backend, settings.precision, shape, _keep_quiet)
    if settings.backend == "onnx":
        return OnnxBackend(network, forwards=settings.forwards, temperature=settings.temperature)
    return OpenVinoBackend(
        network, precision=settings.precision, forwards=settings.forwards, temperature=settings.temperature
    )


def _keep_quiet(_message: str) -> None:
    """The network was converted when the settings were resolved, so there is nothing to say."""
