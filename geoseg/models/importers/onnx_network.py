"""Import an ONNX network: of Deepness or GeoDeep, whose metadata describe it, or of any other tool."""

from __future__ import annotations

from pathlib import Path

from geoseg.errors import ModelError
from geoseg.models.conversion import ConvertedNetwork
from geoseg.models.deepness import ARCHITECTURE, SUMMARY, TRUST, UNITS, is_deepness, read_deepness
from geoseg.models.importers.description import Description
from geoseg.models.importers.importer import ImportSource
from geoseg.models.onnx_file import CARD_KEY, read_metadata
from geoseg.models.onnx_graph import ForeignNetwork, read_foreign
from geoseg.models.package import save_converted
from geoseg.models.sources import ONNX, ONNX_ENDING, ONNX_FILE

_SIDE = 512


class OnnxNetwork:
    """`.onnx` files."""

    kind = "an ONNX network of Deepness, GeoDeep or another tool (.onnx)"

    def recognises(self, source: ImportSource) -> bool:
        """See `Importer`."""
        return source.path.suffix.lower() == ONNX_ENDING and source.path.is_file()

    def convert(self, source: ImportSource, said: Description, folder: Path) -> Path:
        """See `Importer`."""
        where = source.shown
        for option in ("architecture", "encoder", "network"):
            if getattr(said, option) is not None:
                raise ModelError(
                    f"{where} holds its whole network; leave out --architecture, --encoder and --option"
                )
        try:
            data = source.path.read_bytes()
        except OSError as error:
            raise ModelError(f"{where} cannot be read: {error}") from error
        texts = read_metadata(data, where)
        if CARD_KEY in texts:
            raise ModelError(f"{where} was exported by geoseg; use it as it is: --model {where}")
        found, network, converted = (_described if is_deepness(texts) else _bare)(data, where, said)
        card = said.over(found).card(where, network.bands, network.classes)
        return save_converted(folder, card, converted)


_Read = tuple[Description, ForeignNetwork, ConvertedNetwork]


def _described(data: bytes, where: str, said: Description) -> _Read:
    """Read a file of Deepness or GeoDeep."""
    model = read_deepness(data, where)
    side = said.chip_size or model.side
    means, stds = model.normalisation
    found = Description(
        bands=model.bands,
        classes=model.classes,
        mean=means,
        std=stds,
        value_range=[model.value_range] if said.mean is None and said.std is None else None,
        units=UNITS,
        gsd=model.gsd,
        chip_size=side,
        overlap=model.overlap(side),
        architecture=ARCHITECTURE,
        summary=SUMMARY,
        trust=TRUST,
    )
    return found, model.network, model.convert(side)


def _bare(data: bytes, where: str, said: Description) -> _Read:
    """Read a file without metadata: its most probable class is the class."""
    side = said.chip_size
    network = read_foreign(data, where, side)
    side = side or network.side or _SIDE
    graph, shape = network.convert(side, None)
    converted = ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: graph})
    return Description(chip_size=side, architecture=ARCHITECTURE), network, converted
