"""What an ONNX file says about itself, and whether anything but numbers and plain operators is in it.

ONNX is a protocol buffer (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto): a sequence of fields, each
a number, a kind, and a value that may again be such a sequence. Reading it here, rather than with the `onnx`
package, needs nothing installed and happens before any runtime sees the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from geoseg.errors import ModelError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field numbers of onnx.proto.
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_METADATA, _MODEL_FUNCTIONS = 7, 8, 14, 25
_OPSET_DOMAIN = 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE, _NODE_DOMAIN = 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_PLAIN_DOMAINS = (b"", b"ai.onnx")

Field = tuple[int, int | memoryview]


def read_metadata(data: bytes, where: str) -> dict[str, str]:
    """The texts that were stored with an ONNX model, after `check_plain`.

    Args:
        data: the file.
        where: the file, as messages name it.

    Raises:
        ModelError: if it is no ONNX model, or holds more than one may open without trusting it.
    """
    try:
        check_plain(data, where)
        return dict(_entry(value) for number, value in _fields(memoryview(data)) if number == _MODEL_METADATA)
    except (ValueError, IndexError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{where} is not a model package: it is damaged or no ONNX model ({error}); export it again"
        ) from error


def add_metadata(data: bytes, texts: Mapping[str, str]) -> bytes:
    """The model with more texts: repeated fields may stand anywhere, so they are put at the end."""
    more = b""
    for key, value in texts.items():
        entry = _field(_ENTRY_KEY, key.encode()) + _field(_ENTRY_VALUE, value.encode())
        more += _field(_MODEL_METADATA, entry)
    return data + more


def check_plain(data: bytes, where: str) -> None:
    """Refuse operators that are not ONNX's own, and weights in other files.

    Operators of another domain need a library of code; external weights would be read from a path that the
    file names.

    Raises:
        ModelError: naming what was found.
        ValueError: if it is no protocol buffer.
    """
    graphs = 0
    for number, value in _fields(memoryview(data)):
        if number == _MODEL_GRAPH:
            graphs += 1
            _check_graph(_view(value), where)
        elif number == _MODEL_OPSETS:
            for inner, domain in _fields(_view(value)):
                if inner == _OPSET_DOMAIN:
                    _check_domain(_view(domain), where)
        elif number == _MODEL_FUNCTIONS:
            raise ModelError(f"{where} defines functions of its own; export it with `geoseg models export`")
    if graphs != 1:
        raise ValueError(f"it has {graphs} graphs")


def _check_graph(graph: memoryview, where: str) -> None:
    for number, value in _fields(graph):
        if number == _GRAPH_NODE:
            _check_node(_view(value), where)
        elif number == _GRAPH_TENSOR:
            _check_tensor(_view(value), where)
        elif number == _GRAPH_SPARSE:
            _check_sparse(_view(value), where)


def _check_node(node: memoryview, where: str) -> None:
    for number, value in _fields(node):
        if number == _NODE_DOMAIN:
            _check_domain(_view(value), where)
        elif number == _NODE_ATTRIBUTE:
            for inner, attribute in _fields(_view(value)):
                if inner in _ATTRIBUTE_GRAPHS:
                    _check_graph(_view(attribute), where)
                elif inner in _ATTRIBUTE_TENSORS:
                    _check_tensor(_view(attribute), where)
                elif inner in _ATTRIBUTE_SPARSE:
                    _check_sparse(_view(attribute), where)


def _check_sparse(sparse: memoryview, where: str) -> None:
    for number, value in _fields(sparse):
        if number in _SPARSE_TENSORS:
            _check_tensor(_view(value), where)


def _check_tensor(tensor: memoryview, where: str) -> None:
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            raise ModelError(
                f"{where} keeps weights in another file, which geoseg never opens; "
                "export it as one file, or with `geoseg models export`"
            )


def _check_domain(domain: memoryview, where: str) -> None:
    if bytes(domain) not in _PLAIN_DOMAINS:
        name = bytes(domain).decode("utf-8", "replace")
        raise ModelError(
            f'{where} uses operators of "{name}", which need code from elsewhere; geoseg runs only those of '
            "ONNX itself"
        )


def _entry(value: int | memoryview) -> tuple[str, str]:
    texts = {number: bytes(_view(text)).decode() for number, text in _fields(_view(value))}
    return texts.get(_ENTRY_KEY, ""), texts.get(_ENTRY_VALUE, "")


def _fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message: number, and the bytes of a nested value or a whole number."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"field of kind {kind}")
        if at + length > len(data):
            raise ValueError("it ends early")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _field(number: int, value: bytes) -> bytes:
    return _to_varint(number << 3 | _BYTES) + _to_varint(len(value)) + value


def _to_varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
