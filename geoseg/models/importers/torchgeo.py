"""Import checkpoints of torchgeo's `SemanticSegmentationTask`."""

from __future__ import annotations

from pathlib import Path

from geoseg.errors import ModelError
from geoseg.models.importers.description import Description
from geoseg.models.importers.importer import ImportSource
from geoseg.models.importers.lightning import hyper_parameters, is_checkpoint
from geoseg.models.importers.network import known_architecture, network_of_weights
from geoseg.models.importers.torch_file import weights_in
from geoseg.models.package import save_model

_SAVED = {"model", "backbone", "in_channels", "num_classes"}
_PREFIX = "model."


class TorchgeoCheckpoint:
    """Checkpoints with the hyper-parameters of torchgeo's task: `model`, `backbone`, `in_channels` ..."""

    kind = "a checkpoint of torchgeo's SemanticSegmentationTask (.ckpt)"

    def recognises(self, source: ImportSource) -> bool:
        """See `Importer`."""
        return is_checkpoint(source) and set(hyper_parameters(source)) >= _SAVED

    def convert(self, source: ImportSource, said: Description, folder: Path) -> Path:
        """See `Importer`."""
        saved, where = hyper_parameters(source), source.shown
        architecture = known_architecture(str(saved["model"]))
        if architecture is None:
            raise ModelError(
                f'{where} is of torchgeo\'s model "{saved["model"]}", which geoseg lacks; it has unet, '
                "deeplabv3+, upernet, segformer and dpt"
            )
        if saved.get("task") == "multilabel":
            raise ModelError(f"{where} gives a pixel several labels (multilabel); no class map can show them")
        found = Description(architecture=architecture, encoder=str(saved["backbone"]))
        said.check_agrees(found, where)
        weights = weights_in(source.content["state_dict"], where)
        tensors = {name: value for name, value in weights.items() if name.startswith(_PREFIX)}
        described = said.over(found)
        network = network_of_weights(tensors, described, where)
        return save_model(folder, described.card_of(network, where), network)
