"""A backend that is made while the first pixels are read: loading a runtime and a network takes a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.backends.protocol import Backend


@dataclass(frozen=True)
class PendingBackend:
    """Makes a backend in a thread of its own and then is as good as that; see ``Backend``.

    What is wrong with it is raised by the first forward.

    Attributes:
        make: Makes the backend; nobody else may use its runtime meanwhile.
        name: The backend's, as for all of these; they are known before it is made.
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
        """Nothing yet: the backend prepares each thread when its first forward comes."""

    def probabilities(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one forward; shapes as in ``Backend.probabilities``."""
        made = self._made.result()
        if not hasattr(self._local, "is_prepared"):
            made.prepare_thread()
            self._local.is_prepared = True
        return made.probabilities(chips)
