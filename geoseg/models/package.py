"""Open, load and save model packages: `config.json`, `model.safetensors`, `mlm.json`, converted networks."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, OutputError
from geoseg.files import write_file
from geoseg.models.card import ModelCard
from geoseg.models.catalog import ARCHITECTURE_OF, SMP_CLASSES
from geoseg.models.conversion import ConvertedNetwork, ListedNetwork, listed_networks, with_listed
from geoseg.models.deepness import is_deepness, read_deepness
from geoseg.models.mlm import QUANTIZATION_KEY, card_from_item, item_from_card
from geoseg.models.model import Model, model_hash
from geoseg.models.networks import check_chip_size, check_config_chip_size
from geoseg.models.onnx_file import read_metadata, read_onnx_item, with_card
from geoseg.models.sources import (
    CONFIG_FILE,
    CONVERTED_FILES,
    MLM_FILE,
    ONNX_ENDING,
    ONNX_FILE,
    WEIGHTS_FILE,
    Package,
    find_package,
)
from geoseg.models.weights import dump_weights

_LOGGER = logging.getLogger(__name__)


def open_model(ref: str | os.PathLike[str] | None = None) -> Model:
    """Read a model package without building its network, so without torch; no code in it runs.

    Args:
        ref: as for `load_model`.

    Raises:
        ModelError: naming the file and what is wrong with it. Weights that do not fit raise one only when
            `Model.network` is first used.
    """
    package = find_package(ref)
    if package.path.endswith(ONNX_ENDING):
        return _open_onnx(package)
    item = _read_json(package, MLM_FILE)
    card = _card_of(item, package.where(MLM_FILE))
    listed = listed_networks(item, package.where(MLM_FILE))
    if listed and not {CONFIG_FILE, WEIGHTS_FILE} & set(package.files):
        return _only_converted(card, package, listed)
    config = _read_json(package, CONFIG_FILE)
    _check_config(card, config, package.where(CONFIG_FILE))
    data = package.read(WEIGHTS_FILE)
    try:
        check_config_chip_size(config, card.chip_size)
    except ModelError as error:
        raise ModelError(f"{package.where(MLM_FILE)}: `geoseg:chip_size`: {error}") from error
    answer = model_hash(card, config, data, listed)
    _LOGGER.debug("model %s %s of %s, hash %s", card.name, card.version, package.path, answer)
    return Model(card, package.path, answer, package, config, data, listed)


def load_model(ref: str | os.PathLike[str] | None = None) -> Model:
    """Load a model package; no code in it runs.

    Args:
        ref: name of a bundled model, a folder, a zip, or "hf://owner/name[@revision]"; None for the default.

    Returns:
        The model, its weights as float32 whatever the package stores.

    Raises:
        ModelError: naming the file and what is wrong with it.
    """
    model = open_model(ref)
    if model.config is not None:
        _ = model.network  # raises here if the weights do not fit
    return model


def load_card(ref: str | os.PathLike[str] | None = None) -> ModelCard:
    """Read only the card of a package, without torch and without the weights.

    Args:
        ref: as for `load_model`.

    Raises:
        ModelError: if there is no such package, or a key of `mlm.json` is wrong, naming it.
    """
    package = find_package(ref)
    if package.path.endswith(ONNX_ENDING):
        return _open_onnx(package).card
    return _card_of(_read_json(package, MLM_FILE), package.where(MLM_FILE))


def save_model(
    folder: str | os.PathLike[str], card: ModelCard, network: Any, *, precision: str = "fp32"
) -> Path:
    """Write a model package; smp's own architectures can be opened with `smp.from_pretrained(folder)` too.

    Args:
        folder: made if missing; the three files in it are replaced.
        card: the card that describes this network.
        network: from `build_network`, or any segmentation model of smp.
        precision: precision of the stored weights, "fp32" or "fp16".

    Returns:
        The folder.

    Raises:
        ModelError: if the card does not describe the network, or a weight is not finite.
    """
    config = _config_of(network)
    _check_config(card, config, "the network")
    check_chip_size(network, card.chip_size)
    data = dump_weights(network, precision)
    facts = {"mlm:total_parameters": sum(parameter.numel() for parameter in network.parameters())}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Without it the folder is no package while its files are replaced.
    (folder / MLM_FILE).unlink(missing_ok=True)
    for names in CONVERTED_FILES.values():
        for name in names:
            (folder / name).unlink(missing_ok=True)  # they were converted from other weights
    write_file(folder / WEIGHTS_FILE, data)
    write_file(folder / CONFIG_FILE, to_json(config))
    write_file(folder / MLM_FILE, to_json(item_from_card(card, facts)))
    return folder


def save_converted(folder: str | os.PathLike[str], card: ModelCard, network: ConvertedNetwork) -> Path:
    """Write a model package that holds only a network as ONNX.

    Args:
        folder: made if missing; files of a package in it are replaced.
        card: the card that describes this network.
        network: with the input `chips` and the output of `conversion.to_onnx`.

    Returns:
        The folder.

    Raises:
        OutputError: if the folder cannot be written.
    """
    item = item_from_card(card, {"mlm:framework": "ONNX"}) | {"assets": {}}
    graph = with_card(network.graph, item, network.shape.dimensions)
    network = replace(network, files={ONNX_FILE: graph})
    item = with_listed(item, (network.listing,))
    item["assets"][ONNX_FILE] |= {
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "onnx.save",
        "bands": [{"name": name} for name in card.band_names],
    }
    return _write_files(Path(folder), network.files, item)


def write_package(
    model: Model,
    folder: str | os.PathLike[str],
    networks: Sequence[ConvertedNetwork],
    quantization: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model with more converted networks; a new one replaces one of the same format and precision.

    Args:
        model: a model with a torch network.
        folder: made if missing; files of a package in it are replaced.
        networks: the networks to add.
        quantization: measured effects of quantizing, for the card; None without an int8 network.

    Returns:
        The folder.

    Raises:
        ModelError: if the model has no torch network.
        OutputError: if the folder cannot be written.
    """
    if model.config is None:
        raise ModelError(f"{model.path} holds only a converted network; give the package it came from")
    kinds = {(network.format, network.precision) for network in networks}
    kept = [old.load(model.package) for old in model.listed if (old.format, old.precision) not in kinds]
    every = [*kept, *networks]
    item = with_listed(read_item(model), tuple(network.listing for network in every))
    if quantization is not None:
        item["properties"][QUANTIZATION_KEY] = dict(quantization)
    files = {name: data for network in every for name, data in network.files.items()}
    files |= {WEIGHTS_FILE: model.weights, CONFIG_FILE: model.package.read(CONFIG_FILE)}
    return _write_files(Path(folder), files, item)


