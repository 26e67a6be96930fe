"""Change what an ONNX network takes and gives, so that geoseg runs others' networks, and others run ours.

geoseg runs graphs as `conversion.to_onnx` makes them: normalised chips in, probabilities out. Deepness and
GeoDeep run graphs with one input, stored values divided by 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geoseg.errors import ModelError
from geoseg.models.card import ModelCard
from geoseg.models.conversion import CHIPS, OUTPUT, TEMPERATURE, ChipShape
from geoseg.models.onnx_file import import_onnx, read_metadata
from geoseg.models.transforms import LEAST_LOGARITHM, Chain

WHITE = 255
"""What Deepness and GeoDeep divide stored values by."""

_MOST_CLASSES = 255

_VALUES = "values"
_OWN, _ORIGINAL = "geoseg/", "original/"
# Maps of any size are reshaped and resized after a softmax, which changes no class.
_KEEP = {
    *(
        "Identity",
        "Cast",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Resize",
        "Upsample",
        "Slice",
        "Gather",
    )
}
_PROBABILITIES = {"Softmax", "Sigmoid"}
_SLACK = 1e-6
"""So that a pixel whose value is the threshold itself has the class, as in the tools."""


def take_values(graph: bytes, card: ModelCard) -> bytes:
    """Make a network take stored values divided by 255, as Deepness and GeoDeep give them.

    Args:
        graph: from `conversion.to_onnx`.
        card: of the network; its scale and normalisation go into the graph.

    Returns:
        The same network with the input `values`; `take_chips` is the inverse.
    """
    onnx = import_onnx("exporting a network")
    model = onnx.ModelProto.FromString(graph)
    build = _Nodes(_opset(model))
    build.constant(card.temperatures.get("none", 1.0), TEMPERATURE)
    means, stds = (values.astype(np.float64).reshape(1, -1, 1, 1) for values in (card.means, card.stds))
    scale, offset = WHITE * card.value_scale, card.value_offset
    source = _VALUES
    if card.transforms:
        source = build.scaled(source, scale, offset)
        source, scale, offset = build.transformed(source, card.transforms), 1.0, 0.0
    build.scaled(source, scale / stds, (offset - means) / stds, output=CHIPS)
    nodes = [*build.nodes, *model.graph.node]
    values = next(value for value in model.graph.input if value.name == CHIPS)
    values.name = _VALUES
    _replace(model.graph.node, nodes)
    _replace(model.graph.input, [values])
    data: bytes = model.SerializeToString()
    return data


def take_chips(graph: bytes, where: str) -> bytes:
    """Return the network that `take_values` was given; any other network as it is."""
    onnx = import_onnx(f"reading {where}")
    model = onnx.ModelProto.FromString(graph)
    inputs, nodes = model.graph.input, list(model.graph.node)
    made = [number for number, node in enumerate(nodes) if CHIPS in node.output]
    if [value.name for value in inputs] != [_VALUES] or not made:
        return graph
    inputs[0].name = CHIPS
    inputs.append(onnx.helper.make_tensor_value_info(TEMPERATURE, onnx.TensorProto.FLOAT, []))
    _replace(model.graph.node, nodes[made[0] + 1 :])
    data: bytes = model.SerializeToString()
    return data


@dataclass(frozen=True)
class ForeignNetwork:
    """A network that another tool wrote: an image in, one map of probabilities or scores out.

    Attributes:
        where: the file, as messages name it.
        bands: bands of the image.
        side: the only side of images that it takes; None if it takes any.
        channels: of the map; 1 of a network that tells one class from all else.
        is_probability: whether the map holds probabilities, else scores of any size.
        model: the `onnx.ModelProto`.
    """

    where: str
    bands: int
    side: int | None
    channels: int
    is_probability: bool
    model: Any = field(repr=False)

    @property
    def classes(self) -> int:
        """How many classes it tells apart, the background of a single class among them."""
        return max(2, self.channels)

    def convert(self, side: int, threshold: float | None) -> tuple[bytes, ChipShape]:
        """Make it a graph from normalised chips to probabilities.

        Args:
            side: of the chips.
            threshold: values of the map below it count as 0, so that a pixel where all are is of the first
                class; None to compare them as they are. The most probable class is the class under this rule,
                and probabilities stay continuous: that of the first class is raised where others are unsure.

        Raises:
            ModelError: if the threshold or the side does not suit the network.
        """
        onnx = import_onnx(f"reading {self.where}")
        self._check(side, threshold)
        try:
            model = onnx.compose.add_prefix(_with_side(self.model, side), _ORIGINAL)
        except Exception as error:  # of several kinds
            raise ModelError(f"{self.where} is damaged: its graph cannot be read ({error})") from error
        model.ClearField("metadata_props")
        graph = model.graph
        stored = {tensor.name for tensor in graph.initializer}
        source = next(value for value in graph.input if value.name not in stored)
        head, tail = _Nodes(_opset(model)), _Nodes(_opset(model))
        head.add("Identity", CHIPS, output=source.name)
        result = graph.output[0]
        answer = result.name
        if result.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            answer = tail.add("Cast", answer, to=onnx.TensorProto.FLOAT)
        dimensions = (1, self.channels, side, side)
        answer = tail.add("Reshape", answer, tail.constant(dimensions, dtype=np.int64))
        limit = None if threshold is None else threshold - _SLACK
        self._add_rule(tail, answer, limit)
        shape = ChipShape(1, self.bands, side)
        _replace(graph.node, [*head.nodes, *graph.node, *tail.nodes])
        float_info, number = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        old = [value for value in graph.input if value.name in stored]
        _replace(graph.input, [float_info(CHIPS, number, shape.dimensions), *old])
        _replace(graph.output, [float_info(OUTPUT, number, (1, self.classes, side, side))])
        graph.ClearField("value_info")
        data: bytes = model.SerializeToString()
        return data, shape

    def _check(self, side: int, threshold: float | None) -> None:
        if self.side not in (None, side):
            raise ModelError(f"{self.where} takes chips of {self.side} pixels only, not {side}")
        if threshold is None:
            return
        least_ok = threshold > 0 if self.channels == 1 else threshold >= 0
        if not least_ok or (self.is_probability and threshold >= 1):
            raise ModelError(
                f"{self.where}: its threshold is {threshold:g}, so that every pixel has the same class; "
                "it must be above 0 and below 1"
            )

    def _add_rule(self, tail: _Nodes, answer: str, limit: float | None) -> None:
        if self.channels == 1 and self.is_probability:
            share = 0.5 if limit is None else max(limit, 1e-6)
            present = tail.add("Mul", answer, tail.constant(1 - share))
            absent = tail.add("Sub", tail.constant(share), tail.add("Mul", answer, tail.constant(share)))
            tail.normalise(tail.add("Concat", absent, present, axis=1))
        elif self.channels == 1:
            present = tail.add("Sigmoid", tail.add("Sub", answer, tail.constant(limit or 0.0)))
            absent = tail.add("Sub", tail.constant(1.0), present)
            tail.add("Concat", absent, present, axis=1, output=OUTPUT)
        elif self.is_probability:
            tail.normalise(answer if limit is None or limit <= 0 else self._raised(tail, answer, limit))
        else:
            scores = answer if limit is None else self._raised(tail, answer, limit)
            top = tail.reduce("ReduceMax", scores)
            tail.normalise(tail.add("Exp", tail.add("Sub", scores, top)))

    def _raised(self, tail: _Nodes, answer: str, limit: float) -> str:
        """Raise the first class above all others where none of them reaches the threshold."""
        first = tail.add("Gather", answer, tail.constant([0], dtype=np.int64), axis=1)
        others = range(1, self.channels)
        rest = tail.add("Gather", answer, tail.constant(list(others), dtype=np.int64), axis=1)
        floor = tail.constant(limit)
        if self.is_probability:  # falls from the threshold, where another class has that, to 0 at 1
            unsure = tail.add("Sub", tail.constant(1.0), tail.reduce("ReduceMax", rest))
            floor = tail.add("Mul", unsure, tail.constant(limit / (1 - limit)))
        return tail.add("Concat", tail.add("Max", first, floor), rest, axis=1)


def read_foreign(data: bytes, where: str, side: int | None = None) -> ForeignNetwork:
    """Read what another tool's ONNX network takes and gives, without a runtime.

    Args:
        data: the file.
        where: the file, as messages name it.
        side: of images, if the network takes any; only to find out the shape of its map.

    Raises:
        ModelError: if it is not a network from one image to one map of classes, or could run code.
    """
    read_metadata(data, where)
    onnx = import_onnx(f"reading {where}")
    model = onnx.ModelProto.FromString(data)
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1 or len(_dimensions(inputs[0])) != 4:
        raise ModelError(
            f"{where} takes {_list(inputs)}; geoseg runs networks that take one image of "
            "(1, bands, rows, columns)"
        )
    batch, bands, rows, cols = _dimensions(inputs[0])
    if inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise ModelError(f"{where} takes no 32-bit floats; export it with an input of float32")
    if not bands or (rows or 0) != (cols or 0) or (rows and rows < bands) or batch not in (None, 1):
        raise ModelError(
            f"{where} takes {_list(inputs)}; export it with one chip of (1, bands, side, side), of which "
            "bands is a number"
        )
    if len(model.graph.output) != 1:
        raise ModelError(
            f"{where} gives {len(model.graph.output)} maps ({_list(model.graph.output)}), and geoseg makes "
            "one; keep one of them with onnx.utils.extract_model"
        )
    known = rows or side or 512
    channels = _channels(onnx, _with_side(model, known), known, where)
    return ForeignNetwork(where, bands, rows, channels, _is_probability(model.graph), model)


def _channels(onnx: Any, model: Any, side: int, where: str) -> int:
    """Find out how many channels the map has, which must be as large as the image."""
    output = model.graph.output[0]
    kind = output.type.tensor_type.elem_type
    said = _dimensions(output)
    if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
        raise ModelError(
            f"{where} gives class numbers, which cannot be blended where chips overlap; export it without "
            "its arg-max"
        )
    output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        found = _dimensions(inferred.graph.output[0])
    except Exception:  # of several kinds; what the file itself says is left
        found = []
    if len(found) == len(said):
        found = [one or other for one, other in zip(found, said, strict=True)]
    found = found or said
    if len(found) == 3:  # of one class
        found = [found[0], 1, *found[1:]]
    if len(found) == 4 and found[1] and found[1] > _MOST_CLASSES:
        raise ModelError(f"{where} tells {found[1]} classes apart, and geoseg at most {_MOST_CLASSES}")
    if len(found) != 4 or not found[1]:
        raise ModelError(f"{where} gives {_list([output])}, no map of (1, classes, rows, columns)")
    if any(size not in (None, side) for size in found[2:]):
        raise ModelError(
            f"{where} gives maps of {found[2]} x {found[3]} pixels for chips of {side} x {side}; geoseg runs "
            "networks whose map is as large as the chip"
        )
    return found[1]


def _is_probability(graph: Any) -> bool:
    makers = {name: node for node in graph.node for name in node.output}
    maker = makers.pop(graph.output[0].name, None)
    while maker is not None and maker.op_type in _KEEP and maker.input:
        if b"cubic" in [attribute.s for attribute in maker.attribute if attribute.name == "mode"]:
            return False  # it overshoots
        maker = makers.pop(maker.input[0], None)
    return maker is not None and maker.op_type in _PROBABILITIES


def _with_side(model: Any, side: int) -> Any:
    """Copy a model, for one chip of a side."""
    copy = type(model)()
    copy.CopyFrom(model)
    stored = {tensor.name for tensor in copy.graph.initializer}
    for value in copy.graph.input:
        if value.name not in stored:
            for dimension, size in zip(value.type.tensor_type.shape.dim, (1, None, side, side), strict=True):
                if size is not None:
                    dimension.dim_value = size
    return copy


def _dimensions(value: Any) -> list[int | None]:
    """The sizes of a value's axes; None where it is not said."""
    return [
        size.dim_value if size.WhichOneof("value") == "dim_value" and size.dim_value > 0 else None
        for size in value.type.tensor_type.shape.dim
    ]


