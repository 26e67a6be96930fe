"""A converted network for chips of another shape, so that an int8 network is made but once.

A graph is converted at one shape, and some layers may hold it as numbers (windows of attention, encoded
positions, pooling over all of a chip). Only networks of layers that cannot are resized.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from geoseg.errors import ModelError
from geoseg.models.conversion import INPUTS, ChipShape
from geoseg.models.converted import Converted
from geoseg.models.openvino_runtime import import_openvino, read_network, to_ir

_MAP = 4
"""Axes of a batch of feature maps."""
_UPSAMPLES = "Interpolate"
_OF_ANY_SIZE = {
    *("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"),
    *("Add", "Subtract", "Multiply", "Divide", "FakeQuantize", "Convert", "Concat", "MaxPool", _UPSAMPLES),
    *("Relu", "PRelu", "Elu", "Gelu", "Clamp", "HSigmoid", "HSwish", "Mish", "Sigmoid", "Swish", "Tanh"),
    *("ReduceMean", "Softmax", "Result", "ShapeOf"),
}


def resized(network: Converted, shape: ChipShape) -> Converted:
    """A network for chips of another shape, its weights and scales as they are.

    Args:
        network: Any that OpenVINO reads.
        shape: What it shall take.

    Returns:
        The network as OpenVINO IR.

    Raises:
        ModelError: If one of its layers was made for chips of one size, or its strides do not suit the side.
    """
    model = read_network(network)
    layers = list(_reached(_chips_of(model)))
    for layer in layers:
        if layer.get_type_name() not in _OF_ANY_SIZE:
            raise ModelError(f"one of its layers ({layer.get_type_name()}) was made for them")
    before = _sides(layers)
    try:
        for node in model.get_ordered_ops():
            if node.get_type_name() == _UPSAMPLES:
                _scale_output(node, network.shape, shape)
        # `Model.reshape` looks at the model half changed, and fails where upsampling layers hold sizes.
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


def _reached(start: Any) -> Iterator[Any]:
    """All nodes whose values depend on an input's values; what is worked out of shapes follows any shape."""
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
    """Rows and columns of all feature maps; they grow as the chip does, or are of one pixel and stay so."""
    shapes = [list(layer.output(0).shape) for layer in layers]
    return [side for shape in shapes if len(shape) == _MAP for side in shape[2:]]


def _scale_output(node: Any, old: ChipShape, new: ChipShape) -> None:
    """Let an upsampling layer give as much larger an output as the chip is, where it holds a size."""
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