def _write_files(folder: Path, files: Mapping[str, bytes], item: dict[str, Any]) -> Path:
    others = {CONFIG_FILE, WEIGHTS_FILE, *(name for names in CONVERTED_FILES.values() for name in names)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Without it the folder is no package while its files are replaced.
        (folder / MLM_FILE).unlink(missing_ok=True)
        for name in others - set(files):
            (folder / name).unlink(missing_ok=True)
        for name, data in files.items():
            write_file(folder / name, data)
        write_file(folder / MLM_FILE, to_json(item))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}") from error
    return folder


def read_item(model: Model) -> dict[str, Any]:
    """Read and parse the model's `mlm.json`."""
    item: dict[str, Any] = json.loads(model.package.read(MLM_FILE))
    return item


def _config_of(network: Any) -> dict[str, Any]:
    """Make `config.json` as smp's `save_pretrained` does, with no pretrained encoder weights to download."""
    name = type(network).__name__
    if name not in ARCHITECTURE_OF or not isinstance(getattr(network, "config", None), Mapping):
        raise ModelError(
            f"a network of type {name} cannot be packaged; build it with geoseg.models.build_network"
        )
    config = dict(network.config) | {"_model_class": name}
    if name in SMP_CLASSES.values():
        config["encoder_weights"] = None
    plain: dict[str, Any] = json.loads(json.dumps(config))
    return plain


def _check_config(card: ModelCard, config: Mapping[str, Any], where: str) -> None:
    """Check that a card agrees with a configuration."""
    name = config.get("_model_class")
    if not isinstance(name, str) or name not in ARCHITECTURE_OF:
        known = ", ".join(ARCHITECTURE_OF)
        raise ModelError(f"{where}: `_model_class` is {name!r}, not an architecture geoseg knows: {known}")
    for key in ("activation", "aux_params"):
        if config.get(key) is not None:
            raise ModelError(f"{where}: `{key}` is {config[key]!r}; a network must return logits only")
    found = {**config, "architecture": ARCHITECTURE_OF[name]}
    described = {
        "architecture": card.architecture,
        "encoder_name": card.encoder,
        "in_channels": len(card.bands),
        "classes": len(card.classes),
        **card.network,
    }
    for key, value in described.items():
        if found.get(key) != value:
            raise ModelError(
                f"{where} has `{key}` {found.get(key)!r}, but the model card says {value!r}; they must agree"
            )


def _card_of(item: Mapping[str, Any], where: str) -> ModelCard:
    try:
        return card_from_item(item)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error


def _open_onnx(package: Package) -> Model:
    """Open a single ONNX file as a model; its card is in the file or beside it."""
    data = package.read(ONNX_FILE)
    texts = read_metadata(data, package.path)
    item = read_onnx_item(package, data, texts)
    if item is not None:
        return _only_converted(_card_of(item, package.path), package, listed_networks(item, package.path))
    if not is_deepness(texts):
        raise ModelError(
            f"{package.path} was not exported by geoseg: neither the file nor a {MLM_FILE} beside it says "
            "what it reads and tells apart; make it with `geoseg models export MODEL --to onnx -o DIR`; "
            f"if another tool made it, describe it: geoseg models import {package.path} -o DIR --bands ..."
        )
    found = read_deepness(data, package.path)
    network = found.convert(found.side)
    try:
        card = found.card(Path(package.path).stem)
    except ModelError as error:
        raise ModelError(f"{package.path}: {error}") from error
    model = _only_converted(card, package, (network.listing,))
    model.loaded[network.format, network.precision, network.shape] = network
    return model


def _only_converted(card: ModelCard, package: Package, listed: tuple[ListedNetwork, ...]) -> Model:
    """Make a model that has no torch network."""
    answer = model_hash(card, None, b"", listed)
    return Model(card, package.path, answer, package, None, b"", listed)


def _read_json(package: Package, name: str) -> dict[str, Any]:
    data = package.read(name)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{package.where(name)} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{package.where(name)} is not a JSON object")
    return value


def to_json(value: Mapping[str, Any]) -> bytes:
    """Encode a JSON file."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode("ascii")