def _list(values: Sequence[Any]) -> str:
    texts = []
    for value in values:
        sizes = (str(size or "any") for size in _dimensions(value))
        texts.append(f'"{value.name}" of ({", ".join(sizes)})')
    return ", ".join(texts) or "nothing"


def _opset(model: Any) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def _replace(field: Any, messages: Sequence[Any]) -> None:
    copies = list(messages)
    del field[:]
    field.extend(copies)


class _Nodes:
    """Nodes that are added to a graph, with operators as its opset writes them.

    Constants are nodes, because old graphs list every stored tensor among their inputs.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self._helper = import_onnx("exporting a network").helper

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{_OWN}{kind}_{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Any, output: str | None = None, dtype: Any = np.float32) -> str:
        from onnx import numpy_helper

        return self.add("Constant", output=output, value=numpy_helper.from_array(np.asarray(value, dtype)))

    def scaled(self, name: str, scale: Any, offset: Any, output: str | None = None) -> str:
        product = self.add("Mul", name, self.constant(scale))
        return self.add("Add", product, self.constant(offset), output=output)

    def transformed(self, name: str, chains: Sequence[Chain]) -> str:
        """Add the transforms of each band; see `transforms.Transform`."""
        bands = []
        for index, chain in enumerate(chains):
            band = self.add("Gather", name, self.constant([index], dtype=np.int64), axis=1)
            for step in chain:
                band = self._step(band, step.kind, step.value or 0.0)
            bands.append(band)
        return self.add("Concat", *bands, axis=1)

    def _step(self, name: str, kind: str, value: float) -> str:
        if kind == "scale":
            return self.add("Mul", name, self.constant(value))
        if kind == "offset":
            return self.add("Add", name, self.constant(value))
        if kind == "sigmoid":
            return self.add("Sigmoid", name)
        if kind == "log":
            argument = self.scaled(name, value, 1.0)
            return self.add("Log", self.add("Max", argument, self.constant(LEAST_LOGARITHM)))
        if kind == "power":
            power = self.add("Pow", self.add("Abs", name), self.constant(value))
            return self.add("Mul", self.add("Sign", name), power)
        raise AssertionError(kind)

    def reduce(self, kind: str, name: str) -> str:
        """Reduce over the classes; the axis became an input in different versions."""
        since = {"ReduceSum": 13, "ReduceMax": 18}[kind]
        if self.opset >= since:
            return self.add(kind, name, self.constant([1], dtype=np.int64), keepdims=1)
        return self.add(kind, name, axes=[1], keepdims=1)

    def normalise(self, name: str) -> None:
        """Divide by the sum over the classes."""
        self.add("Div", name, self.reduce("ReduceSum", name), output=OUTPUT)
