"""Weights from one network to another that has other bands or classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError

_HEADS = ("segmentation_head.", "head.")
_RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class Named:
    """What a network's inputs and outputs are called; None where nobody knows.

    Attributes:
        bands: Names of its bands, in order.
        classes: Names of its classes, in order.
    """

    bands: tuple[str, ...] | None
    classes: tuple[str, ...] | None


def adapt(source: Any, target: Any, of: Named, to: Named) -> str:
    """Copy all weights that fit.

    The first convolution takes the filters of bands of the same name, the mean of all filters for other
    bands, and is scaled by the number of bands, so that what comes out of it keeps its size. The last
    convolution takes the rows of classes of the same name; other classes start at random.

    Args:
        source: The network that knows something.
        target: The network to fill, of the same architecture.
        of: Names of the source.
        to: Names of the target.

    Returns:
        What was taken, in words.
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
    """The first convolution's weight (out, bands, ...) for other bands; see ``adapt``.

    Three bands without names are taken as red, green, blue.
    """
    import torch

    names = of if of is not None else _RGB if weight.shape[1] == len(_RGB) else ()
    if not any(band in names for band in to):  # no band has a filter of its own: take all in turn
        slices = [weight[:, i % weight.shape[1]] for i in range(len(to))]
    else:
        mean = weight.mean(dim=1)
        slices = [weight[:, list(names).index(band)] if band in names else mean for band in to]
    return torch.stack(slices, dim=1) * (weight.shape[1] / len(to))


def fill_encoder(network: Any, path: Path, bands: Sequence[str]) -> str:
    """Fill a network's encoder from a safetensors file, as smp, timm or torchvision name its tensors.

    Args:
        network: The network.
        path: The file.
        bands: Names of the network's bands.

    Returns:
        What was taken, in words.

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
            f"{path} is no safetensors file; other weight files can run code when they are opened: "
            "convert it with torch.load(..., weights_only=True) and safetensors.torch.save_file"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error


def _copy_rows(old: Any, new: Any, of: Sequence[str] | None, to: Sequence[str] | None) -> None:
    """Rows of classes that both networks know; others stay as they are."""
    for row, name in enumerate(to or ()):
        if of is not None and name in of:
            new[row].copy_(old[list(of).index(name)])
