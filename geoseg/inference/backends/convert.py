"""Find the converted network that a backend runs: in the package or the cache, else made now and checked.

A conversion is trusted only after its answer for one chip was compared with torch's: converters and runtimes
have translated operators wrongly before without a word. OpenVINO's is made for the model's own chips, once,
and resized to others.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError, SettingsError
from geoseg.inference.backends.onnx_ import OnnxBackend
from geoseg.inference.backends.openvino_ import OpenVinoBackend
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.models.conversion import ChipShape, ConvertedNetwork, can_convert, to_onnx
from geoseg.models.model import Model
from geoseg.models.networks import size_divisor
from geoseg.models.openvino_ir import resized
from geoseg.models.sources import ONNX, ONNX_FILE, OPENVINO
from geoseg.system.cache import keep, recall

Say = Callable[[str], None]
RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime"}
"""Backend -> the package it needs; `pip install "geoseg[<backend>]"` brings it."""
TITLES = {"openvino": "OpenVINO", "onnx": "ONNX Runtime"}

_REVISION = 2
"""To be raised when networks are converted in another way."""
_TOLERANCE = 1e-3
"""Between fp32 probabilities of two runtimes, which differ by rounding alone: 1e-7 to 5e-5 were seen."""


def converted_network(
    model: Model, backend: str, precision: str, shape: ChipShape, say: Say
) -> ConvertedNetwork:
    """Find or make the network that a backend runs.

    Args:
        model: The model.
        backend: ``"openvino"`` or ``"onnx"``.
        precision: ``"fp32"``, ``"bf16"`` (computed from the fp32 network) or ``"int8"``.
        shape: The chips of a batch.
        say: Told when the network is converted.

    Returns:
        The network; it stays with the model (``Model.loaded``), also when that is sent to another process.

    Raises:
        SettingsError: If there is no int8 network for these chips.
        ModelError: If the network cannot be converted, or the runtime gives other answers than torch.
    """
    if precision == "int8":
        return _quantized(model, shape)
    for form in (OPENVINO, ONNX) if backend == "openvino" else (ONNX,):
        found = model.converted(form, "fp32", shape)
        if found is not None:
            return found
    if model.config is None:
        _ = model.network  # says that there is none, and what to do
    own = ChipShape(1, shape.bands, model.chip_size)
    if backend == "openvino" and shape != own and recall(_cache_key(model, backend, shape)) is None:
        whole = converted_network(model, backend, precision, own, say)
        with contextlib.suppress(ModelError):
            model.loaded[OPENVINO, "fp32", shape] = resized(whole, shape)
            return model.loaded[OPENVINO, "fp32", shape]
    return exported_network(model, backend, shape, say)


def exported_network(model: Model, backend: str, shape: ChipShape, say: Say) -> ConvertedNetwork:
    """Export the network from torch for chips of a shape: from the cache, else made now and checked.

    Args:
        model: The model, with a torch network.
        backend: ``"openvino"`` or ``"onnx"``: what compares it with torch.
        shape: The chips of a batch.
        say: Told when the network is converted.

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
        network = _convert(model, backend, shape, say)
        keep(key, network.graph)
    model.loaded[ONNX, "fp32", shape] = network
    return network


def check_conversion(model: Model, backend: str, network: ConvertedNetwork) -> None:
    """Compare a converted network with torch's on one chip.

    Raises:
        ModelError: If their probabilities differ by more than rounding explains.
    """
    chips = np.random.default_rng(0).normal(size=network.shape.dimensions).astype(np.float32)
    expected = TorchBackend(model.network, divisor=size_divisor(model.network)).probabilities(chips)
    difference = float(np.abs(_run(backend, network, chips) - expected).max())
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"{TITLES[backend]} gives other answers than torch for this network (probabilities differ by up "
            f"to {difference:.2g}); use --backend torch"
        )


def _run(backend: str, network: ConvertedNetwork, chips: NDArray[np.float32]) -> NDArray[np.float32]:
    if backend == "onnx":
        return OnnxBackend(network, forwards=1).probabilities(chips)
    return OpenVinoBackend(network, forwards=1).probabilities(chips)


def _quantized(model: Model, shape: ChipShape) -> ConvertedNetwork:
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
    try:
        model.loaded[OPENVINO, "int8", shape] = resized(own, shape)
    except ModelError as error:
        raise SettingsError(
            f"--precision int8: the quantized network of {model.card.name} takes batches of "
            f"{shapes[0].batch} chip of {shapes[0].side} pixels, not {shape.batch} of {shape.side}: {error}; "
            "leave --chip-size and --batch-size out"
        ) from error
    return model.loaded[OPENVINO, "int8", shape]


def _convert(model: Model, backend: str, shape: ChipShape, say: Say) -> ConvertedNetwork:
    if not can_convert():
        raise SettingsError(
            f"--backend {backend}: converting a network needs the packages onnx and onnxscript; "
            f'run: pip install "geoseg[{backend}]"'
        )
    say(f"converting the network for {TITLES[backend]}, once (some seconds)")
    network = ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: to_onnx(model.network, shape)})
    check_conversion(model, backend, network)
    return network


def _cache_key(model: Model, backend: str, shape: ChipShape) -> str:
    versions = [_version(name) for name in (RUNTIMES[backend], "torch", "onnx", "onnxscript")]
    parts = (model.hash, backend, *map(str, shape.dimensions), *versions, str(_REVISION))
    return f"{backend}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:40]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
