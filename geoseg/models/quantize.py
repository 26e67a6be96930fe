"""Post-training quantization of a converted network to 8-bit weights and activations, with nncf.

https://docs.openvino.ai/2025/openvino-workflow/model-optimization-guide/quantizing-models-post-training.html.
Scales of activations are computed from chips of scenes; no labels are needed and no weights are trained.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError, SettingsError
from geoseg.models.conversion import INPUTS, ConvertedNetwork
from geoseg.models.openvino_ir import read_network, to_ir, without_telemetry

_WITH_WEIGHTS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")


def check_can_quantize() -> None:
    """Check that the packages for quantizing are installed.

    Raises:
        SettingsError: if one is missing, with the command that installs it.
    """
    for package in ("openvino", "nncf"):
        if find_spec(package) is None:
            raise SettingsError(
                f'quantizing needs the package {package}; run: pip install "geoseg[quantize]"'
            )


def quantize_network(network: ConvertedNetwork, chips: Sequence[NDArray[np.float32]]) -> ConvertedNetwork:
    """Quantize a converted network to int8.

    Args:
        network: fp32, ONNX or IR.
        chips: normalised chips, float32, each with the shape of one inference.

    Returns:
        The int8 network as OpenVINO IR.

    Raises:
        ModelError: if nncf cannot quantize it.
    """
    model = read_network(network)
    try:
        with _quiet():
            nncf = _import_nncf()
            quantized = nncf.quantize(
                model,
                nncf.Dataset(chips, _inputs_of),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(chips),
                fast_bias_correction=True,
                ignored_scope=nncf.IgnoredScope(names=_kept_exact(model), validate=False),
            )
    except Exception as error:  # nncf has errors of a dozen kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"nncf cannot quantize this network: {lines[0][:200]}") from error
    return to_ir(quantized, network.shape, "int8")


def _inputs_of(chip: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return dict(zip(INPUTS, (chip, np.ones((), np.float32)), strict=True))


def _kept_exact(model: Any) -> list[str]:
    """Name the layers that stay fp32: those that read the chip, and all that follow the logits.

    Values of a scene have a wide range, so 8 bits in the first layer change many classes and save little
    time. Probabilities in 8 bits would round the confidence.
    """
    read, shown = _reached(model.inputs, _users), _reached(model.outputs, _sources)
    return [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_friendly_name() in (read if _has_weights(node) else shown)
    ]


def _reached(ends: Iterable[Any], neighbours: Callable[[Any], Iterable[Any]]) -> set[str]:
    """Name the nodes reached from inputs or outputs, up to the first that have weights."""
    waiting = [end.get_node() for end in ends]
    seen = {node.get_friendly_name() for node in waiting}
    while waiting:
        for node in neighbours(waiting.pop()):
            if node.get_friendly_name() not in seen:
                seen.add(node.get_friendly_name())
                if not _has_weights(node):
                    waiting.append(node)
    return seen


def _users(node: Any) -> Iterator[Any]:
    return (target.get_node() for output in node.outputs() for target in output.get_target_inputs())


def _sources(node: Any) -> Iterator[Any]:
    return (value.get_node() for value in node.input_values())


def _has_weights(node: Any) -> bool:
    return node.get_type_name() in _WITH_WEIGHTS


def _import_nncf() -> Any:
    with without_telemetry():
        import nncf
    return nncf


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep nncf from drawing progress bars on stdout, and its dependencies from logging."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
