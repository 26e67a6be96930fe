"""Choose the backend that runs a network: the fastest one installed, by a fixed rule.

On an x86-64 CPU, OpenVINO is faster than torch in fp32 and bf16, and it alone has int8; ONNX Runtime, in fp32
only, comes last (docs/backends.md has the figures). On a GPU, torch is chosen.
"""

from __future__ import annotations

import logging
import platform
from importlib.util import find_spec

from geoseg.errors import ModelError, SettingsError
from geoseg.inference.backends.convert import RUNTIMES, Say, converted_network
from geoseg.inference.backends.device import resolve_device, resolve_precision
from geoseg.models.conversion import ChipShape, can_convert
from geoseg.models.model import Model

_LOGGER = logging.getLogger(__name__)
BACKENDS = ("auto", "torch", "openvino", "onnx")
_X86 = ("x86_64", "AMD64")


def resolve_backend(
    backend: str, device: str, precision: str, *, has_torch: bool = True, elsewhere: bool = False
) -> tuple[str, str, str]:
    """Choose backend, device and precision.

    Args:
        backend: One of ``BACKENDS``.
        device: As for ``resolve_device``.
        precision: As for ``resolve_precision``.
        has_torch: Whether the model has weights for torch; a lone ONNX file has none.
        elsewhere: Whether other machines compute: a GPU that is named is then assumed to exist, and to
            compute in bf16.

    Returns:
        Backend, device and precision, none of them ``"auto"``.

    Raises:
        SettingsError: If they do not go together, or the backend is not installed.
    """
    if backend not in BACKENDS:
        raise SettingsError(f"--backend {backend}: use one of {', '.join(BACKENDS)}")
    converted = backend in RUNTIMES or precision == "int8" or not has_torch
    if elsewhere and device.startswith("cuda"):
        device = "cuda:0" if device == "cuda" else device
        precision = "bf16" if precision == "auto" else precision
    else:
        device = resolve_device("cpu" if converted and device == "auto" else device)
    if converted and device != "cpu":
        asked = f"--backend {backend}" if backend in RUNTIMES else "a converted network"
        raise SettingsError(
            f"{asked} runs on a CPU, not on {device}; leave --device out, or use --backend torch"
        )
    if backend == "auto":
        backend = _fastest(device, precision, has_torch=has_torch)
    if backend in RUNTIMES and find_spec(RUNTIMES[backend]) is None:
        raise SettingsError(
            f'--backend {backend} needs the package {RUNTIMES[backend]}; run: pip install "geoseg[{backend}]"'
        )
    precision = resolve_precision("fp32" if (backend, precision) == ("onnx", "auto") else precision, device)
    _check(backend, precision)
    _LOGGER.debug("%s runs the network on %s in %s", backend, device, precision)
    return backend, device, precision


def convert_or_torch(
    model: Model, backend: str, precision: str, shape: ChipShape, say: Say, *, chosen: bool
) -> str:
    """Make sure that the backend has its network.

    Args:
        model: The model.
        backend: From ``resolve_backend``.
        precision: From ``resolve_backend``.
        shape: The chips of a batch.
        say: Told when the network is converted.
        chosen: Whether the backend was chosen by rule: then torch runs what cannot be converted.

    Returns:
        The backend.

    Raises:
        ModelError: If the network cannot be converted.
        SettingsError: If there is no int8 network for these chips.
    """
    if backend == "torch":
        _ = model.network  # so that weights that do not fit are found before the run starts
        return backend
    try:
        converted_network(model, backend, precision, shape, say)
    except ModelError as error:
        if not chosen or precision == "int8" or model.config is None:
            raise
        say(f"warning: {error}; torch runs it")
        return "torch"
    return backend


def _fastest(device: str, precision: str, *, has_torch: bool) -> str:
    has_openvino = find_spec(RUNTIMES["openvino"]) is not None
    if not has_torch:
        return "openvino" if has_openvino or find_spec(RUNTIMES["onnx"]) is None else "onnx"
    if precision == "int8":
        return "openvino"
    is_x86_cpu = device == "cpu" and platform.machine() in _X86
    return "openvino" if is_x86_cpu and has_openvino and can_convert() and precision != "fp16" else "torch"


def _check(backend: str, precision: str) -> None:
    if precision == "int8" and backend != "openvino":
        raise SettingsError(f"--precision int8 needs --backend openvino, not {backend}")
    if backend == "onnx" and precision != "fp32":
        raise SettingsError(f"--backend onnx computes in fp32, not in {precision}; leave --precision out")
