"""Small ONNX files as Deepness and GeoDeep take them, and the classes that those tools give."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 16
TEXTS = {
    "model_type": '"Segmentor"',
    "class_names": json.dumps({"0": "ground", "1": "road", "2": "roof"}),
    "resolution": "40",
    "tiles_overlap": "25",
    "standardization_mean": "[0.4, 0.5, 0.6]",
    "standardization_std": "[0.1, 0.2, 0.3]",
}


def foreign_onnx(
    path,
    *,
    texts=TEXTS,
    channels=3,
    last="Softmax",
    opset=20,
    side=SIDE,
    heads=1,
    flat=False,
    ir_version=8,
    element=TensorProto.FLOAT,
    output_side=None,
):
    """Write a network of one convolution; a side of None takes any."""
    random = np.random.default_rng(3)
    weights = numpy_helper.from_array(random.normal(size=(channels, 3, 1, 1)).astype(np.float32), "w")
    shape = ["batch", 3, side or "rows", side or "cols"]
    image = helper.make_tensor_value_info("image", element, shape)
    nodes = [helper.make_node("Conv", ["image", "w"], ["chips"])]  # a name that geoseg uses as well
    if last == "Softmax":  # older versions of it know the last axis alone
        nodes.append(helper.make_node("Transpose", ["chips"], ["turned"], perm=[0, 2, 3, 1]))
        nodes.append(helper.make_node("Softmax", ["turned"], ["soft"], axis=3))
        nodes.append(helper.make_node("Transpose", ["soft"], ["map"], perm=[0, 3, 1, 2]))
    else:
        nodes.append(helper.make_node(last, ["chips"], ["map"]))
    out = output_side or side
    sizes = ["batch", channels, out or "rows", out or "cols"]
    if flat:
        nodes.append(helper.make_node("Constant", [], ["first"], value=numpy_helper.from_array(np.array(0))))
        nodes.append(helper.make_node("Gather", ["map", "first"], ["flat"], axis=1))
        sizes.pop(1)
    last_name = "flat" if flat else "map"
    outputs = [helper.make_tensor_value_info(last_name, TensorProto.FLOAT, sizes)]
    for number in range(1, heads):
        nodes.append(helper.make_node("Identity", [last_name], [f"map{number}"]))
        outputs.append(helper.make_tensor_value_info(f"map{number}", TensorProto.FLOAT, sizes))
    stored = [helper.make_tensor_value_info("w", TensorProto.FLOAT, weights.dims)] if ir_version < 4 else []
    graph = helper.make_graph(nodes, "net", [image, *stored], outputs, [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    helper.set_model_props(model, dict(texts))
    path.write_bytes(model.SerializeToString())
    return path


def tool_classes(path, pixels, threshold=0.5):
    """What Deepness says of pixels (bands, rows, columns): the class whose value is largest."""
    answer = tool_map(path, pixels, threshold)
    if answer.ndim == 2 or len(answer) == 1:
        return (answer.reshape(answer.shape[-2:]) != 0).astype(np.uint8)
    return answer.argmax(0).astype(np.uint8)


def tool_map(path, pixels, threshold=0.5):
    """The map that Deepness makes: of pixels divided by 255 and standardised, 0 below the threshold."""
    import onnxruntime

    model = onnx.load(path)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    mean = np.array(json.loads(texts.get("standardization_mean", "[0, 0, 0]")), np.float32)
    std = np.array(json.loads(texts.get("standardization_std", "[1, 1, 1]")), np.float32)
    chip = (np.float32(pixels / 255) - mean[:, None, None]) / std[:, None, None]
    answer = onnxruntime.InferenceSession(path).run(None, {"image": chip[None]})[0][0]
    return np.where(answer < threshold, 0, answer)
