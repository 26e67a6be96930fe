"""Find the converted network that a backend runs: in the package or the cache, else made now and checked.

A conversion is trusted only after its answer for one chip was compared with torch's: converters and runtimes
have translated operators wrongly before without a word. OpenVINO's is made for the model's own chips, once,
and resized to others.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from geoseg.errors import ModelError, SettingsError
from geoseg.inference.backends import backend_kind
from geoseg.inference.backends.protocol import BackendKind
from geoseg.models.conversion import ChipShape, ConvertedNetwork, can_convert, to_onnx
from geoseg.models.model import Model
from geoseg.models.sources import ONNX, ONNX_FILE, OPENVINO
from geoseg.progress import Progress
from geoseg.system.cache import keep, recall

_REVISION = 2
"""To be raised when networks are converted in another way."""
_TOLERANCE = 1e-3
"""Between fp32 probabilities of two runtimes, which differ by rounding alone: 1e-7 to 5e-5 were seen."""


def converted_network(
    model: Model, backend: str, precision: str, shape: ChipShape, progress: Progress
) -> ConvertedNetwork:
    """Find or make the network that a backend runs.

    Args:
        model: The model.
        backend: A key of ``BACKENDS`` whose kind has ``formats``.
        precision: ``"fp32"``, ``"bf16"`` (computed from the fp32 network) or ``"int8"``.
        shape: The chips of a batch.
        progress: Told when the network is converted.

    Returns:
        The network; it stays with the model (``Model.loaded``), also when that is sent to another process.

    Raises:
        SettingsError: If there is no int8 network for these chips.
        ModelError: If the network cannot be converted, or the runtime gives other answers than torch.
    """
    kind = backend_kind(backend)
    if precision == "int8":
        return _quantized(model, kind, shape)
    for form in kind.formats:
        found = model.converted(form, "fp32", shape)
        if found is not None:
            return found
    if model.config is None:
        _ = model.network  # says that there is none, and what to do
    own = ChipShape(1, shape.bands, model.card.chip_size)
    if kind.resize is not None and shape != own and recall(_cache_key(model, backend, shape)) is None:
        whole = converted_network(model, backend, precision, own, progress)
        with contextlib.suppress(ModelError):
            found = kind.resize(whole, shape)
            model.loaded[found.format, "fp32", shape] = found
            return found
    return exported_network(model, backend, shape, progress)


def exported_network(model: Model, backend: str, shape: ChipShape, progress: Progress) -> ConvertedNetwork:
    """Export the network from torch for chips of a shape: from the cache, else made now and checked.

    Args:
        model: The model, with a torch network.
        backend: As for ``converted_network``: what compares it with torch.
        shape: The chips of a batch.
        progress: Told when the network is converted.

    Returns:
        The network as ONNX; it stays with the model.

    Raises:
        SettingsError: If what converting needs is not installed.
        ModelError: If the network cannot be converted, or the runtime gives other answers than torch.
    """
    key = _cache_key(model, backend, shape)
    kept = recall(key)
    if kept:
        network = ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: kept})
    else:
        network = _convert(model, backend, shape, progress)
        keep(key, network.graph)
    model.loaded[ONNX, "fp32", shape] = network
    return network


def check_conversion(model: Model, backend: str, network: ConvertedNetwork) -> None:
    """Compare a converted network with torch's on one chip.

    Raises:
        ModelError: If their probabilities differ by more than rounding explains.
    """
    kind, settings = backend_kind(backend), OneInference(network.shape.batch, network.shape.side)
    chips = np.random.default_rng(0).normal(size=network.shape.dimensions).astype(np.float32)
    expected = backend_kind("torch").make(model.network, settings).probabilities(chips)
    difference = float(np.abs(kind.make(network, settings).probabilities(chips) - expected).max())
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"{kind.title} gives other answers than torch for this network (probabilities differ by up "
            f"to {difference:.2g}); use --backend torch"
        )


@dataclass(frozen=True)
class OneInference:
    """How a network runs for a check: in fp32 on a CPU, once; see ``BackendSettings``."""

    batch_size: int
    chip_size: int
    backend: str = ""
    device: str = "cpu"
    precision: str = "fp32"
    concurrency: int = 1
    tta: str = "none"
    temperature: float = 1.0


def _quantized(model: Model, kind: BackendKind, shape: ChipShape) -> ConvertedNetwork:
    """The package's int8 network; for other chips than it was made for resized, which takes no time."""
    found = model.converted(OPENVINO, "int8", shape)
    if found is not None:
        return found
    shapes = [network.shape for network in model.listed if network.precision == "int8"]
    if not shapes:
        raise SettingsError(
            f"--precision int8: {model.card.name} has no quantized network; make one with "
            "`geoseg models quantize MODEL --scenes SCENE... -o MODEL_OUT`"
        )
    own = model.converted(OPENVINO, "int8", shapes[0])
    assert own is not None  # it is listed
    assert kind.resize is not None  # all that read OpenVINO's format can
    try:
        model.loaded[OPENVINO, "int8", shape] = kind.resize(own, shape)
    except ModelError as error:
        raise SettingsError(
            f"--precision int8: the quantized network of {model.card.name} takes batches of "
            f"{shapes[0].batch} chip of {shapes[0].side} pixels, not {shape.batch} of {shape.side}: {error}; "
            "leave --chip-size and --batch-size out"
        ) from error
    return model.loaded[OPENVINO, "int8", shape]


def _convert(model: Model, backend: str, shape: ChipShape, progress: Progress) -> ConvertedNetwork:
    kind = backend_kind(backend)
    if not can_convert():
        raise SettingsError(
            f"--backend {backend}: converting a network needs the packages onnx and onnxscript; "
            f"run: {kind.install}"
        )
    progress.say(f"converting the network for {kind.title}, once (some seconds)")
    network = ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: to_onnx(model.network, shape)})
    check_conversion(model, backend, network)
    return network


def _cache_key(model: Model, backend: str, shape: ChipShape) -> str:
    versions = [_version(name) for name in (backend_kind(backend).package, "torch", "onnx", "onnxscript")]
    parts = (model.hash, backend, *map(str, shape.dimensions), *versions, str(_REVISION))
    return f"{backend}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:40]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
