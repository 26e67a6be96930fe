"""What a network knows before it starts: encoder weights, a model package, or another's whole network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError
from geoseg.models import build_network, load_card, load_model
from geoseg.models.catalog import SMP_CLASSES
from geoseg.models.sources import CONFIG_FILE, MLM_FILE, WEIGHTS_FILE, Package, find_package
from geoseg.models.weights import load_weights
from geoseg.training.network.adapt import Named, adapt, fill_encoder
from geoseg.training.recipe.settings import ModelSettings, TransferSettings

_NOT_OPTIONS = {
    "_model_class", "encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params",
}  # fmt: skip
_ARCHITECTURES = {smp_class: name for name, smp_class in SMP_CLASSES.items()}


@dataclass(frozen=True)
class StartedNetwork:
    """A network that is ready to train.

    Attributes:
        network: torch Module in training mode.
        architecture: Its name for ``build_network``.
        encoder: Its encoder, None where it has none.
        options: Further arguments it was built with.
        notes: What was taken from where, in words.
    """

    network: Any
    architecture: str
    encoder: str | None
    options: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def start_network(
    model: ModelSettings, transfer: TransferSettings, bands: Sequence[str], classes: Sequence[str]
) -> StartedNetwork:
    """Build the network of a recipe and give it what it is to start from.

    With ``start_from`` the architecture, encoder and options are those of the network started from.

    Args:
        model: What to build.
        transfer: What to start from.
        bands: Names of the input bands, in order.
        classes: Names of the classes, in order.

    Raises:
        ModelError: If it cannot be built, or weights cannot be had.
    """
    if transfer.start_from is not None:
        return _start_from(transfer.start_from, bands, classes)
    encoder, options = _defaults(model)
    weights = transfer.encoder_weights
    is_file = weights is not None and _is_path(weights)
    network = build_network(
        model.architecture,
        encoder=encoder,
        encoder_weights=None if is_file else weights,
        bands=len(bands),
        classes=len(classes),
        **options,
    )
    notes: tuple[str, ...] = () if weights is None else (f"encoder weights: {weights}",)
    if weights is not None and is_file:
        notes = (fill_encoder(network, Path(weights), bands),)
    return StartedNetwork(network, model.architecture, network.config.get("encoder_name"), options, notes)


def encoder_of(network: Any) -> Any:
    """The part that is frozen and learns slower: the encoder, or the way down of unet-classic."""
    return network.encoder if hasattr(network, "encoder") else network.down


def _defaults(model: ModelSettings) -> tuple[str | None, Mapping[str, Any]]:
    """The encoder and options of a recipe that does not name them.

    `unet-classic` keeps a skip at full resolution, so it sees roads and borders of a pixel, which encoders
    that halve the resolution at once do not; half the paper's width is enough for maps.
    """
    if model.architecture == "unet-classic":
        return model.encoder, model.options or {"depth": 4, "width": 32}
    return model.encoder or (None if model.architecture == "dpt" else "resnet18"), model.options


def _is_path(weights: str) -> bool:
    return Path(weights).suffix != "" or "/" in weights


def _start_from(ref: str, bands: Sequence[str], classes: Sequence[str]) -> StartedNetwork:
    package = find_package(ref)
    if MLM_FILE in package.files:
        card = load_card(ref)
        source = load_model(ref).network
        named = Named(card.band_names, tuple(one.name for one in card.classes))
    else:
        source = _load_smp(package)
        named = Named(None, None)
    config = dict(source.config)
    encoder = config.get("encoder_name")
    architecture = _ARCHITECTURES.get(type(source).__name__, "unet-classic")
    options = {key: value for key, value in config.items() if key not in _NOT_OPTIONS}
    network = build_network(architecture, encoder=encoder, bands=len(bands), classes=len(classes), **options)
    notes = adapt(source, network, named, Named(tuple(bands), tuple(classes)))
    return StartedNetwork(network, architecture, encoder, options, (f"started from {ref}: {notes}",))


def _load_smp(package: Package) -> Any:
    """A network in smp's ``save_pretrained`` layout."""
    where = package.where(CONFIG_FILE)
    try:
        config = json.loads(package.read(CONFIG_FILE))
    except ValueError as error:
        raise ModelError(f"{where} is not JSON: {error}") from error
    smp_class = config.get("_model_class") if isinstance(config, dict) else None
    if smp_class not in _ARCHITECTURES:
        raise ModelError(f"{where}: `_model_class` is {smp_class!r}; known are {', '.join(_ARCHITECTURES)}")
    options = {key: value for key, value in config.items() if key not in _NOT_OPTIONS}
    try:
        network = build_network(
            _ARCHITECTURES[smp_class],
            encoder=config.get("encoder_name"),
            bands=config.get("in_channels", 3),
            classes=config.get("classes", 1),
            **options,
        )
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    load_weights(network, package.read(WEIGHTS_FILE), package.where(WEIGHTS_FILE))
    return network
