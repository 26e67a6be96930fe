"""Import a folder that `save_pretrained` of segmentation-models-pytorch wrote."""

from __future__ import annotations

from pathlib import Path

from geoseg.errors import ModelError
from geoseg.models.catalog import ARCHITECTURE_OF, NOT_OPTIONS, SMP_CLASSES
from geoseg.models.importers.description import Description
from geoseg.models.importers.importer import ImportSource
from geoseg.models.importers.network import network_of_weights
from geoseg.models.package import save_model
from geoseg.models.sources import CONFIG_FILE, WEIGHTS_FILE

_AUXILIARY = "classification_head."


class SmpFolder:
    """Folders with `config.json` and `model.safetensors`."""

    kind = "a folder of segmentation-models-pytorch's save_pretrained"

    def recognises(self, source: ImportSource) -> bool:
        """See `Importer`."""
        return source.config is not None and "_model_class" in source.config

    def convert(self, source: ImportSource, said: Description, folder: Path) -> Path:
        """See `Importer`."""
        where = f"{source.shown}/{CONFIG_FILE}"
        config = {"in_channels": 3, "classes": 1} | (source.config or {})
        name, known = config["_model_class"], SMP_CLASSES.values()
        if name not in known:
            raise ModelError(f"{where}: `_model_class` is {name!r}; known are {', '.join(known)}")
        if config.get("activation") == "sigmoid" and config["classes"] != 1:
            raise ModelError(
                f"{where} gives every class a sigmoid of its own, so several may be true of a pixel, and no "
                'class map can show that; if they exclude each other, set "activation" to null there'
            )
        weights = f"{source.shown}/{WEIGHTS_FILE}"
        tensors = ImportSource(source.path / WEIGHTS_FILE, weights).tensors
        if tensors is None:
            raise ModelError(f"{weights} is missing; save_pretrained writes it")
        found = Description(
            architecture=ARCHITECTURE_OF[name],
            encoder=config.get("encoder_name"),
            network={key: value for key, value in config.items() if key not in NOT_OPTIONS},
        )
        said.check_agrees(found, where)
        described = said.over(found)
        own = {key: each for key, each in tensors.items() if not key.startswith(_AUXILIARY)}
        network = network_of_weights(own, described, weights)
        return save_model(folder, described.card_of(network, source.shown), network)
