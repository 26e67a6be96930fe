"""Write a package again, with converted networks beside its weights."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, OutputError
from geoseg.files import write_file
from geoseg.models.converted import Converted, Promised, promise
from geoseg.models.mlm import CONFIG_FILE, MLM_FILE, WEIGHTS_FILE
from geoseg.models.model import Model
from geoseg.models.package import to_json

QUANTIZATION_KEY = "geoseg:quantization"


def write_package(
    model: Model,
    folder: str | os.PathLike[str],
    networks: Sequence[Converted],
    quantization: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model with converted networks; those it has already stay, unless one of the same kind comes.

    Args:
        model: with a torch network.
        folder: made if it is not there; files of a package in it are replaced.
        networks: what to add.
        quantization: what was measured of an int8 network among them, for the card.

    Returns:
        The folder.

    Raises:
        ModelError: if the model is a lone converted network.
        OutputError: if the folder cannot be written.
    """
    if model.config is None:
        raise ModelError(f"{model.path} holds nothing but a converted network; give the package it came from")
    kinds = {(network.format, network.precision) for network in networks}
    kept = [p.load(model.package) for p in model.promised if (p.format, p.precision) not in kinds]
    every = [*kept, *networks]
    item = promise(read_item(model), tuple(promise_of(network) for network in every))
    if quantization is not None:
        item["properties"][QUANTIZATION_KEY] = dict(quantization)
    files = {name: data for network in every for name, data in network.files.items()}
    files |= {WEIGHTS_FILE: model.weights, CONFIG_FILE: model.package.read(CONFIG_FILE)}
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MLM_FILE).unlink(missing_ok=True)  # without it the folder is no package meanwhile
        for name, data in files.items():
            write_file(folder / name, data)
        write_file(folder / MLM_FILE, to_json(item))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}") from error
    return folder


def read_item(model: Model) -> dict[str, Any]:
    """The model's `mlm.json`, parsed."""
    item: dict[str, Any] = json.loads(model.package.read(MLM_FILE))
    return item


def promise_of(network: Converted) -> Promised:
    """What a package says of a converted network."""
    return Promised(network.format, network.precision, network.shape, network.hashes)
