"""Write a model card as `mlm.json`: a STAC 1.1.0 item with the Machine Learning Model extension 1.4.0.

What the extension (https://github.com/stac-extensions/mlm/tree/v1.4.0) has a field for is kept there,
the rest has the prefix `geoseg:`. `mlm_read.card_from_item` is the inverse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from geoseg.models.card import LandClass, ModelBand, ModelCard

FORMAT = 1
"""Version of the `geoseg:` fields; a reader refuses a higher one."""

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
MLM_FILE = "mlm.json"

_EXTENSIONS = "https://stac-extensions.github.io"
MLM_EXTENSION = f"{_EXTENSIONS}/mlm/v1.4.0/schema.json"
_EO = f"{_EXTENSIONS}/eo/v2.0.0/schema.json"
_RASTER = f"{_EXTENSIONS}/raster/v2.0.0/schema.json"
_SCIENTIFIC = f"{_EXTENSIONS}/scientific/v1.0.0/schema.json"
_VERSION = f"{_EXTENSIONS}/version/v1.2.0/schema.json"

COMMON_NAMES = frozenset(
    {"pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075"}
    | {"rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12"}
)
"""Values of `eo:common_name` in the EO extension 2.0.0; other band names are kept as plain names."""

_LICENSE = re.compile(r"[\w\-.+]+", re.ASCII)
_MLM_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_. -]+[a-zA-Z0-9]")
# A model is not tied to a date; this is how the extension's own examples say so.
_ALWAYS = {"datetime": None, "start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}


def item_from_card(card: ModelCard, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The STAC item for a card.

    Args:
        card: what to write.
        facts: further MLM properties that no card holds, such as `mlm:total_parameters`.

    Returns:
        A dictionary of plain JSON values, valid against STAC 1.1.0 and the extensions it lists.
    """
    extensions = [MLM_EXTENSION, _RASTER, _VERSION]
    if COMMON_NAMES.intersection(card.band_names):
        extensions.append(_EO)
    if card.citation:
        extensions.append(_SCIENTIFIC)
    properties = {
        **_ALWAYS,
        **_texts(card),
        "bands": [_band(band, card) for band in card.bands],
        "mlm:name": _mlm_name(card.name),
        "mlm:architecture": card.architecture,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "PyTorch",
        "mlm:input": [_input(card)],
        "mlm:output": [_output(card)],
        **(facts or {}),
        **_own_fields(card),
    }
    if card.quantization:
        properties["geoseg:quantization"] = dict(card.quantization)
    if card.gsd is not None:
        properties["gsd"] = card.gsd
    if card.gsd_estimated:
        properties["geoseg:gsd_estimated"] = True
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": extensions,
        "id": card.name,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": _assets(card),
    }


def _texts(card: ModelCard) -> dict[str, str]:
    texts = {"title": card.name, "version": card.version}
    if card.summary:
        texts["description"] = card.summary
    if card.citation:
        texts["sci:citation"] = card.citation
    if _LICENSE.fullmatch(card.license):
        texts["license"] = card.license
    elif card.license:
        texts |= {"license": "other", "geoseg:license": card.license}
    return texts


def _own_fields(card: ModelCard) -> dict[str, Any]:
    return {
        "geoseg:format": FORMAT,
        "geoseg:encoder": card.encoder,
        "geoseg:network": dict(card.network),
        "geoseg:chip_size": card.chip_size,
        "geoseg:overlap": card.overlap,
        "geoseg:invalid_where": card.invalid_where,
        "geoseg:temperatures": dict(card.temperatures),
        "geoseg:trained_on": card.trained_on,
        "geoseg:metrics": dict(card.metrics),
        "geoseg:baseline": dict(card.baseline),
        "geoseg:trust": card.trust,
    }


def _band(band: ModelBand, card: ModelCard) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": band.name}
    if band.name in COMMON_NAMES:
        fields["eo:common_name"] = band.name
    return fields | {
        "unit": card.units,
        "raster:scale": card.value_scale,
        "raster:offset": card.value_offset,
        "geoseg:low": band.low,
        "geoseg:high": band.high,
    }


def _input(card: ModelCard) -> dict[str, Any]:
    return {
        "name": "normalised chip",
        "description": "Physical values, z-scored; then invalid pixels and those beyond the scene are 0.",
        "bands": list(card.band_names),
        "input": {
            "shape": [-1, len(card.bands), card.chip_size, card.chip_size],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [{"type": "z-score", "mean": band.mean, "stddev": band.std} for band in card.bands],
        "resize_type": None,
    }


def _output(card: ModelCard) -> dict[str, Any]:
    return {
        "name": "logits",
        "description": "Index i of the class axis is the i-th class by ascending value.",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, len(card.classes), -1, -1],
            "dim_order": ["batch", "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": [_class(land_class) for land_class in card.classes],
    }


def _class(land_class: LandClass) -> dict[str, Any]:
    slug = re.sub(r"[^0-9a-z]+", "-", land_class.name.lower()).strip("-")
    return {
        "value": land_class.id,
        "name": slug or f"class-{land_class.id}",
        "description": land_class.name,
        "color_hint": land_class.color.removeprefix("#").upper(),
    }


def _assets(card: ModelCard) -> dict[str, Any]:
    return {
        "model": {
            "href": WEIGHTS_FILE,
            "title": "Weights",
            "type": "application/octet-stream; framework=pytorch",
            "roles": ["mlm:model", "mlm:weights"],
            "mlm:artifact_type": "safetensors.torch.save_file",
            # STAC allows bands in the item's properties only where an asset has bands too.
            "bands": [{"name": name} for name in card.band_names],
        },
        "config": {
            "href": CONFIG_FILE,
            "title": "Architecture, as segmentation-models-pytorch saves it",
            "type": "application/json",
            "roles": ["metadata"],
        },
    }


def _mlm_name(name: str) -> str:
    """The name in the alphabet that `mlm:name` allows; the name itself is in `title`."""
    if _MLM_NAME.fullmatch(name):
        return name
    slug = re.sub(r"[^a-zA-Z0-9_.-]+", "-", name).strip("-_.")
    return slug if _MLM_NAME.fullmatch(slug) else f"model-{slug or 0}"
