"""One `.onnx` file as a model: `geoseg models export` writes the card into the file's own metadata."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.converted import CONVERTED_KEY
from geoseg.models.layout import ONNX, ONNX_FILE
from geoseg.models.mlm import MLM_FILE
from geoseg.models.onnx_file import add_metadata, read_metadata
from geoseg.models.sources import Package

CARD_KEY = "geoseg:mlm"
SHAPE_KEY = "geoseg:shape"


def with_card(graph: bytes, item: dict[str, Any], shape: tuple[int, ...]) -> bytes:
    """An ONNX file that says what it is.

    Args:
        graph: from `convert.to_onnx`.
        item: `mlm.json`.
        shape: what the graph takes.
    """
    properties = {key: value for key, value in item["properties"].items() if key != CONVERTED_KEY}
    card = json.dumps(item | {"properties": properties, "assets": {}})
    return add_metadata(graph, {CARD_KEY: card, SHAPE_KEY: json.dumps(list(shape))})


def read_item(package: Package) -> dict[str, Any]:
    """The STAC item of a lone `.onnx` file, the file described in it as its converted network.

    Args:
        package: with `network.onnx`, and `mlm.json` if that lies beside it.

    Raises:
        ModelError: if the file was not exported by geoseg, is damaged, or holds what could run code.
    """
    data = package.read(ONNX_FILE)
    texts = read_metadata(data, package.path)
    digest = hashlib.sha256(data).hexdigest()
    if CARD_KEY in texts and SHAPE_KEY in texts:
        item, shape = _json(texts[CARD_KEY], package), _json(texts[SHAPE_KEY], package)
    else:
        beside = package.read(MLM_FILE) if MLM_FILE in package.files else b"{}"
        item = _json(beside.decode("utf-8", "replace"), package)
        shape = _shape_beside(item, digest)
    if shape is None:
        raise ModelError(
            f"{package.path} was not exported by geoseg: neither in it nor in a {MLM_FILE} beside it stands "
            "what it reads and tells apart; make it with `geoseg models export MODEL --to onnx -o DIR`"
        )
    entry = {"format": ONNX, "precision": "fp32", "shape": shape, "sha256": {ONNX_FILE: digest}}
    described: dict[str, Any] = item | {"properties": {**item.get("properties", {}), CONVERTED_KEY: [entry]}}
    return described


def _json(text: str, package: Package) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{package.path}: its card is not JSON: {error}") from error


def _shape_beside(item: Any, digest: str) -> Any:
    """The shape that a `mlm.json` gives for the file with this SHA-256; None if it does not know the file."""
    if not isinstance(item, dict):
        return None
    properties = item.get("properties")
    entries = properties.get(CONVERTED_KEY) if isinstance(properties, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("sha256") == {ONNX_FILE: digest}:
            return entry.get("shape")
    return None
