"""Read a model card back from `mlm.json`, naming the key that is wrong."""

from __future__ import annotations

from typing import Any

from geoseg.errors import ModelError
from geoseg.models.card import LandClass, ModelBand, ModelCard
from geoseg.models.mlm import FORMAT

_MLM = "https://stac-extensions.github.io/mlm/v1."
_REQUIRED = object()
_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
}


def card_from_item(item: Any) -> ModelCard:
    """The card that a STAC item with the MLM extension describes.

    Args:
        item: parsed `mlm.json`, as `mlm.item_from_card` writes it or another tool following the extension.

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
        for key in ("trained_on", "trust")
    }
    bands, units = _bands(item)
    scale, offset = _value_scale(item)
    name = _get(item, "properties", "mlm:name", kind=str)
    return ModelCard(
        name=_get(item, "properties", "title", kind=str, default=name),
        version=_get(item, "properties", "version", kind=str, default="1.0.0"),
        summary=_get(item, "properties", "description", kind=str, default=""),
        citation=_get(item, "properties", "sci:citation", kind=str, default=""),
        license=_license(item),
        bands=bands,
        classes=_classes(item),
        units=units,
        value_scale=scale,
        value_offset=offset,
        gsd=_get(item, "properties", "gsd", kind=float, default=None),
        gsd_estimated=_get(item, "properties", "geoseg:gsd_estimated", kind=bool, default=False),
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
    """Bands in the input's order, and the unit they share."""
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
        name = _band_name(item, *source, "bands", index)
        if name not in described:
            raise ModelError(
                f'`{_path(*source, "bands")}` names "{name}", which `properties.bands` does not describe'
            )
        about = ("properties", "bands", described[name])
        units.add(_get(item, *about, "unit", kind=str, default="reflectance"))
        bands.append(_model_band(item, name, about, (*source, "value_scaling", index)))
    if len(units) > 1:
        raise ModelError(f"`properties.bands` mix the units {', '.join(sorted(units))}; use one")
    return tuple(bands), next(iter(units), "reflectance")


def _band_name(item: Any, *path: str | int) -> str:
    """A band is named by a text or by an object with a name."""
    entry = _get(item, *path, kind=object)
    name: str = (
        _get(item, *path, "name", kind=str) if isinstance(entry, dict) else _get(item, *path, kind=str)
    )
    return name


def _model_band(
    item: Any, name: str, about: tuple[str | int, ...], scaling: tuple[str | int, ...]
) -> ModelBand:
    kind = _get(item, *scaling, "type", kind=str)
    if kind != "z-score":
        raise ModelError(f'`{_path(*scaling, "type")}` is "{kind}"; only "z-score" is supported')
    return ModelBand(
        name,
        mean=_get(item, *scaling, "mean", kind=float),
        std=_get(item, *scaling, "stddev", kind=float),
        low=_get(item, *about, "geoseg:low", kind=float),
        high=_get(item, *about, "geoseg:high", kind=float),
    )


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


def _license(item: Any) -> str:
    known = _get(item, "properties", "license", kind=str, default="")
    text: str = _get(item, "properties", "geoseg:license", kind=str, default=known)
    return text


def _get(item: Any, *path: str | int, kind: type, default: Any = _REQUIRED) -> Any:
    """The value at a path; null counts as missing where there is a default."""
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
    """`properties.mlm:input[0].bands` for ("properties", "mlm:input", 0, "bands")."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")
