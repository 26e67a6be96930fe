"""``geoseg models export``: a package with a converted network, for machines without torch."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from geoseg.errors import OutputError, SettingsError
from geoseg.files import exists, is_folder
from geoseg.inference.backends import backend_kind
from geoseg.inference.backends.convert import check_conversion, exported_network
from geoseg.models.conversion import ChipShape, ConvertedNetwork
from geoseg.models.deepness import deepness_texts
from geoseg.models.onnx_file import add_metadata, with_card
from geoseg.models.onnx_graph import take_values
from geoseg.models.openvino_ir import read_network, to_ir
from geoseg.models.package import open_model, read_item, write_package
from geoseg.models.sources import (
    CONFIG_FILE,
    CONVERTED_FILES,
    MLM_FILE,
    ONNX,
    ONNX_FILE,
    OPENVINO,
    WEIGHTS_FILE,
)
from geoseg.progress import Progress, Silent

FORMATS = (ONNX, OPENVINO)


def export_model(
    model: str | os.PathLike[str] | None,
    to: str,
    output: str | os.PathLike[str],
    *,
    chip_size: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a model package that also holds a converted network.

    Args:
        model: Bundled name, folder, zip or ``hf://``; None for the default.
        to: ``"onnx"`` or ``"openvino"``.
        output: The new package's folder.
        chip_size: Side of the chips that the converted network takes; default the model's.
        overwrite: Replace a package that is there.
        progress: Told when the network is converted.

    Returns:
        The folder.

    Raises:
        SettingsError: If the format is unknown, or what it needs is not installed.
        ModelError: If the network cannot be converted.
        OutputError: If the folder is there, or cannot be written.
    """
    if to not in FORMATS:
        raise SettingsError(f"--to {to}: use one of {', '.join(FORMATS)}")
    folder = check_folder(output, overwrite=overwrite)
    backend = _checking_runtime(to)
    opened = open_model(model)
    side = opened.card.chip_size if chip_size is None else chip_size
    opened.check_chip_size(side)
    shape = ChipShape(1, len(opened.card.bands), side)
    alone = replace(opened, listed=(), loaded={})  # what the package holds already is made again
    if alone.config is None:
        _ = alone.network  # says that there is none, and what to do
    network = exported_network(alone, backend, shape, progress or Silent())
    if to == OPENVINO:
        network = to_ir(read_network(network), shape, "fp32")
        check_conversion(alone, backend, network)
    else:
        graph = add_metadata(take_values(network.graph, opened.card), deepness_texts(opened.card, side))
        graph = with_card(graph, read_item(opened), shape.dimensions)
        network = ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: graph})
    return write_package(opened, folder, [network])


def check_folder(output: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Refuse a package that is there already, and files that it would replace.

    Raises:
        OutputError: Unless ``overwrite`` is given.
    """
    folder = Path(output)
    if exists(folder) and not is_folder(folder):
        raise OutputError(f"{folder} is a file; give a folder for the package")
    if (folder / MLM_FILE).exists() and not overwrite:
        raise OutputError(f"{folder} holds a model package already; give another folder, or --overwrite")
    for name in (CONFIG_FILE, WEIGHTS_FILE, *(name for names in CONVERTED_FILES.values() for name in names)):
        if (folder / name).exists() and not overwrite:
            raise OutputError(
                f"{folder} holds {name}, which would be replaced; give another folder, or --overwrite"
            )
    return folder


def _checking_runtime(to: str) -> str:
    """Choose the backend that reads the result and compares it with torch."""
    wanted = [OPENVINO] if to == OPENVINO else [ONNX, OPENVINO]
    for backend in wanted:
        if find_spec(backend_kind(backend).package) is not None:
            return backend
    kind = backend_kind(to)
    raise SettingsError(f"--to {to} needs the package {kind.package}; run: {kind.install}")
