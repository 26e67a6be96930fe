"""Choose the backend that runs a network: the fastest one installed, by a fixed rule.

On an x86-64 CPU, OpenVINO is faster than torch in fp32 and bf16, and it alone has int8; ONNX Runtime, in fp32
only, comes last (docs/backends.md has the figures). On a GPU, torch is chosen.
"""

from __future__ import annotations

import logging
import platform
from importlib.util import find_spec

from geoseg.errors import ModelError, SettingsError
from geoseg.inference.backends import BACKENDS, backend_kind
from geoseg.inference.backends.convert import converted_network
from geoseg.inference.backends.device import resolve_device, resolve_precision
from geoseg.inference.backends.protocol import BackendKind
from geoseg.models.conversion import ChipShape, can_convert
from geoseg.models.model import Model
from geoseg.progress import Progress

_LOGGER = logging.getLogger(__name__)
_X86 = ("x86_64", "AMD64")


def resolve_backend(
    backend: str, device: str, precision: str, *, has_torch: bool = True, elsewhere: bool = False
) -> tuple[str, str, str]:
    """Choose backend, device and precision.

    Args:
        backend: A key of ``BACKENDS``, or ``"auto"``.
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
    if backend not in ("auto", *BACKENDS):
        raise SettingsError(f"--backend {backend}: use one of auto, {', '.join(BACKENDS)}")
    named = None if backend == "auto" else backend_kind(backend)
    is_converted = precision == "int8" or not has_torch
    if named is not None and (named.formats or not is_converted):
        what, devices = f"--backend {backend}", named.devices
    else:
        what, devices = "a converted network", ("cpu",) if is_converted else backend_kind("torch").devices
    if elsewhere and device.startswith("cuda"):
        device = "cuda:0" if device == "cuda" else device
        precision = "bf16" if precision == "auto" else precision
    else:
        device = resolve_device("cpu" if devices == ("cpu",) and device == "auto" else device)
    if device.split(":")[0] not in devices:
        where = "a CPU" if devices == ("cpu",) else " or ".join(devices)
        raise SettingsError(
            f"{what} runs on {where}, not on {device}; leave --device out, or use --backend torch"
        )
    if named is None:
        backend = _fastest(device, precision, has_torch=has_torch)
    kind = backend_kind(backend)
    if find_spec(kind.package) is None:
        raise SettingsError(f"--backend {backend} needs the package {kind.package}; run: {kind.install}")
    if precision == "auto" and "bf16" not in kind.planes:
        precision = "fp32"
    precision = resolve_precision(precision, device)
    if precision not in kind.planes:
        raise _wrong_precision(kind, precision)
    _LOGGER.debug("%s runs the network on %s in %s", backend, device, precision)
    return backend, device, precision


def convert_or_torch(
    model: Model, backend: str, precision: str, shape: ChipShape, progress: Progress, *, chosen: bool
) -> str:
    """Make sure that the backend has its network.

    Args:
        model: The model.
        backend: From ``resolve_backend``.
        precision: From ``resolve_backend``.
        shape: The chips of a batch.
        progress: Told when the network is converted.
        chosen: Whether the backend was chosen by rule: then torch runs what cannot be converted.

    Returns:
        The backend.

    Raises:
        ModelError: If the network cannot be converted.
        SettingsError: If there is no int8 network for these chips.
    """
    if not backend_kind(backend).formats:
        _ = model.network  # so that weights that do not fit are found before the run starts
        return backend
    try:
        converted_network(model, backend, precision, shape, progress)
    except ModelError as error:
        if not chosen or precision == "int8" or model.config is None:
            raise
        progress.say(f"warning: {error}; torch runs it")
        return "torch"
    return backend


def _fastest(device: str, precision: str, *, has_torch: bool) -> str:
    has_openvino = _is_installed("openvino")
    if not has_torch:
        return "openvino" if has_openvino or not _is_installed("onnx") else "onnx"
    if precision == "int8":
        return "openvino"
    is_x86_cpu = device == "cpu" and platform.machine() in _X86
    return "openvino" if is_x86_cpu and has_openvino and can_convert() and precision != "fp16" else "torch"


def _is_installed(backend: str) -> bool:
    return find_spec(backend_kind(backend).package) is not None


def _wrong_precision(kind: BackendKind, precision: str) -> SettingsError:
    if precision == "int8":
        able = " or ".join(name for name in BACKENDS if precision in backend_kind(name).planes)
        return SettingsError(f"--precision int8 needs --backend {able}, not {kind.name}")
    known = " or ".join(kind.planes)
    return SettingsError(
        f"--backend {kind.name} computes in {known}, not in {precision}; leave --precision out"
    )
