"""Save and load model packages: `config.json`, `model.safetensors` and `mlm.json` in a folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.card import LandClass, ModelBand, ModelCard
from geoseg.models.catalog import SMP_CLASSES, UNET_CLASSIC, UNET_CLASSIC_CLASS
from geoseg.models.mlm import CONFIG_FILE, MLM_FILE, WEIGHTS_FILE, item_from_card
from geoseg.models.mlm_read import card_from_item
from geoseg.models.networks import assemble, check_chip_size
from geoseg.models.sources import Package, find_package
from geoseg.models.weights import dump_weights, load_weights

_ARCHITECTURES = {smp_class: name for name, smp_class in SMP_CLASSES.items()} | {
    UNET_CLASSIC_CLASS: UNET_CLASSIC
}
# Given to `assemble` by other names, or not for a package to choose: it gives logits and brings its weights.
_LEFT_OUT = (
    "_model_class",
    "encoder_name",
    "encoder_weights",
    "in_channels",
    "classes",
    "activation",
    "aux_params",
)


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model.

    Attributes:
        card: what the package says about it.
        network: torch Module in evaluation mode, float32 on the CPU: normalised (N, bands, rows, columns) to
            logits (N, classes, rows', columns'), index i of the classes being `classes[i]`.
        path: where it was loaded from.
        hash: SHA-256, hexadecimal, of all that changes an answer: architecture, weights, bands,
            normalisation, classes, chip size, overlap, nodata rule and calibration.
    """

    card: ModelCard
    network: Any
    path: str
    hash: str

    @property
    def classes(self) -> tuple[LandClass, ...]:
        """What the model tells apart, by ascending id."""
        return self.card.classes

    @property
    def bands(self) -> tuple[ModelBand, ...]:
        """What the network reads, in its order."""
        return self.card.bands

    @property
    def chip_size(self) -> int:
        """Pixels a side of the chips the network is run on."""
        return self.card.chip_size

    @property
    def overlap(self) -> int:
        """Pixels that neighbouring chips share."""
        return self.card.overlap


def load_model(ref: str | os.PathLike[str] | None = None) -> Model:
    """Load a model package; nothing in it runs.

    Args:
        ref: name of a bundled model, a folder, a zip, or "hf://owner/name[@revision]"; None for the default.

    Returns:
        The model, its weights as float32 whatever the package stores.

    Raises:
        ModelError: naming the file and what is wrong with it.
    """
    import torch

    package = find_package(ref)
    card = _read_card(package)
    config = _read_json(package, CONFIG_FILE)
    _check_config(card, config, package.where(CONFIG_FILE))
    data = package.read(WEIGHTS_FILE)
    with torch.random.fork_rng(devices=[]):  # random weights come and go; the caller's random numbers stay
        network = _network_from_config(config, package.where(CONFIG_FILE))
    load_weights(network, data, package.where(WEIGHTS_FILE))
    try:
        check_chip_size(network, card.chip_size)
    except ModelError as error:
        raise ModelError(f"{package.where(MLM_FILE)}: `geoseg:chip_size`: {error}") from error
    return Model(card, network.eval(), package.path, _hash(card, config, data))


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
    _write(folder / WEIGHTS_FILE, data)
    _write(folder / CONFIG_FILE, _json(config))
    _write(folder / MLM_FILE, _json(item_from_card(card, facts)))
    return folder


def _config_of(network: Any) -> dict[str, Any]:
    """`config.json` as smp's `save_pretrained` writes it, without pretrained encoder weights to download."""
    name = type(network).__name__
    if name not in _ARCHITECTURES or not isinstance(getattr(network, "config", None), Mapping):
        raise ModelError(
            f"a network of type {name} cannot be packaged; build it with geoseg.models.build_network"
        )
    config = dict(network.config) | {"_model_class": name}
    if name != UNET_CLASSIC_CLASS:
        config["encoder_weights"] = None
    plain: dict[str, Any] = json.loads(json.dumps(config))
    return plain


def _network_from_config(config: Mapping[str, Any], where: str) -> Any:
    options = {key: value for key, value in config.items() if key not in _LEFT_OUT}
    try:
        return assemble(
            _ARCHITECTURES[config["_model_class"]],
            encoder=config.get("encoder_name"),
            encoder_weights=None,
            bands=config["in_channels"],
            classes=config["classes"],
            **options,
        )
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error


def _check_config(card: ModelCard, config: Mapping[str, Any], where: str) -> None:
    """Refuse a card and a configuration that contradict each other."""
    name = config.get("_model_class")
    if name not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise ModelError(f"{where}: `_model_class` is {name!r}, not an architecture geoseg knows: {known}")
    for key in ("activation", "aux_params"):
        if config.get(key) is not None:
            raise ModelError(
                f"{where}: `{key}` is {config[key]!r}; a network must give logits and nothing else"
            )
    found = {**config, "architecture": _ARCHITECTURES[name]}
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
    item = _read_json(package, MLM_FILE)
    try:
        return card_from_item(item)
    except ModelError as error:
        raise ModelError(f"{package.where(MLM_FILE)}: {error}") from error


def _read_json(package: Package, name: str) -> dict[str, Any]:
    data = package.read(name)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{package.where(name)} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{package.where(name)} is not a JSON object")
    return value


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode("ascii")


def _write(path: Path, data: bytes) -> None:
    """Write beside the file and rename, so that nobody reads half of it."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(data)
    beside.replace(path)


def _hash(card: ModelCard, config: Mapping[str, Any], weights: bytes) -> str:
    answer = {
        "bands": [[band.name, band.mean, band.std] for band in card.bands],
        "classes": [[land_class.id, land_class.name, land_class.color] for land_class in card.classes],
        "chip_size": card.chip_size,
        "overlap": card.overlap,
        "invalid_where": card.invalid_where,
        "temperatures": dict(card.temperatures),
    }
    digest = hashlib.sha256()
    for part in (config, answer):
        digest.update(hashlib.sha256(json.dumps(part, sort_keys=True).encode()).digest())
    digest.update(hashlib.sha256(weights).digest())
    return digest.hexdigest()
