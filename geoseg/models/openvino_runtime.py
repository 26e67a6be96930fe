"""OpenVINO itself: imported without its telemetry, and networks to and from its format."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.conversion import ChipShape
from geoseg.models.converted import Converted
from geoseg.models.layout import CONVERTED_FILES, ONNX, OPENVINO
from geoseg.models.onnx_file import read_metadata

_TELEMETRY = "openvino_telemetry"
_importing = Lock()


def import_openvino() -> Any:
    """The module `openvino`, imported `without_telemetry`."""
    with without_telemetry():
        import openvino
    return openvino


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import OpenVINO or nncf without what they would tell Google Analytics, unasked, from then on.

    Where the package that does so is missing they go without it; so it is hidden while they are imported. A
    program that has imported it already is left alone.
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
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


def read_network(network: Converted, where: str = "the converted network") -> Any:
    """A converted network as an `openvino.Model`; an ONNX file is checked before OpenVINO sees it.

    Args:
        network: ONNX or IR.
        where: what messages call it.

    Raises:
        ModelError: if OpenVINO cannot read it, or it takes other chips than promised.
    """
    openvino = import_openvino()
    core = openvino.Core()
    try:
        if network.format == ONNX:
            read_metadata(network.graph, where)
            model = core.read_model(model=network.graph)
        else:
            model = core.read_model(model=network.graph, weights=network.weights or b"")
        shape = tuple(model.input("chips").shape)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(f"OpenVINO cannot read {where}: {reason[:200]}") from error
    if shape != network.shape.dimensions:
        raise ModelError(f"{where} takes chips of {shape}, but {network.shape.dimensions} was promised")
    return model


def to_ir(model: Any, shape: ChipShape, precision: str) -> Converted:
    """An `openvino.Model` in OpenVINO's own format, its weights as they are; the same model, the same bytes.

    Args:
        model: with the inputs and output of `convert.to_onnx`; its nodes get other names, which otherwise
            would hold what OpenVINO has counted so far.
        shape: what it takes.
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
    return Converted(OPENVINO, precision, shape, files)
