"""What a network costs on this machine, measured once in processes of their own and kept.

A network's peak depends on its layers and on the runtime that fuses them, so it is not guessed: processes of
their own run a few inferences, one and two at once, and say how much memory that took. A process of its own
leaves no memory behind, has none to begin with, and cannot take the run with it. That takes some seconds for
a model, chip shape, backend and precision, once; the figures are kept beside the converted networks. They
never change an answer, only how many inferences run at once and how large blocks are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import platform
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.backends import backend_kind
from geoseg.inference.backends.make import make_backend
from geoseg.inference.backends.protocol import Backend
from geoseg.models.model import Model
from geoseg.plan.settings import Settings
from geoseg.progress import Progress
from geoseg.system.cache import MEASURED, keep, recall
from geoseg.system.cpu import processor_name
from geoseg.system.memory import peak_memory, resident_memory

Figures = dict[str, Any]
Measurement = Callable[[Model, Settings], Figures]

_REVISION = 3
"""To be raised when something else is measured, or kept under other names."""
_ROUNDS = 2
_TIMEOUT = 300

_PROCESS = 130_000_000
"""Bytes of a process that has loaded no runtime."""
_SECONDS = 0.5e-6
"""Of a core, a pixel: a U-Net resnet18 in bf16."""


@dataclass(frozen=True)
class NetworkCost:
    """What a network costs.

    Attributes:
        process: Bytes resident of a process before the network's runtime is loaded.
        loaded: Bytes resident with runtime and network, without an inference in flight.
        per_inference: Bytes that every inference in flight adds.
        seconds: Core seconds of an inference.
        measured: Whether this was measured on this machine, or is the figure of a usual network.
    """

    process: int
    loaded: int
    per_inference: int
    seconds: float
    measured: bool = True


def usual_cost(model: Model, settings: Settings) -> NetworkCost:
    """Give what a usual network costs."""
    pixels = settings.batch_size * settings.chip_size**2
    kind = backend_kind(settings.backend)
    inference = (
        (kind.planes[settings.precision] + len(model.card.bands) + 2 * len(model.card.classes)) * 4 * pixels
    )
    return NetworkCost(_PROCESS, kind.loaded, inference, _SECONDS * pixels, measured=False)


def measured_cost(
    model: Model, settings: Settings, progress: Progress, *, exactly: bool = False
) -> NetworkCost:
    """Give what this network costs: kept figures, else measured now in a process of its own.

    Args:
        model: The model.
        settings: The run's; only what an inference depends on matters.
        progress: Told when something is measured.
        exactly: Whether to measure chips of the run's own size; else those of the model's size tell what
            others cost by their pixels, within 7 percent for chips seven times as large.
    """
    chips = settings if exactly else _with_own_chips(model, settings)
    key = _key(model, chips)
    found = _recall(key)
    if found is None:
        progress.say("measuring what the network takes, once (some seconds)")
        found = _measure_elsewhere(model, chips)
        if found is None:
            return usual_cost(model, settings)
        keep(key, json.dumps(asdict(found)).encode(), MEASURED)
    larger = (settings.chip_size / chips.chip_size) ** 2
    return replace(found, per_inference=int(found.per_inference * larger), seconds=found.seconds * larger)


def _with_own_chips(model: Model, settings: Settings) -> Settings:
    """Give the settings with chips of the model's own size, so that a network is measured once for all sizes.

    ONNX Runtime, and a model without torch, may have no network for those chips; then the settings are as
    they were.
    """
    kind = backend_kind(settings.backend)
    takes_any = not kind.formats or kind.resize is not None
    has_own = takes_any and model.config is not None
    return replace(settings, chip_size=model.card.chip_size) if has_own else settings


def _key(model: Model, settings: Settings) -> str:
    """Make a key for the figures: of the model, the shape of an inference, what runs it, and on what."""
    package = backend_kind(settings.backend).package
    try:
        installed = version(package)
    except PackageNotFoundError:
        installed = "none"
    parts = (model.hash, settings.backend, settings.device, settings.precision, settings.tta, installed)
    shape = (settings.batch_size, len(model.card.bands), settings.chip_size)
    where = (processor_name(), platform.machine(), sys.version_info[:2])
    return f"cost-{hashlib.sha256(repr((parts, shape, where, _REVISION)).encode()).hexdigest()[:40]}"


def _recall(key: str) -> NetworkCost | None:
    """Give what was kept; None if nothing was, or nothing of use."""
    with contextlib.suppress(ValueError, TypeError):
        return NetworkCost(**json.loads(recall(key, MEASURED) or b"null"))
    return None


def _measure_elsewhere(model: Model, settings: Settings) -> NetworkCost | None:
    """Measure in two processes, with one and two inferences: runtimes make room for all when they load."""
    try:
        one, two = (
            measure_in_new_process(_measure_here, model, replace(settings, concurrency=count))
            for count in (1, 2)
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    # Threads that happened to take turns would look as if the second took nothing.
    inference = max(two["peak"] - one["peak"], (one["peak"] - one["loaded"]) // 4)
    return NetworkCost(one["process"], one["peak"] - inference, inference, one["seconds"])


def _measure_here(model: Model, settings: Settings) -> Figures:
    process = resident_memory()
    backend = make_backend(model, settings)
    loaded = resident_memory()
    shape = (settings.batch_size, len(model.card.bands), settings.chip_size, settings.chip_size)
    chips = np.random.default_rng(0).standard_normal(shape, np.float32)
    peak, seconds = run_inferences(backend, settings.concurrency, chips)
    return {"process": process, "loaded": loaded, "peak": peak, "seconds": seconds}


def run_inferences(backend: Backend, count: int, chips: NDArray[np.float32]) -> tuple[int, float]:
    """Run a few inferences in this process, which must not have computed before.

    Args:
        backend: With room for so many inferences.
        count: How many run at once.
        chips: The input of an inference.

    Returns:
        The most bytes that were resident; core seconds of an inference.
    """

    def infer() -> None:
        backend.probabilities(chips.copy())

    with ThreadPoolExecutor(count, initializer=backend.prepare_thread) as pool:
        for _ in range(_ROUNDS):
            since = process_time()
            for done in [pool.submit(infer) for _ in range(count)]:
                done.result()
            seconds = (process_time() - since) / count  # of the last round: the first one warms up
    return peak_memory(), seconds


def measure_in_new_process(measure: Measurement, model: Model, settings: Settings) -> Figures:
    """Measure in a process that has loaded nothing yet but what a run has.

    Args:
        measure: A function of a module.
        model: Its first argument.
        settings: Its second.

    Returns:
        What it returns.

    Raises:
        OSError: If no process can be started.
        subprocess.SubprocessError: If it failed or took too long.
        ValueError: If it did not say what was measured.
    """
    if not sys.executable:
        raise OSError("Python does not know where it is")
    loaded = sorted(name for name in sys.modules if name.startswith("geoseg.execute."))  # with all they need
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import main; main()"],
        input=pickle.dumps((sys.path, loaded)) + pickle.dumps((measure, model, settings)),
        capture_output=True,
        timeout=_TIMEOUT,
        check=True,
        cwd=Path(__file__).parents[2],  # where this geoseg is found, installed or not
    )
    figures = json.loads((done.stdout.splitlines() or [b""])[-1])
    if not isinstance(figures, dict):
        raise ValueError("no figures")
    return figures


def main() -> None:
    """Measure what standard input describes, and print it."""
    from geoseg.system.memory import keep_memory

    keep_memory()
    # Both were written by the process that started this one.
    sys.path[:], modules = pickle.load(sys.stdin.buffer)  # noqa: S301
    for name in modules:  # a run has them in memory too
        import_module(name)
    measure, model, settings = pickle.load(sys.stdin.buffer)  # noqa: S301
    print(json.dumps(measure(model, settings)))  # noqa: T201
