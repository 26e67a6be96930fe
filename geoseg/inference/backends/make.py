"""Create the backend that runs a model's network, at once or in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.backends import backend_kind
from geoseg.inference.backends.convert import converted_network
from geoseg.inference.backends.protocol import Backend, BackendSettings
from geoseg.inference.backends.tta import SymmetricBackend
from geoseg.models.conversion import ChipShape
from geoseg.models.model import Model
from geoseg.progress import Silent


def make_backend(model: Model, settings: BackendSettings) -> Backend:
    """Create the backend that runs a model with given settings.

    Raises:
        ModelError: If the backend cannot run the network.
        SettingsError: If this machine cannot run it in the precision.
    """
    kind = backend_kind(settings.backend)
    if kind.formats:
        shape = ChipShape(settings.batch_size, len(model.card.bands), settings.chip_size)
        # Silent, because it was converted when the settings were resolved.
        network = converted_network(model, kind.name, settings.precision, shape, Silent())
    else:
        network = model.network
    backend = kind.make(network, settings)
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
        concurrency=settings.concurrency,
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
        concurrency: See ``name``.
    """

    make: Callable[[], Backend]
    name: str
    device: str
    precision: str
    batch_size: int
    concurrency: int
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
