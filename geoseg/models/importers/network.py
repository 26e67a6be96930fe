"""Build the network that weights of smp's architectures, or of our own, belong to, and fill it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.catalog import OWN, architectures
from geoseg.models.importers.description import Description
from geoseg.models.networks import build_network
from geoseg.models.weights import fill_network

_SPELLINGS = {"deeplabv3+": "deeplabv3plus", "unet++": "unetplusplus"}
_RGB = ("red", "green", "blue")
_CONVOLUTION = 4
_FORWARD_ONLY = "num_batches_tracked"


def known_architecture(name: str) -> str | None:
    """Spell an architecture as `build_network` does; None if it is none."""
    spelled = name.lower().replace("-", "").replace("_", "")
    spelled = _SPELLINGS.get(spelled, spelled)
    return next((known for known in architectures() if known.replace("-", "") == spelled), None)


def network_of_weights(tensors: Mapping[str, Any], described: Description, where: str) -> Any:
    """Build and fill a network.

    A network with one class, whose sigmoid says how probable that is, becomes one with two: what the class is
    not, with logit 0, and the class. The softmax of both is that sigmoid.

    Args:
        tensors: name -> tensor, names as in the network, perhaps with a prefix that all of them have; tensors
            without it are left out.
        described: with the architecture, and the encoder and options that are not the default.
        where: the file, as messages name it.

    Returns:
        The network; its `config` has the numbers of bands and classes.

    Raises:
        ModelError: if the network cannot be built, or naming the tensors that do not match.
    """
    architecture = described.architecture
    if architecture is None:
        raise ModelError(
            f"{where} holds weights and does not say of what network; name it, as in --architecture unet "
            "--encoder resnet34"
        )
    counts = len(described.bands or _RGB), len(described.classes or ())
    network = _build(architecture, described, *counts)
    own = without_prefix(tensors, network.state_dict(), where)
    found = _counts(own, network, counts)
    if found != counts:
        network = _build(architecture, described, *found)
    expected = network.state_dict()
    own = {name: value for name, value in expected.items() if name.endswith(_FORWARD_ONLY)} | own
    if found[1] == 1:
        own = {name: _with_background(value, expected.get(name)) for name, value in own.items()}
    encoder = "" if architecture in OWN else f" with encoder {network.config['encoder_name']}"
    fill_network(network, own, where, f"{architecture}{encoder}")
    return network


def _build(architecture: str, described: Description, bands: int, classes: int) -> Any:
    options = described.network or {}
    return build_network(
        architecture, encoder=described.encoder, bands=bands, classes=max(2, classes), **options
    )


def _counts(own: Mapping[str, Any], network: Any, counts: tuple[int, int]) -> tuple[int, int]:
    """Find the inputs of the first convolution and the outputs of the last; those given where it has none."""
    names = [name for name, value in network.state_dict().items() if value.ndim == _CONVOLUTION]
    first, last = own.get(names[0]), own.get(names[-1])
    if first is None or last is None or first.ndim != _CONVOLUTION or last.ndim != _CONVOLUTION:
        return counts
    return int(first.shape[1]), int(last.shape[0])


def without_prefix(tensors: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Cut the prefix off the names of a network's tensors (`model.`, `network.`), and leave the others out.

    Raises:
        ModelError: if there are two such networks.
    """
    counts = {"": 0}
    for name in tensors:
        for start in range(len(name)):
            if (start == 0 or name[start - 1] == ".") and name[start:] in expected:
                counts[name[:start]] = counts.get(name[:start], 0) + 1
                break
    most = max(counts.values())
    best = [prefix for prefix, count in counts.items() if count == most]
    if most and len(best) > 1:
        raise ModelError(
            f"{where} holds several networks ({', '.join(best)}...); save the weights of one: "
            "torch.save(network.state_dict(), 'weights.pth')"
        )
    return {name.removeprefix(best[0]): value for name, value in tensors.items() if name.startswith(best[0])}


def _with_background(value: Any, expected: Any) -> Any:
    """Add a class of logit 0 before the only one of a head's last layer."""
    import torch

    if expected is None or value.ndim == 0 or value.shape == expected.shape:
        return value
    return torch.cat([torch.zeros_like(value), value]) if value.shape[0] == 1 else value
