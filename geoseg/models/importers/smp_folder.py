"""Import a folder that `save_pretrained` of segmentation-models-pytorch wrote."""

from __future__ import annotations

from pathlib import Path

from geoseg.errors import ModelError
from geoseg.models.catalog import ARCHITECTURE_OF, NOT_OPTIONS, SMP_CLASSES
from geoseg.models.importers.description import Description
from geoseg.models.importers.importer import ImportSource
from geoseg.models.model import network_from_config
from geoseg.models.package import save_model
from geoseg.models.sources import CONFIG_FILE, WEIGHTS_FILE
from geoseg.models.weights import load_weights


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
        network = network_from_config(config, where)
        try:
            data = (source.path / WEIGHTS_FILE).read_bytes()
        except OSError as error:
            raise ModelError(f"{source.shown}/{WEIGHTS_FILE} cannot be read: {error}") from error
        load_weights(network, data, f"{source.shown}/{WEIGHTS_FILE}")
        found = Description(
            architecture=ARCHITECTURE_OF[name],
            encoder=network.config.get("encoder_name"),
            network={key: value for key, value in config.items() if key not in NOT_OPTIONS},
        )
        card = said.over(found).card(source.shown, config["in_channels"], config["classes"])
        return save_model(folder, card, network)
