"""OpenVINO and its format, IR: read a converted network, write it as IR, and resize it to other chips.

OpenVINO is imported without its telemetry.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from geoseg.errors import ModelError
from geoseg.models.conversion import INPUTS, ChipShape, ConvertedNetwork
from geoseg.models.onnx_file import read_metadata
from geoseg.models.sources import CONVERTED_FILES, ONNX, OPENVINO

_TELEMETRY = "openvino_telemetry"
_importing = Lock()
_MAP = 4
"""Number of axes of a batch of feature maps."""
_UPSAMPLES = "Interpolate"
_OF_ANY_SIZE = {
    *("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"),
    *("Add", "Subtract", "Multiply", "Divide", "FakeQuantize", "Convert", "Concat", "MaxPool", _UPSAMPLES),
    *("Relu", "PRelu", "Elu", "Gelu", "Clamp", "HSigmoid", "HSwish", "Mish", "Sigmoid", "Swish", "Tanh"),
    *("ReduceMean", "Softmax", "Result", "ShapeOf"),
}


def import_openvino() -> Any:
    """Import the module `openvino` without its telemetry."""
    with without_telemetry():
        import openvino
    return openvino


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Hide the telemetry package while OpenVINO or nncf is imported, so that they send no usage statistics.

    Both work without the package. If the program has imported it already, nothing is changed.
    """
    with _importing:
        hidden = _TELEMETRY not in sys.modules
        if hidden:
            sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # documented: the import then fails
        try:
            yield
        finally:
            if hidden:
                del sys.modules[_TELEMETRY]


def has_openvino() -> bool:
    """Tell whether OpenVINO is installed."""
    return find_spec("openvino") is not None


def read_network(network: ConvertedNetwork) -> Any:
    """Read a converted network as an `openvino.Model`; an ONNX file is checked before OpenVINO sees it.

    Raises:
        ModelError: if OpenVINO cannot read it, or it takes other chips than it is listed with.
    """
    openvino = import_openvino()
    core = openvino.Core()
    try:
        if network.format == ONNX:
            read_metadata(network.graph, "the converted network")
            model = core.read_model(model=network.graph)
        else:
            model = core.read_model(model=network.graph, weights=network.weights or b"")
        shape = tuple(model.input("chips").shape)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(f"OpenVINO cannot read the converted network: {reason[:200]}") from error
    if shape != network.shape.dimensions:
        listed = network.shape.dimensions
        raise ModelError(f"the converted network takes chips of {shape}, not {listed} as listed")
    return model


def to_ir(model: Any, shape: ChipShape, precision: str) -> ConvertedNetwork:
    """Write an `openvino.Model` as IR, its weights as they are; the same model gives the same bytes.

    Args:
        model: with the inputs and output of `conversion.to_onnx`. Its nodes are renamed: their own names
            count what OpenVINO has read so far in this process.
        shape: the chips it takes.
        precision: "fp32" or "int8".
    """
    openvino = import_openvino()
    names = CONVERTED_FILES[OPENVINO, precision]
    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() != "Parameter":
            node.set_friendly_name(f"{node.get_type_name()}_{number}")
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, str(Path(folder) / names[0]), compress_to_fp16=False)
        files = {name: (Path(folder) / name).read_bytes() for name in names}
    return ConvertedNetwork(OPENVINO, precision, shape, files)


def resized(network: ConvertedNetwork, shape: ChipShape) -> ConvertedNetwork:
    """Resize a converted network to chips of another shape, so that an int8 network is made only once.

    A graph is converted at one shape, and some layers may contain that shape as constants (windows of
    attention, position encodings, pooling over a whole chip). Only networks without such layers are resized.

    Args:
        network: any network that OpenVINO reads.
        shape: the new shape of chips.

    Returns:
        The network as OpenVINO IR.

    Raises:
        ModelError: if one of its layers was made for chips of one size, or its strides do not suit the side.
    """
    model = read_network(network)
    layers = list(_depending_on(_chips_of(model)))
    for layer in layers:
        if layer.get_type_name() not in _OF_ANY_SIZE:
            raise ModelError(f"one of its layers ({layer.get_type_name()}) was made for them")
    before = _sides(layers)
    try:
        for node in model.get_ordered_ops():
            if node.get_type_name() == _UPSAMPLES:
                _scale_output(node, network.shape, shape)
        # `Model.reshape` validates the model half changed, and fails where upsampling layers hold sizes.
        _chips_of(model).set_partial_shape(import_openvino().PartialShape(list(shape.dimensions)))
        model.validate_nodes_and_infer_types()
    except (RuntimeError, ValueError) as error:
        raise ModelError(_unsuited(shape)) from error
    for old, new in zip(before, _sides(layers), strict=True):
        if old * shape.side != new * network.shape.side and not old == new == 1:
            raise ModelError(_unsuited(shape))
    return to_ir(model, shape, network.precision)


def _chips_of(model: Any) -> Any:
    return next(node for node in model.get_parameters() if INPUTS[0] in node.output(0).get_names())


def _depending_on(start: Any) -> Iterator[Any]:
    """Walk over the nodes whose values depend on an input's values, not only on its shape."""
    waiting, seen = [start], set()
    while waiting:
        for output in waiting.pop().outputs():
            for target in output.get_target_inputs():
                node = target.get_node()
                if node.get_name() not in seen:
                    seen.add(node.get_name())
                    yield node
                    if node.get_type_name() != "ShapeOf":
                        waiting.append(node)


def _sides(layers: Iterable[Any]) -> list[int]:
    """List rows and columns of all feature maps; they scale with the chip, or stay one pixel."""
    shapes = [list(layer.output(0).shape) for layer in layers]
    return [side for shape in shapes if len(shape) == _MAP for side in shape[2:]]


def _scale_output(node: Any, old: ChipShape, new: ChipShape) -> None:
    """Scale the constant output size of an upsampling layer by the ratio of the chips."""
    source = node.input_value(1).get_node()
    if node.get_attributes()["shape_calculation_mode"] != "sizes" or source.get_type_name() != "Constant":
        return
    has_axes = node.get_input_size() > 2
    axes = node.input_value(2).get_node().data if has_axes else range(len(source.data))
    sizes = [_grown(int(size), int(axis), old, new) for size, axis in zip(source.data, axes, strict=True)]
    constant = import_openvino().opset15.constant(np.array(sizes, np.int64))
    node.input(1).replace_source_output(constant.output(0))


def _grown(size: int, axis: int, old: ChipShape, new: ChipShape) -> int:
    if axis < 2:
        return new.batch if axis == 0 else size
    grown, rest = divmod(size * new.side, old.side)
    if rest:
        raise ValueError("the strides of the network do not suit the side")
    return grown


def _unsuited(shape: ChipShape) -> str:
    return f"{shape.side} is no multiple of its strides"
