"""Figures of how a network runs on this machine, measured once in processes of their own and kept.

A process of its own leaves no memory behind, has none to begin with, and cannot take the run with it. What is
measured never changes an answer.
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
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from geoseg.models import Model
from geoseg.plan.settings import Settings
from geoseg.system.cache import MEASURED, keep, recall
from geoseg.system.cpu import processor_name

Figures = dict[str, Any]
Measurement = Callable[[Model, Settings], Figures]

_TIMEOUT = 300
_PACKAGES = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}


def key_of(what: str, model: Model, settings: Settings, *more: object) -> str:
    """A key for figures of a network: of the model, the shape of a forward, what runs it, and on what.

    Args:
        what: What is measured.
        model: The model.
        settings: The run's; only what a forward depends on matters.
        more: What else the figures depend on.
    """
    package = _PACKAGES[settings.backend]
    try:
        installed = version(package)
    except PackageNotFoundError:
        installed = "none"
    parts = (model.hash, settings.backend, settings.device, settings.precision, installed)
    shape = (settings.batch_size, len(model.bands), settings.chip_size)
    where = (processor_name(), platform.machine(), sys.version_info[:2])
    return f"{what}-{hashlib.sha256(repr((parts, shape, where, more)).encode()).hexdigest()[:40]}"


def of_own_chips(model: Model, settings: Settings) -> Settings:
    """The settings with chips of the model's own size: what is measured with them holds for chips of any.

    So a network is measured once, whatever sizes it is run with. ONNX Runtime, and a model without torch, may
    have no network for those chips; then the settings are as they were.
    """
    has_own = settings.backend != "onnx" and model.config is not None
    return replace(settings, chip_size=model.chip_size) if has_own else settings


def recall_figures(key: str) -> Figures | None:
    """What was kept; None if nothing was, or nothing of use."""
    with contextlib.suppress(ValueError, TypeError):
        figures = json.loads(recall(key, MEASURED) or b"null")
        return figures if isinstance(figures, dict) else None
    return None


def keep_figures(key: str, figures: Figures) -> None:
    """Keep figures; where nothing can be written they are measured again."""
    keep(key, json.dumps(figures).encode(), MEASURED)


def measure_elsewhere(measure: Measurement, model: Model, settings: Settings) -> Figures:
    """Measure in a process that has loaded nothing yet.

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
    done = subprocess.run(
        [sys.executable, "-c", "from geoseg.plan.measured import main; main()"],
        input=pickle.dumps((sys.path, _loaded())) + pickle.dumps((measure, model, settings)),
        capture_output=True,
        timeout=_TIMEOUT,
        check=True,
        cwd=Path(__file__).parents[2],  # where this geoseg is found, installed or not
    )
    figures = json.loads((done.stdout.splitlines() or [b""])[-1])
    if not isinstance(figures, dict):
        raise ValueError("no figures")
    return figures


def _loaded() -> list[str]:
    """The modules of geoseg that this process has loaded: a run takes their memory too."""
    return sorted(name for name in sys.modules if name.startswith("geoseg."))


def main() -> None:
    """Measure what standard input describes, and print it."""
    from geoseg.system.allocator import keep_memory

    keep_memory()
    # Both were written by the process that started this one.
    sys.path[:], modules = pickle.load(sys.stdin.buffer)  # noqa: S301
    for name in modules:
        import_module(name)
    measure, model, settings = pickle.load(sys.stdin.buffer)  # noqa: S301
    print(json.dumps(measure(model, settings)))  # noqa: T201
