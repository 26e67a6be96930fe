"""What a network takes on this machine, measured once and kept: memory of a forward in flight, and seconds.

A network's peak depends on its layers and on the runtime that fuses them, so it is not guessed: processes of
their own run a few forwards, one and two at once, and say how much memory that took. That takes some seconds
for a model, chip shape, backend and precision, once; the figures are kept beside the converted networks. They
never change an answer, only how many forwards run at once and how large blocks are.
"""

from __future__ import annotations

import contextlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import process_time

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.backends.convert import Say
from geoseg.inference.backends.protocol import Backend
from geoseg.models import Model
from geoseg.plan.measured import (
    Figures,
    keep_figures,
    key_of,
    measure_elsewhere,
    of_own_chips,
    recall_figures,
)
from geoseg.plan.settings import Settings, make_backend
from geoseg.system.memory import resident_memory

_REVISION = 2
"""To be raised when something else is measured."""
_ROUNDS = 2

# float32 planes of a chip that one forward holds, and bytes of a process with the runtime and the network: of
# a U-Net resnet18, for where nothing can be measured, or is not worth it.
_PLANES = {
    "torch": 190,
    "onnx": 197,
    "openvino fp32": 135,
    "openvino bf16": 88,
    "openvino int8": 62,
}
_BASE = {"torch": 750_000_000, "onnx": 330_000_000, "openvino": 330_000_000}
_BARE = 130_000_000
_SECONDS = 0.5e-6
"""Of a core, a pixel: a U-Net resnet18 in bf16."""


@dataclass(frozen=True)
class Demand:
    """What a network takes.

    Attributes:
        bare: Bytes resident of a process before the network's runtime is loaded.
        base: Bytes resident with runtime and network, without forwards in flight.
        forward: Bytes that every forward in flight adds.
        seconds: Core seconds of a forward.
        measured: Whether this was measured on this machine, or is the figure of a usual network.
    """

    bare: int
    base: int
    forward: int
    seconds: float
    measured: bool = True


def usual_demand(model: Model, settings: Settings) -> Demand:
    """What a usual network takes."""
    pixels = settings.batch_size * settings.chip_size**2
    planes = _PLANES.get(settings.backend) or _PLANES[f"openvino {settings.precision}"]
    forward = (planes + len(model.bands) + 2 * len(model.classes)) * 4 * pixels
    return Demand(_BARE, _BASE[settings.backend], forward, _SECONDS * pixels, measured=False)


def measured_demand(model: Model, settings: Settings, say: Say, *, exactly: bool = False) -> Demand:
    """What this network takes: kept figures, else measured now in a process of its own.

    Args:
        model: The model.
        settings: The run's; only what a forward depends on matters.
        say: Told when something is measured.
        exactly: Whether to measure chips of the run's own size; else those of the model's size tell what
            others take by their pixels, within 7 percent for chips seven times as large.
    """
    chips = settings if exactly else of_own_chips(model, settings)
    key = key_of("demand", model, chips, settings.tta, _REVISION)
    found = _recall(key)
    if found is None:
        say("measuring what the network takes, once (some seconds)")
        found = _measure_elsewhere(model, chips)
        if found is None:
            return usual_demand(model, settings)
        keep_figures(key, asdict(found))
    larger = (settings.chip_size / chips.chip_size) ** 2
    return replace(found, forward=int(found.forward * larger), seconds=found.seconds * larger)


def measure(backend: Backend, forwards: int, chips: NDArray[np.float32]) -> tuple[int, float]:
    """Run a few forwards in this process, which must not have computed before.

    Args:
        backend: With room for so many forwards.
        forwards: How many run at once.
        chips: The input of a forward.

    Returns:
        The most bytes that were resident; core seconds of a forward.
    """
    with ThreadPoolExecutor(forwards, initializer=backend.prepare_thread) as pool:
        for _ in range(_ROUNDS):
            since = process_time()
            for done in [pool.submit(_forward, backend, chips) for _ in range(forwards)]:
                done.result()
            seconds = (process_time() - since) / forwards  # of the last round: the first one warms up
    return _peak(), seconds


def _forward(backend: Backend, chips: NDArray[np.float32]) -> None:
    backend.probabilities(chips.copy())


def _now() -> int:
    return resident_memory() or 0


def _peak() -> int:
    """The most bytes that were resident so far; what is resident now where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    from geoseg.system.memory import peak_memory

    return peak_memory() or 0


def _recall(key: str) -> Demand | None:
    try:
        return Demand(**(recall_figures(key) or {}))
    except TypeError:
        return None


def _measure_elsewhere(model: Model, settings: Settings) -> Demand | None:
    """Two processes, one forward in flight and two: runtimes make room for all when they load a network."""
    if not _peak():
        return None
    try:
        one, two = (
            measure_elsewhere(_measure_here, model, replace(settings, forwards=forwards))
            for forwards in (1, 2)
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    # Threads that happened to take turns would look as if the second took nothing.
    forward = max(two["peak"] - one["peak"], (one["peak"] - one["loaded"]) // 4)
    return Demand(one["bare"], one["peak"] - forward, forward, one["seconds"])


def _measure_here(model: Model, settings: Settings) -> Figures:
    bare = _now()
    backend = make_backend(model, settings)
    loaded = _now()
    shape = (settings.batch_size, len(model.bands), settings.chip_size, settings.chip_size)
    chips = np.random.default_rng(0).standard_normal(shape, np.float32)
    peak, seconds = measure(backend, settings.forwards, chips)
    return {"bare": bare, "loaded": loaded, "peak": peak, "seconds": seconds}
