"""Initial weights of a network: random, an encoder's weights, a model package, or another network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.catalog import ARCHITECTURE_OF, NOT_OPTIONS, OWN, SMP_CLASSES
from geoseg.models.model import network_from_config
from geoseg.models.networks import build_network
from geoseg.models.package import load_card, load_model
from geoseg.models.sources import CONFIG_FILE, MLM_FILE, WEIGHTS_FILE, Package, find_package
from geoseg.models.transforms import Chain
from geoseg.models.weights import load_weights
from geoseg.training.recipe.settings import ModelSettings, TransferSettings

_HEADS = ("segmentation_head.", "head.")
_RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class StartedNetwork:
    """A network that is ready to train.

    Attributes:
        network: torch Module in training mode.
        architecture: Its architecture, as ``build_network`` names it.
        encoder: Its encoder; None if it has none.
        options: Further arguments of ``build_network``.
        notes: Which weights were copied, in words.
    """

    network: Any
    architecture: str
    encoder: str | None
    options: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def start_network(
    model: ModelSettings, transfer: TransferSettings, bands: Sequence[str], classes: Sequence[str]
) -> StartedNetwork:
    """Build the network of a recipe with its initial weights.

    With ``start_from`` the architecture, encoder and options are those of the network started from.

    Args:
        model: The recipe's ``[model]`` table.
        transfer: The recipe's ``[transfer]`` table.
        bands: Names of the input bands, in order.
        classes: Names of the classes, in order.

    Raises:
        ModelError: If the network cannot be built, or weights cannot be read or downloaded.
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


def start_transforms(transfer: TransferSettings, bands: Sequence[str]) -> tuple[Chain, ...]:
    """Find the input transforms of the package that training starts from, which its weights rely on.

    Args:
        transfer: The recipe's ``[transfer]`` table.
        bands: Names of the input bands, in order.

    Returns:
        The transforms of each band; empty where no band of the package has any.

    Raises:
        ModelError: If there are some, and a band is not the package's.
    """
    ref = transfer.start_from
    if ref is None or MLM_FILE not in find_package(ref).files:
        return ()
    card = load_card(ref)
    if not card.transforms:
        return ()
    chains = dict(zip(card.band_names, card.transforms, strict=True))
    for band in bands:
        if band not in chains:
            raise ModelError(
                f'{ref} transforms the values of its bands, and "{band}" is none of them; train with '
                f"{', '.join(chains)}, or without [transfer] start_from"
            )
    return tuple(chains[band] for band in bands)


def encoder_of(network: Any) -> Any:
    """Return the part with its own learning rate: the encoder, or the contracting path of unet-classic."""
    return network.encoder if hasattr(network, "encoder") else network.down


def _defaults(model: ModelSettings) -> tuple[str | None, Mapping[str, Any]]:
    """Choose encoder and options where the recipe does not name them.

    `unet-classic` has a skip connection at full resolution, so it keeps roads and borders of one pixel, which
    encoders that halve the resolution at once lose; half the paper's width is enough for maps.
    """
    if model.architecture == "unet-classic":
        return model.encoder, model.options or {"depth": 4, "width": 32}
    if model.architecture in OWN:
        return model.encoder, model.options
    return model.encoder or (None if model.architecture == "dpt" else "resnet18"), model.options


def _is_path(weights: str) -> bool:
    return Path(weights).suffix != "" or "/" in weights


def _start_from(ref: str, bands: Sequence[str], classes: Sequence[str]) -> StartedNetwork:
    package = find_package(ref)
    if MLM_FILE in package.files:
        card = load_card(ref)
        source = load_model(ref).network
        named = ChannelNames(card.band_names, tuple(one.name for one in card.classes))
    else:
        source = _load_smp(package)
        named = ChannelNames(None, None)
    config = dict(source.config)
    encoder = config.get("encoder_name")
    architecture = ARCHITECTURE_OF[type(source).__name__]
    options = {key: value for key, value in config.items() if key not in NOT_OPTIONS}
    network = build_network(architecture, encoder=encoder, bands=len(bands), classes=len(classes), **options)
    notes = adapt(source, network, named, ChannelNames(tuple(bands), tuple(classes)))
    return StartedNetwork(network, architecture, encoder, options, (f"started from {ref}: {notes}",))


def _load_smp(package: Package) -> Any:
    """Load a network in smp's ``save_pretrained`` layout."""
    where = package.where(CONFIG_FILE)
    try:
        config = json.loads(package.read(CONFIG_FILE))
    except ValueError as error:
        raise ModelError(f"{where} is not JSON: {error}") from error
    smp_class = config.get("_model_class") if isinstance(config, dict) else None
    known = SMP_CLASSES.values()
    if smp_class not in known:
        raise ModelError(f"{where}: `_model_class` is {smp_class!r}; known are {', '.join(known)}")
    network = network_from_config({"in_channels": 3, "classes": 1} | config, where)
    load_weights(network, package.read(WEIGHTS_FILE), package.where(WEIGHTS_FILE))
    return network


