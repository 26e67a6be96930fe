"""Import weights alone: a state dict of torch, saved by `torch.save` or as safetensors."""

from __future__ import annotations

from pathlib import Path

from geoseg.models.importers.description import Description
from geoseg.models.importers.importer import ImportSource
from geoseg.models.importers.network import network_of_weights
from geoseg.models.importers.torch_file import weights_in
from geoseg.models.package import save_model


class StateDict:
    """Files that hold a state dict, by itself or in a dictionary."""

    kind = "weights of torch (.pth, .pt, .safetensors)"

    def recognises(self, source: ImportSource) -> bool:
        """See `Importer`."""
        return source.tensors is not None or source.content is not None

    def convert(self, source: ImportSource, said: Description, folder: Path) -> Path:
        """See `Importer`."""
        tensors = weights_in(source.content, source.shown) if source.tensors is None else source.tensors
        network = network_of_weights(tensors, said, source.shown)
        return save_model(folder, said.card_of(network, source.shown), network)
