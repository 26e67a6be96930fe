"""Write a commented recipe from the settings themselves, so that it always agrees with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

from geoseg.training.recipe.recipe import TABLES

_HEAD = """\
# A recipe for `geoseg train`. Only scenes, labels and classes are needed; everything else is shown with its
# default, and keys without a default are commented out. Paths are relative to this file.

scenes = ["farmland.tif"]            # one or several; the files of one scene in a list of their own
labels = ["farmland_labels.tif"]     # one a scene: a raster, or polygons (.gpkg, .parquet, .geojson, .shp)
# name = "my-crops"                  # of the model package; default: this file's name
# bands = ["blue", "green", "red"]   # by common name or number; default: all of the first scene
seed = 0                             # of everything random

[classes]                            # label values to learn; name others in [label_values] ignore
1 = { name = "corn", color = "#ffd300" }
2 = "soybeans"
"""


def example() -> str:
    """Write a valid recipe that names every setting."""
    parts = [_HEAD]
    for name, cls in TABLES.items():
        about = (cls.__doc__ or "").splitlines()[0]
        parts.append(f"\n[{name}]  # {about}\n" + "\n".join(_lines(cls)) + "\n")
    return "".join(parts)


def _lines(cls: type[Any]) -> Iterator[str]:
    for field in dataclasses.fields(cls):
        value = _default(field)
        about = field.metadata["about"]
        choices = field.metadata["choices"]
        note = f"{about}: {', '.join(choices)}" if choices else about
        if dataclasses.is_dataclass(value):
            yield f"{field.name} = {_toml(value)}  # {note}"
        elif (toggled := _toggled(cls, field.name)) is not None:
            yield f"{field.name} = false  # {note}; with its defaults: {_toml(toggled())}"
        elif value is None or (isinstance(value, Mapping | tuple) and not value):
            yield f"# {field.name} =  # {note}"
        else:
            yield f"{field.name} = {_toml(value)}  # {note}"


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _toggled(cls: type[Any], name: str) -> Any:
    """Return the table that ``true`` stands for; None where a setting is no table, or always one."""
    hints = get_args(get_type_hints(cls)[name])
    tables = (hint for hint in hints if dataclasses.is_dataclass(hint))
    return next(tables, None) if type(None) in hints else None


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if dataclasses.is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name), f.default) for f in dataclasses.fields(value))
        is_term = any(f.default is dataclasses.MISSING for f in dataclasses.fields(value))
        shown = [f"{name} = {_toml(v)}" for name, v, default in pairs if not is_term or v != default]
        return f"{{ {', '.join(shown)} }}"
    return str(value)
