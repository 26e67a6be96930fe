"""ONNX files of Deepness and GeoDeep: their metadata say what a network reads and tells apart.

Deepness (https://github.com/PUTvision/qgis-plugin-deepness) is a plugin of QGIS with a collection of models,
GeoDeep (https://github.com/uav4geo/GeoDeep) a command; they share the keys. Both divide stored values by 255;
Deepness then subtracts `standardization_mean` and divides by `standardization_std`. Of the network's map,
values below `seg_thresh` count as 0, and the largest is the class, the first where all are 0.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from geoseg.classes import complete_legend
from geoseg.errors import ModelError
from geoseg.models.card import ModelBand, ModelCard
from geoseg.models.conversion import ConvertedNetwork
from geoseg.models.onnx_file import read_metadata
from geoseg.models.onnx_graph import WHITE, ForeignNetwork, read_foreign
from geoseg.models.sources import ONNX, ONNX_FILE

ARCHITECTURE = "onnx"
"""What the card of a model says that holds only an ONNX network."""

_SEGMENTS = "Segmentor"
_CLASS_KEYS = ("class_names", "names")
_SIDE_KEYS = ("tile_size", "tiles_size")  # what Deepness reads, and what its documentation says
_KEYS = {"model_type", *_CLASS_KEYS, "resolution", *_SIDE_KEYS, "tiles_overlap", "seg_thresh"}
_OTHER_KINDS = {
    "Detector": "finds objects",
    "Regressor": "gives quantities",
    "Recognition": "compares pictures",
    "Superresolution": "makes finer pictures",
}
_THRESHOLD = 0.5
_SIDE = 512
_LONGEST = 2**16
_RGB = ("red", "green", "blue")
# Half the width of a normal distribution between its 1st and 99th percentile, in standard deviations.
_HALF_RANGE = 2.326


def deepness_texts(card: ModelCard, side: int) -> dict[str, str]:
    """Write what Deepness and GeoDeep need to know of a network that `take_values` made.

    Args:
        card: the network's card.
        side: of the chips that it takes.
    """
    named = {index: land_class.name for index, land_class in enumerate(card.classes)}
    values: dict[str, Any] = {
        "model_type": _SEGMENTS,
        "class_names": named,
        "tile_size": side,
        "tiles_overlap": round(100 * card.overlap / card.chip_size),
        "seg_thresh": 0,  # geoseg's rule: the most probable class, however probable
        "seg_small_segment": 0,
    }
    if card.gsd is not None:
        values["resolution"] = round(100 * card.gsd, 3)  # centimetres
    return {key: json.dumps(value) for key, value in values.items()}


def is_deepness(texts: Mapping[str, str]) -> bool:
    """Tell whether the metadata of an ONNX file are those of Deepness or GeoDeep."""
    return not _KEYS.isdisjoint(texts)


@dataclass(frozen=True)
class DeepnessModel:
    """An ONNX file of Deepness or GeoDeep.

    Attributes:
        where: the file, as messages name it.
        texts: its metadata.
        network: what its graph takes and gives.

    Raises:
        ModelError: naming the key that is wrong, or the kind of model that makes no map of classes.
    """

    where: str
    texts: Mapping[str, str]
    network: ForeignNetwork

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of its bands; by the tools' documents pictures, with near infrared fourth."""
        count = self.network.bands
        return (*_RGB, "nir")[:count] if count in (3, 4) else tuple(f"band_{i}" for i in range(1, count + 1))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes; of one class the background is the first."""
        text = next((self.texts[key] for key in _CLASS_KEYS if key in self.texts), None)
        if text is None:
            return tuple(f"class {index}" for index in range(self.network.classes))
        names = _literal(text)
        if isinstance(names, list) and len(names) == 1:
            names = names[0]
        try:
            found = {int(key): str(value) for key, value in names.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.where}: its class_names are {text[:80]!r}, no names by number"
            ) from error
        if self.network.channels == 1 and set(found) == {0}:
            found = {0: "background", 1: found[0]}
        if sorted(found) != list(range(self.network.classes)):
            raise ModelError(
                f"{self.where}: its class_names name {len(found)} classes, and its network tells "
                f"{self.network.classes} apart; correct them in its metadata"
            )
        return tuple(found[index] for index in range(len(found)))

    @cached_property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of stored values that it expects, for each band."""
        count = self.network.bands
        pair = []
        for key, default in (("standardization_mean", 0.0), ("standardization_std", 1.0)):
            values = _literal(self.texts[key]) if key in self.texts else [default] * count
            if not isinstance(values, list) or len(values) != count or not all(map(_is_number, values)):
                raise ModelError(f"{self.where}: its {key} is {values!r}; it must hold {count} numbers")
            pair.append(tuple(WHITE * float(value) for value in values))
        return pair[0], pair[1]

    @property
    def value_range(self) -> tuple[float, float]:
        """Stored values that are usual: those of 8-bit pictures, unless the normalisation says others."""
        means, stds = self.normalisation
        high = max(mean + _HALF_RANGE * std for mean, std in zip(means, stds, strict=True))
        return 0.0, (high if self._is_standardised and high > 2 * WHITE else float(WHITE))

    @property
    def gsd(self) -> float | None:
        """Metres a pixel; None if it does not say."""
        centimetres = self._number("resolution")
        if centimetres is not None and centimetres <= 0:
            raise ModelError(f"{self.where}: its resolution is {centimetres:g}; it must be above 0")
        return None if centimetres is None else centimetres / 100

    @property
    def side(self) -> int:
        """Rows and columns of its chips."""
        said = next((side for key in _SIDE_KEYS if (side := self._number(key)) is not None), _SIDE)
        return self.network.side or max(1, int(said))

    @property
    def threshold(self) -> float:
        """Values of its map below it count as 0."""
        said = self._number("seg_thresh")
        return _THRESHOLD if said is None else said

    def overlap(self, side: int) -> int | None:
        """Pixels that chips of a side share; None if it does not say."""
        percent = self._number("tiles_overlap")
        return None if percent is None else int(side * min(max(percent, 0), 50) / 100)

    def convert(self, side: int) -> ConvertedNetwork:
        """Make its network one from normalised chips to probabilities whose largest is the tools' class."""
        graph, shape = self.network.convert(side, self.threshold)
        return ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: graph})

    def card(self, name: str) -> ModelCard:
        """Make a card of what the file says."""
        (means, stds), (low, high) = self.normalisation, self.value_range
        side = self.side
        overlap = self.overlap(side)
        return ModelCard(
            name=name,
            bands=tuple(
                ModelBand(band, mean=mean, std=std, low=low, high=high)
                for band, mean, std in zip(self.bands, means, stds, strict=True)
            ),
            classes=complete_legend((), range(len(self.classes)), dict(enumerate(self.classes))),
            architecture=ARCHITECTURE,
            chip_size=side,
            overlap=min(64, side // 4) if overlap is None else overlap,
            units=UNITS,
            gsd=self.gsd,
            summary=SUMMARY,
            trust=TRUST,
        )

    @property
    def _is_standardised(self) -> bool:
        return "standardization_mean" in self.texts

    def _number(self, key: str) -> float | None:
        if key not in self.texts:
            return None
        value = _literal(self.texts[key])
        if not _is_number(value):
            raise ModelError(f"{self.where}: its {key} is {self.texts[key][:40]!r}, no number")
        return float(value)


UNITS = "digital numbers"
SUMMARY = "A model of Deepness or GeoDeep."
TRUST = "Made by others, and not measured by geoseg: compare its map with ground that you know."


def read_deepness(data: bytes, where: str) -> DeepnessModel:
    """Read an ONNX file of Deepness or GeoDeep.

    Args:
        data: the file.
        where: the file, as messages name it.

    Raises:
        ModelError: if it makes no map of classes, is damaged, or could run code.
    """
    texts = read_metadata(data, where)
    kind = str(_literal(texts.get("model_type", _SEGMENTS))).capitalize()
    if kind != _SEGMENTS:
        does = _OTHER_KINDS.get(kind, "is of another kind")
        raise ModelError(
            f'{where} {does} (model_type "{kind}"); geoseg makes maps of classes, from models of the type '
            f'"{_SEGMENTS}": use it in Deepness or GeoDeep'
        )
    if texts.get("task", "segment") not in ("segment", "semantic"):  # of Ultralytics
        raise ModelError(f'{where} is a model for "{texts["task"]}"; geoseg makes maps of classes')
    side = next((_literal(texts[key]) for key in _SIDE_KEYS if key in texts), _SIDE)
    return DeepnessModel(where, texts, read_foreign(data, where, int(side) if _is_number(side) else _SIDE))


def _literal(text: str) -> Any:
    """Read a value as the tools do: JSON, or a Python literal in older files; else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > _LONGEST:
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _is_number(value: Any) -> bool:
    is_finite = isinstance(value, float) and math.isfinite(value)
    return is_finite or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53)
