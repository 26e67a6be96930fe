"""Write a model card as `mlm.json`, a STAC item with the MLM extension 1.4.0, and read it back.

Values for which the extension (https://github.com/stac-extensions/mlm/tree/v1.4.0) has a field are stored
there, the others in fields with the prefix `geoseg:`. `card_from_item` is the inverse of `item_from_card`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from geoseg.classes import LandClass
from geoseg.errors import ModelError
from geoseg.models.card import ModelBand, ModelCard
from geoseg.models.sources import CONFIG_FILE, WEIGHTS_FILE
from geoseg.models.transforms import Chain, transforms_of
from geoseg.scene.band_names import COMMON_NAMES

FORMAT = 2
"""Version of the `geoseg:` fields; a reader refuses a higher one."""

_WITHOUT_TRANSFORMS = 1
"""The version that is written where bands have no transforms: readers of it would pass over them."""

QUANTIZATION_KEY = "geoseg:quantization"
TRANSFORMS_KEY = "geoseg:transforms"

_EXTENSIONS = "https://stac-extensions.github.io"
MLM_EXTENSION = f"{_EXTENSIONS}/mlm/v1.4.0/schema.json"
_EO = f"{_EXTENSIONS}/eo/v2.0.0/schema.json"
_RASTER = f"{_EXTENSIONS}/raster/v2.0.0/schema.json"
_SCIENTIFIC = f"{_EXTENSIONS}/scientific/v1.0.0/schema.json"
_VERSION = f"{_EXTENSIONS}/version/v1.2.0/schema.json"

_LICENSE = re.compile(r"[\w\-.+]+", re.ASCII)
_MLM_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_. -]+[a-zA-Z0-9]")
# A model has no date; the extension's own examples use this range.
_ALWAYS = {"datetime": None, "start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}

_MLM = f"{_EXTENSIONS}/mlm/v1."
_REQUIRED = object()
_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
}


def item_from_card(card: ModelCard, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make the STAC item for a card.

    Args:
        card: the card.
        facts: further MLM properties that are not on the card, such as `mlm:total_parameters`.

    Returns:
        A dictionary of plain JSON values, valid against STAC 1.1.0 and the extensions it lists.
    """
    extensions = [MLM_EXTENSION, _RASTER, _VERSION]
    if not set(COMMON_NAMES).isdisjoint(card.band_names):
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
        properties[QUANTIZATION_KEY] = dict(card.quantization)
    if card.gsd is not None:
        properties["gsd"] = card.gsd
    if card.gsd_estimated:
        properties["geoseg:gsd_estimated"] = True
    properties |= domain_properties(card)
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
        "geoseg:format": FORMAT if card.transforms else _WITHOUT_TRANSFORMS,
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


def domain_properties(card: ModelCard) -> dict[str, Any]:
    """Give the properties that say where, when and at which pixel sizes a model is to be used."""
    region = None if card.region is None else card.region.to_json()
    found = {
        "gsd_range": list(card.gsd_range or ()),
        "region": region,
        "region_name": card.region_name,
        "months": list(card.months),
    }
    return {f"geoseg:{key}": value for key, value in found.items() if value}


def _band(band: ModelBand, card: ModelCard) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": band.name}
    if band.name in COMMON_NAMES:
        fields["eo:common_name"] = band.name
    if band.transforms:
        fields[TRANSFORMS_KEY] = [step.to_json() for step in band.transforms]
    return fields | {
        "unit": card.units,
        "raster:scale": card.value_scale,
        "raster:offset": card.value_offset,
        "geoseg:low": band.low,
        "geoseg:high": band.high,
    }


