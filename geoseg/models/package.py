"""Save and load model packages: `config.json`, `model.safetensors` and `mlm.json` in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError
from geoseg.files import write_file
from geoseg.models.card import ModelCard
from geoseg.models.catalog import UNET_CLASSIC_CLASS
from geoseg.models.converted import promised_in
from geoseg.models.layout import CONVERTED_FILES, ONNX_ENDING
from geoseg.models.mlm import CONFIG_FILE, MLM_FILE, WEIGHTS_FILE, card_from_item, item_from_card
from geoseg.models.model import ARCHITECTURES, Model, model_hash
from geoseg.models.networks import check_chip_size, check_config_chip_size
from geoseg.models.onnx_package import read_item
from geoseg.models.sources import Package, find_package
from geoseg.models.weights import dump_weights


def open_model(ref: str | os.PathLike[str] | None = None) -> Model:
    """Read a model package without building its network, so without torch; nothing in it runs.

    Args:
        ref: as for `load_model`.

    Raises:
        ModelError: naming the file and what is wrong with it; weights that do not fit are found when
            `Model.network` is first used.
    """
    package = find_package(ref)
    if package.path.endswith(ONNX_ENDING):
        return _open_onnx(package)
    item = _read_json(package, MLM_FILE)
    card = _card_of(item, package.where(MLM_FILE))
    config = _read_json(package, CONFIG_FILE)
    _check_config(card, config, package.where(CONFIG_FILE))
    promised = promised_in(item, package.where(MLM_FILE))
    data = package.read(WEIGHTS_FILE)
    try:
        check_config_chip_size(config, card.chip_size)
    except ModelError as error:
        raise ModelError(f"{package.where(MLM_FILE)}: `geoseg:chip_size`: {error}") from error
    answer = model_hash(card, config, data, promised)
    return Model(card, package.path, answer, package, config, data, promised)


def load_model(ref: str | os.PathLike[str] | None = None) -> Model:
    """Load a model package; nothing in it runs.

    Args:
        ref: name of a bundled model, a folder, a zip, or "hf://owner/name[@revision]"; None for the default.

    Returns:
        The model, its weights as float32 whatever the package stores.

    Raises:
        ModelError: naming the file and what is wrong with it.
    """
    model = open_model(ref)
    if model.config is not None:
        _ = model.network  # so that weights that do not fit are found here
    return model


def load_card(ref: str | os.PathLike[str] | None = None) -> ModelCard:
    """Read only what a package says about its model; needs neither torch nor the weights.

    Args:
        ref: as for `load_model`.

    Raises:
        ModelError: if there is no such package, or naming the key of `mlm.json` that is wrong.
    """
    return _read_card(find_package(ref))


def save_model(
    folder: str | os.PathLike[str], card: ModelCard, network: Any, *, precision: str = "fp32"
) -> Path:
    """Write a model package; smp's own architectures can be opened with `smp.from_pretrained(folder)` too.

    Args:
        folder: made if it is not there; the three files in it are replaced.
        card: must describe this network.
        network: from `build_network`, or any segmentation model of smp.
        precision: of the stored weights, "fp32" or "fp16".

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
    (folder / MLM_FILE).unlink(
        missing_ok=True
    )  # without it the folder is no package while files are replaced
    for names in CONVERTED_FILES.values():
        for name in names:
            (folder / name).unlink(missing_ok=True)  # they were converted from other weights
    write_file(folder / WEIGHTS_FILE, data)
    write_file(folder / CONFIG_FILE, to_json(config))
    write_file(folder / MLM_FILE, to_json(item_from_card(card, facts)))
    return folder


def _config_of(network: Any) -> dict[str, Any]:
    """`config.json` as smp's `save_pretrained` writes it, without pretrained encoder weights to download."""
    name = type(network).__name__
    if name not in ARCHITECTURES or not isinstance(getattr(network, "config", None), Mapping):
        raise ModelError(
            f"a network of type {name} cannot be packaged; build it with geoseg.models.build_network"
        )
    config = dict(network.config) | {"_model_class": name}
    if name != UNET_CLASSIC_CLASS:
        config["encoder_weights"] = None
    plain: dict[str, Any] = json.loads(json.dumps(config))
    return plain


def _check_config(card: ModelCard, config: Mapping[str, Any], where: str) -> None:
    """Refuse a card and a configuration that contradict each other."""
    name = config.get("_model_class")
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(f"{where}: `_model_class` is {name!r}, not an architecture geoseg knows: {known}")
    for key in ("activation", "aux_params"):
        if config.get(key) is not None:
            raise ModelError(
                f"{where}: `{key}` is {config[key]!r}; a network must give logits and nothing else"
            )
    found = {**config, "architecture": ARCHITECTURES[name]}
    promised = {
        "architecture": card.architecture,
        "encoder_name": card.encoder,
        "in_channels": len(card.bands),
        "classes": len(card.classes),
        **card.network,
    }
    for key, value in promised.items():
        if found.get(key) != value:
            raise ModelError(
                f"{where} has `{key}` {found.get(key)!r}, but the model card says {value!r}; they must agree"
            )


def _read_card(package: Package) -> ModelCard:
    if package.path.endswith(ONNX_ENDING):
        return _open_onnx(package).card
    return _card_of(_read_json(package, MLM_FILE), package.where(MLM_FILE))


def _card_of(item: Mapping[str, Any], where: str) -> ModelCard:
    try:
        return card_from_item(item)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error


def _open_onnx(package: Package) -> Model:
    """A model of nothing but a converted network, its card in the file or beside it."""
    item = read_item(package)
    card = _card_of(item, package.path)
    promised = promised_in(item, package.path)
    return Model(card, package.path, model_hash(card, None, b"", promised), package, None, b"", promised)


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
    """A JSON file's bytes."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode("ascii")
