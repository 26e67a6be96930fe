"""Convert TOML tables to frozen dataclasses; check types, ranges and choices, and name the key in messages.

A setting is a dataclass field made by ``setting``. Its type, range, choices and help are in one place, so
that checks, messages and ``geoseg train --example`` always agree.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from geoseg.errors import SettingsError
from geoseg.models.catalog import suggestion

T = TypeVar("T")

_LARGEST = 2**63 - 1
"""Of whole numbers and others; infinity is beyond it, and so is what no array holds."""


def setting(
    default: Any = dataclasses.MISSING,
    about: str = "",
    *,
    factory: Callable[[], Any] | None = None,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """Make a field of a settings dataclass.

    Args:
        default: The value if the recipe does not name the setting.
        about: One line of help, for ``geoseg train --example``.
        factory: Makes the default of nested tables.
        least: Smallest allowed value.
        most: Largest allowed value.
        above: Values must be greater than this.
        choices: Allowed texts.
    """
    metadata = {"about": about, "least": least, "most": most, "above": above, "choices": tuple(choices)}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class RecipePlace:
    """The position of a value in a recipe, as messages name it.

    Attributes:
        file: The recipe.
        table: Its table; empty for the top level.
    """

    file: Path
    table: str = ""

    def __str__(self) -> str:
        return f"{self.file}: [{self.table}]" if self.table else f"{self.file}:"

    def inside(self, key: str) -> RecipePlace:
        """Return the place of a table in this one."""
        return RecipePlace(self.file, f"{self.table}.{key}" if self.table else key)

    def resolve(self, path: str) -> Path:
        """Resolve a path of the recipe: relative ones are relative to its folder."""
        return self.file.parent / Path(path).expanduser()


def read_table(cls: type[T], table: Mapping[str, Any], place: RecipePlace) -> T:
    """Convert a TOML table to a settings dataclass.

    Args:
        cls: The dataclass; its fields are made by ``setting``.
        table: The parsed table.
        place: Its position.

    Raises:
        SettingsError: Naming the file, the key and what is allowed.
    """
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    refuse_unknown(table, fields, place)
    values = {}
    for key, value in table.items():
        values[key] = _convert(value, hints[key], fields[key].metadata, key, place)
    for key, field in fields.items():
        is_required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if is_required and key not in values:
            raise SettingsError(f"{place} {key} is missing; {field.metadata['about']}")
    try:
        return cls(**values)
    except SettingsError as error:
        raise SettingsError(f"{place} {error}") from error


def refuse_unknown(table: Mapping[str, Any], known: Mapping[str, Any], place: RecipePlace) -> None:
    """Refuse unknown keys, and suggest the closest known one.

    Raises:
        SettingsError: Naming the key and all known ones.
    """
    for key in table:
        if key not in known:
            raise SettingsError(
                f'{place} there is no key "{key}"{suggestion(key, known)}; there are: {", ".join(known)}'
            )


def _convert(value: Any, hint: Any, rules: Mapping[str, Any], key: str, place: RecipePlace) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        return _convert_optional(value, arguments, rules, key, place)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(value, "a table", key, place)
        return read_table(hint, value, place.inside(key))  # type: ignore[arg-type]
    if origin is tuple:
        return _convert_list(value, arguments, rules, key, place)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _wrong(value, "a table", key, place)
        inner = place.inside(key)
        return {name: _convert(item, arguments[1], rules, name, inner) for name, item in value.items()}
    return _convert_plain(value, hint, rules, key, place)


def _convert_optional(
    value: Any, arguments: tuple[Any, ...], rules: Mapping[str, Any], key: str, place: RecipePlace
) -> Any:
    """Convert ``X | None``; for a table, ``true`` means all its defaults and ``false`` means none."""
    hint = next(argument for argument in arguments if argument is not type(None))
    if isinstance(value, bool) and dataclasses.is_dataclass(hint):
        return hint() if value else None  # type: ignore[operator]
    if isinstance(value, bool) and value is False and hint is not bool:
        return None
    return _convert(value, hint, rules, key, place)


def _convert_list(
    value: Any, arguments: tuple[Any, ...], rules: Mapping[str, Any], key: str, place: RecipePlace
) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(value, "a list", key, place)
    is_open = len(arguments) == 2 and arguments[1] is Ellipsis
    if not is_open and len(value) != len(arguments):
        raise _wrong(value, f"a list of {len(arguments)}", key, place)
    hints = [arguments[0]] * len(value) if is_open else arguments
    return tuple(_convert(item, hint, rules, key, place) for item, hint in zip(value, hints, strict=True))


def _convert_plain(value: Any, hint: Any, rules: Mapping[str, Any], key: str, place: RecipePlace) -> Any:
    if hint is Any:
        return value
    if hint is Path:
        return place.resolve(_typed(value, str, "a path in quotes", key, place))
    if hint is str:
        return _check_choice(_typed(value, str, "a text in quotes", key, place), rules, key, place)
    if hint is bool:
        return _typed(value, bool, "true or false", key, place)
    what = "a whole number" if hint is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int if hint is int else int | float):
        raise _wrong(value, what + _range(rules), key, place)
    outside = (
        abs(value) > _LARGEST
        or (rules.get("least") is not None and value < rules["least"])
        or (rules.get("most") is not None and value > rules["most"])
        or (rules.get("above") is not None and value <= rules["above"])
    )
    if outside or math.isnan(value):
        raise _wrong(value, what + _range(rules), key, place)
    return hint(value)


def _typed(value: Any, kind: type, what: str, key: str, place: RecipePlace) -> Any:
    if not isinstance(value, kind):
        raise _wrong(value, what, key, place)
    return value


def _check_choice(value: str, rules: Mapping[str, Any], key: str, place: RecipePlace) -> str:
    choices = rules.get("choices") or ()
    if choices and value not in choices:
        raise SettingsError(
            f'{place} {key} is "{value}"{suggestion(value, choices)}; use one of: {", ".join(choices)}'
        )
    return value


def _range(rules: Mapping[str, Any]) -> str:
    least, most, above = (rules.get(key) for key in ("least", "most", "above"))
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    parts = [f"of at least {least:g}"] if least is not None else []
    parts += [f"greater than {above:g}"] if above is not None else []
    parts += [f"at most {most:g}"] if most is not None else []
    return f" {' and '.join(parts)}" if parts else ""


def _wrong(value: Any, what: str, key: str, place: RecipePlace) -> SettingsError:
    shown = (
        f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else value
    )
    return SettingsError(f"{place} {key} is {shown}; it must be {what}")