def _input(card: ModelCard) -> dict[str, Any]:
    steps = f"transformed by `{TRANSFORMS_KEY}`, z-scored" if card.transforms else "z-scored"
    return {
        "name": "normalised chip",
        "description": f"Physical values, {steps}; then invalid pixels and those beyond the scene are 0.",
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
    """Spell the name in the alphabet that `mlm:name` allows; the name itself is in `title`."""
    if _MLM_NAME.fullmatch(name):
        return name
    slug = re.sub(r"[^a-zA-Z0-9_.-]+", "-", name).strip("-_.")
    return slug if _MLM_NAME.fullmatch(slug) else f"model-{slug or 0}"


def card_from_item(item: Any) -> ModelCard:
    """Read the card that a STAC item with the MLM extension describes.

    Args:
        item: parsed `mlm.json`, as `item_from_card` or another tool that follows the extension writes it.

    Returns:
        The card; texts that are missing are empty.

    Raises:
        ModelError: naming the key that is missing or wrong.
    """
    _check_kind(item)
    own = {
        key: _get(item, "properties", f"geoseg:{key}", kind=kind)
        for key, kind in {"chip_size": int, "overlap": int, "invalid_where": str}.items()
    }
    maps = {
        key: _get(item, "properties", f"geoseg:{key}", kind=dict, default={})
        for key in ("network", "temperatures", "metrics", "baseline", "quantization")
    }
    texts = {
        key: _get(item, "properties", f"geoseg:{key}", kind=str, default="")
        for key in ("trained_on", "trust", "region_name")
    }
    bands, units = _bands(item)
    scale, offset = _value_scale(item)
    name = _get(item, "properties", "mlm:name", kind=str)
    license_id = _get(item, "properties", "license", kind=str, default="")
    return ModelCard(
        name=_get(item, "properties", "title", kind=str, default=name),
        version=_get(item, "properties", "version", kind=str, default="1.0.0"),
        summary=_get(item, "properties", "description", kind=str, default=""),
        citation=_get(item, "properties", "sci:citation", kind=str, default=""),
        license=_get(item, "properties", "geoseg:license", kind=str, default=license_id),
        bands=bands,
        classes=_classes(item),
        units=units,
        value_scale=scale,
        value_offset=offset,
        gsd=_get(item, "properties", "gsd", kind=float, default=None),
        gsd_estimated=_get(item, "properties", "geoseg:gsd_estimated", kind=bool, default=False),
        gsd_range=_get(item, "properties", "geoseg:gsd_range", kind=object, default=None),
        region=_get(item, "properties", "geoseg:region", kind=object, default=None),
        months=_get(item, "properties", "geoseg:months", kind=object, default=()),
        architecture=_get(item, "properties", "mlm:architecture", kind=str),
        encoder=_get(item, "properties", "geoseg:encoder", kind=str, default=None),
        **own,
        **maps,
        **texts,
    )


def _check_kind(item: Any) -> None:
    if not isinstance(item, dict):
        raise ModelError("is not a JSON object; it must be a STAC item")
    if item.get("type") != "Feature":
        raise ModelError(f'`type` is {item.get("type")!r}; it must be "Feature", a STAC item')
    extensions = _get(item, "stac_extensions", kind=list)
    if not any(str(uri).startswith(_MLM) for uri in extensions):
        raise ModelError(f"`stac_extensions` does not list the Machine Learning Model extension ({_MLM}...)")
    version = _get(item, "properties", "geoseg:format", kind=int, default=FORMAT)
    if version > FORMAT:
        raise ModelError(
            f"`geoseg:format` is {version}, newer than this geoseg reads ({FORMAT}); update geoseg"
        )


def _bands(item: Any) -> tuple[tuple[ModelBand, ...], str]:
    """Read the bands in the input's order, and the unit they share."""
    described = {}
    for index in range(len(_get(item, "properties", "bands", kind=list))):
        described[_get(item, "properties", "bands", index, "name", kind=str)] = index
    source = ("properties", "mlm:input", 0)
    names = _get(item, *source, "bands", kind=list)
    scalings = _get(item, *source, "value_scaling", kind=list)
    if len(scalings) != len(names):
        raise ModelError(
            f"`{_path(*source, 'value_scaling')}` has {len(scalings)} entries for {len(names)} bands"
        )
    bands, units = [], set()
    for index in range(len(names)):
        place = (*source, "bands", index)  # of a text, or of an object with a name
        is_object = isinstance(_get(item, *place, kind=object), dict)
        name = _get(item, *place, "name", kind=str) if is_object else _get(item, *place, kind=str)
        if name not in described:
            raise ModelError(
                f'`{_path(*source, "bands")}` names "{name}", which `properties.bands` does not describe'
            )
        about, scaling = ("properties", "bands", described[name]), (*source, "value_scaling", index)
        units.add(_get(item, *about, "unit", kind=str, default="reflectance"))
        kind = _get(item, *scaling, "type", kind=str)
        if kind != "z-score":
            raise ModelError(f'`{_path(*scaling, "type")}` is "{kind}"; only "z-score" is supported')
        bands.append(
            ModelBand(
                name,
                mean=_get(item, *scaling, "mean", kind=float),
                std=_get(item, *scaling, "stddev", kind=float),
                low=_get(item, *about, "geoseg:low", kind=float),
                high=_get(item, *about, "geoseg:high", kind=float),
                transforms=_transforms(item, *about, TRANSFORMS_KEY),
            )
        )
    if len(units) > 1:
        raise ModelError(f"`properties.bands` mix the units {', '.join(sorted(units))}; use one")
    return tuple(bands), next(iter(units), "reflectance")


def _transforms(item: Any, *path: str | int) -> Chain:
    try:
        return transforms_of(_get(item, *path, kind=list, default=[]))
    except ModelError as error:
        raise ModelError(f"`{_path(*path)}`: {error}") from error


def _value_scale(item: Any) -> tuple[float, float]:
    pairs = set()
    for index in range(len(_get(item, "properties", "bands", kind=list))):
        about = ("properties", "bands", index)
        scale = _get(item, *about, "raster:scale", kind=float, default=1.0)
        pairs.add((scale, _get(item, *about, "raster:offset", kind=float, default=0.0)))
    if len(pairs) > 1:
        raise ModelError(
            "`properties.bands` differ in `raster:scale` or `raster:offset`; they must be the same"
        )
    return next(iter(pairs), (1.0, 0.0))


def _classes(item: Any) -> tuple[LandClass, ...]:
    source = ("properties", "mlm:output", 0, "classification:classes")
    classes = []
    for index in range(len(_get(item, *source, kind=list))):
        color = _get(item, *source, index, "color_hint", kind=str)
        classes.append(
            LandClass(
                _get(item, *source, index, "value", kind=int),
                _get(item, *source, index, "description", kind=str),
                f"#{color.removeprefix('#')}",
            )
        )
    return tuple(classes)


def _get(item: Any, *path: str | int, kind: type, default: Any = _REQUIRED) -> Any:
    """Look up the value at a path; null counts as missing where there is a default."""
    value = item
    for depth, key in enumerate(path):
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            if default is _REQUIRED:
                raise ModelError(f"`{_path(*path[: depth + 1])}` is missing") from None
            return default
    if value is None and default is not _REQUIRED:
        return default
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind not in (object, bool)):
        raise ModelError(f"`{_path(*path)}` is {value!r}; it must be {_KINDS.get(kind, 'present')}")
    return value


def _path(*keys: str | int) -> str:
    """Spell a path: `properties.mlm:input[0].bands` for ("properties", "mlm:input", 0, "bands")."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")