@dataclass(frozen=True)
class ChannelNames:
    """Names of a network's bands and classes; None where they are unknown.

    Attributes:
        bands: Names of its bands, in order.
        classes: Names of its classes, in order.
    """

    bands: tuple[str, ...] | None
    classes: tuple[str, ...] | None


def adapt(source: Any, target: Any, of: ChannelNames, to: ChannelNames) -> str:
    """Copy all weights that fit.

    The first convolution gets the filters of bands of the same name and the mean of all filters for other
    bands, scaled by the number of bands so that its output keeps its magnitude. The last convolution gets the
    rows of classes of the same name; other classes start at random.

    Args:
        source: The network to copy from.
        target: The network to fill, of the same architecture.
        of: Names of the source.
        to: Names of the target.

    Returns:
        What was copied, in words.
    """
    import torch

    known, state = source.state_dict(), target.state_dict()
    first = next(name for name, value in known.items() if value.ndim == 4)
    shared = [name for name in to.classes or () if name in (of.classes or ())]
    with torch.no_grad():
        for name, value in state.items():
            old = known[name]
            if name == first:
                value.copy_(for_bands(old, of.bands, to.bands or ()))
            elif name.startswith(_HEADS) and value.ndim and old.shape[0] == source.config["classes"]:
                _copy_rows(old, value, of.classes, to.classes)
            elif old.shape == value.shape:
                value.copy_(old)
    target.load_state_dict(state)
    kept = f"{len(shared)} of {len(to.classes or ())} classes known by name"
    return f"{len(of.bands or ()) or source.config['in_channels']} bands, {kept}"


def for_bands(weight: Any, of: Sequence[str] | None, to: Sequence[str]) -> Any:
    """Fit the first convolution's weight (out, bands, ...) to other bands; see ``adapt``.

    Three bands without names are taken as red, green, blue.
    """
    import torch

    names = of if of is not None else _RGB if weight.shape[1] == len(_RGB) else ()
    if not any(band in names for band in to):  # no band has a filter of its own, so filters are repeated
        slices = [weight[:, i % weight.shape[1]] for i in range(len(to))]
    else:
        mean = weight.mean(dim=1)
        slices = [weight[:, list(names).index(band)] if band in names else mean for band in to]
    return torch.stack(slices, dim=1) * (weight.shape[1] / len(to))


def fill_encoder(network: Any, path: Path, bands: Sequence[str]) -> str:
    """Fill a network's encoder from a safetensors file with the tensor names of smp, timm or torchvision.

    Args:
        network: The network.
        path: The file.
        bands: Names of the network's bands.

    Returns:
        What was copied, in words.

    Raises:
        ModelError: If the file cannot be read safely, or is of another encoder.
    """
    import torch

    tensors = _read(path)
    if not hasattr(network, "encoder"):
        raise ModelError(
            f"{path}: this architecture has no encoder to fill; leave [transfer] encoder_weights out"
        )
    state = network.encoder.state_dict()
    filled = 0
    with torch.no_grad():
        for name, value in state.items():
            old = next((tensors[other] for other in _aliases(name) if other in tensors), None)
            if old is None:
                continue
            if old.shape == value.shape:
                value.copy_(old)
                filled += 1
            elif (
                old.ndim == value.ndim == 4
                and old.shape[0] == value.shape[0]
                and value.shape[1] == len(bands)
            ):
                value.copy_(for_bands(old, None, bands))
                filled += 1
    if filled < len(state) * 0.9:
        raise ModelError(
            f"{path} fits {filled} of the encoder's {len(state)} tensors: it is of another encoder than "
            f"{network.config.get('encoder_name')}"
        )
    network.encoder.load_state_dict(state)
    return f"encoder weights: {path.name}, {filled} of {len(state)} tensors"


def _aliases(name: str) -> tuple[str, ...]:
    bare = name.removeprefix("model.")
    return (name, bare, f"encoder.{name}", f"encoder.{bare}", f"backbone.{bare}")


def _read(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        raise ModelError(
            f"{path} is not a safetensors file; other weight files can run code when they are opened: "
            "convert it with torch.load(..., weights_only=True) and safetensors.torch.save_file"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error


def _copy_rows(old: Any, new: Any, of: Sequence[str] | None, to: Sequence[str] | None) -> None:
    """Copy the rows of classes that both networks have; other rows stay as they are."""
    for row, name in enumerate(to or ()):
        if of is not None and name in of:
            new[row].copy_(old[list(of).index(name)])
