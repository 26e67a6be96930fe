"""Names of the converted networks that a package may hold beside its weights."""

from __future__ import annotations

ONNX, OPENVINO = "onnx", "openvino"

CONVERTED_FILES: dict[tuple[str, str], tuple[str, ...]] = {
    (ONNX, "fp32"): ("network.onnx",),
    (OPENVINO, "fp32"): ("network.xml", "network.bin"),
    (OPENVINO, "int8"): ("network-int8.xml", "network-int8.bin"),
}
"""(format, precision) -> names of its files: the graph, then weights that lie apart."""

ONNX_FILE = CONVERTED_FILES[ONNX, "fp32"][0]
ONNX_ENDING = ".onnx"
"""A lone file with this ending is a model of nothing but a converted network."""
