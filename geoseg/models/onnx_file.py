"""A single `.onnx` file as a model: its card is stored in its metadata, and its content is checked.

The check refuses files that could run code or read other files.

`geoseg models export` writes the card into the file's own metadata, so that the file alone is a model.
The check runs before any runtime sees the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from geoseg.errors import ModelError, SettingsError
from geoseg.models.conversion import CONVERTED_KEY
from geoseg.models.sources import MLM_FILE, ONNX, ONNX_FILE, Package

CARD_KEY = "geoseg:mlm"
SHAPE_KEY = "geoseg:shape"
_PLAIN_DOMAINS = ("", "ai.onnx")


def with_card(graph: bytes, item: dict[str, Any], shape: tuple[int, ...]) -> bytes:
    """Write the card into an ONNX file.

    Args:
        graph: from `conversion.to_onnx`.
        item: `mlm.json`.
        shape: the chips that the graph takes.
    """
    properties = {key: value for key, value in item["properties"].items() if key != CONVERTED_KEY}
    card = json.dumps(item | {"properties": properties, "assets": {}})
    return add_metadata(graph, {CARD_KEY: card, SHAPE_KEY: json.dumps(list(shape))})


def read_onnx_item(package: Package, data: bytes, texts: Mapping[str, str]) -> dict[str, Any] | None:
    """Read the STAC item of a lone `.onnx` file, and list the file in it as its converted network.

    Args:
        package: with `network.onnx`, and `mlm.json` if that lies beside it.
        data: the file.
        texts: its metadata.

    Returns:
        The item; None if geoseg did not export the file.

    Raises:
        ModelError: if the card is no JSON.
    """
    digest = hashlib.sha256(data).hexdigest()
    if CARD_KEY in texts and SHAPE_KEY in texts:
        item, shape = _parse(texts[CARD_KEY], package), _parse(texts[SHAPE_KEY], package)
    else:
        beside = package.read(MLM_FILE) if MLM_FILE in package.files else b"{}"
        item = _parse(beside.decode("utf-8", "replace"), package)
        shape = _shape_beside(item, digest)
    if shape is None:
        return None
    entry = {"format": ONNX, "precision": "fp32", "shape": shape, "sha256": {ONNX_FILE: digest}}
    listed: dict[str, Any] = item | {"properties": {**item.get("properties", {}), CONVERTED_KEY: [entry]}}
    return listed


def _parse(text: str, package: Package) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{package.path}: its card is not JSON: {error}") from error


def _shape_beside(item: Any, digest: str) -> Any:
    """Find the shape that a `mlm.json` gives for the file with this SHA-256; None if it does not list it."""
    if not isinstance(item, dict):
        return None
    properties = item.get("properties")
    entries = properties.get(CONVERTED_KEY) if isinstance(properties, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("sha256") == {ONNX_FILE: digest}:
            return entry.get("shape")
    return None


def add_metadata(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Add texts to an ONNX file without parsing its weights.

    Concatenated protocol buffers are read as one merged message
    (https://protobuf.dev/programming-guides/encoding/#last-one-wins), so a model that contains nothing but
    metadata is appended.
    """
    onnx = import_onnx("writing the model's card into an ONNX file")
    entries = [onnx.StringStringEntryProto(key=key, value=value) for key, value in texts.items()]
    more: bytes = onnx.ModelProto(metadata_props=entries).SerializeToString()
    return data + more


def read_metadata(data: bytes, where: str) -> dict[str, str]:
    """Check an ONNX file, and read the texts that were stored with it.

    Weights are parsed once and freed on return, before a runtime loads them.

    Args:
        data: the file.
        where: the file, as messages name it.

    Raises:
        ModelError: if it is not an ONNX model, or contains operators that are not ONNX's own (they need a
            library of code), functions, or weights in other files.
        SettingsError: if the package onnx is missing.
    """
    onnx = import_onnx(f"reading {where}")
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf's two implementations raise different kinds
        reason = (str(error).strip().splitlines() or ["no protocol buffer"])[0]
        raise _not_onnx(where, reason) from error
    if not model.HasField("graph"):
        raise _not_onnx(where, "it has no graph")
    if model.functions:
        raise ModelError(f"{where} defines functions of its own; export it with `geoseg models export`")
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto):
            _check_tensor(message, where)
        elif isinstance(message, onnx.OperatorSetIdProto | onnx.NodeProto):
            _check_domain(message.domain, where)
    return {entry.key: entry.value for entry in model.metadata_props}


def _messages(message: Any) -> Iterator[Any]:
    """Walk over all messages of a protocol buffer, including those in branches, loops and attributes."""
    yield message
    if type(message).__name__ == "TensorProto":
        return  # its fields are numbers, which need not be copied
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in value if hasattr(value, "__len__") else (value,):
                yield from _messages(inner)


def _check_tensor(tensor: Any, where: str) -> None:
    if tensor.external_data or tensor.data_location:
        raise ModelError(
            f"{where} keeps weights in another file, which geoseg never opens; "
            "export it as one file, or with `geoseg models export`"
        )


def _check_domain(domain: str, where: str) -> None:
    if domain not in _PLAIN_DOMAINS:
        raise ModelError(
            f'{where} uses operators of "{domain}", which need code from elsewhere; geoseg runs only those '
            "of ONNX itself"
        )


def _not_onnx(where: str, reason: str) -> ModelError:
    return ModelError(
        f"{where} is not a model package: it is damaged or not an ONNX model ({reason}); export it again"
    )


def import_onnx(what: str) -> Any:
    """Import the package onnx.

    Raises:
        SettingsError: if it is missing; `what` needs it.
    """
    try:
        import onnx
    except ImportError as error:
        raise SettingsError(f'{what} needs the package onnx; run: pip install "geoseg[onnx]"') from error
    return onnx
