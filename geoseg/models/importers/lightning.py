"""Import checkpoints of Lightning whose module holds a network of smp's architectures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError
from geoseg.models.catalog import architectures
from geoseg.models.importers.description import Description
from geoseg.models.importers.importer import ImportSource
from geoseg.models.importers.network import known_architecture, network_of_weights
from geoseg.models.importers.torch_file import weights_in
from geoseg.models.package import save_model

# What modules call their architecture and encoder.
_ARCHITECTURE = ("architecture", "arch", "model_arch", "model_name", "model", "decoder", "decoder_name")
_ENCODER = ("encoder_name", "encoder", "backbone", "backbone_name")


class LightningCheckpoint:
    """Files of Lightning's Trainer; the hyper-parameters that a module saved name its network."""

    kind = "a checkpoint of Lightning (.ckpt)"

    def recognises(self, source: ImportSource) -> bool:
        """See `Importer`."""
        return is_checkpoint(source)

    def convert(self, source: ImportSource, said: Description, folder: Path) -> Path:
        """See `Importer`."""
        tensors = weights_in(source.content["state_dict"], source.shown)
        described = said.over(_named(source, said)).over(_normalisation(tensors))
        network = network_of_weights(tensors, described, source.shown)
        return save_model(folder, described.card_of(network, source.shown), network)


def is_checkpoint(source: ImportSource) -> bool:
    """Tell whether a source is a checkpoint of Lightning, of any module."""
    content = source.content
    return isinstance(content, Mapping) and {"state_dict", "pytorch-lightning_version"} <= set(content)


def hyper_parameters(source: ImportSource) -> Mapping[str, Any]:
    """Return the hyper-parameters that the module saved; none if it did not."""
    saved = source.content.get("hyper_parameters")
    return saved if isinstance(saved, Mapping) else {}


def _named(source: ImportSource, said: Description) -> Description:
    """Find architecture and encoder among the hyper-parameters."""
    saved = hyper_parameters(source)
    names = [saved[key] for key in _ARCHITECTURE if isinstance(saved.get(key), str)]
    encoder = next((saved[key] for key in _ENCODER if isinstance(saved.get(key), str)), None)
    known = next(filter(None, map(known_architecture, names)), None)
    if known is None and names and said.architecture is None:
        raise ModelError(
            f'{source.shown} says that its network is "{names[0]}", which geoseg does not know; if it is one '
            f"of these by another name, give --architecture: {', '.join(architectures())}"
        )
    return Description(architecture=known, encoder=encoder)


def _normalisation(tensors: Mapping[str, Any]) -> Description:
    """Read the buffers `mean` and `std` of a module that normalises its input, as smp's examples do."""
    mean, std = tensors.get("mean"), tensors.get("std")
    if mean is None or std is None or mean.numel() != std.numel():
        return Description()
    return Description(mean=mean.flatten().tolist(), std=std.flatten().tolist())
