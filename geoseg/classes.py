"""Land-cover classes of a map: ids, names and colours."""

from __future__ import annotations

import colorsys
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geoseg.errors import ModelError, SettingsError
from geoseg.names import name_key

NODATA = 255
"""Nodata in every raster that geoseg writes; never a class, a confidence or a probability."""
IGNORE = 255
"""Label of pixels without a label; they count in no loss and no score."""
MAX_CLASS_ID = 254
"""The class map is uint8 and 255 is its nodata value."""
_COLOR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class LandClass:
    """One class of a map.

    Attributes:
        id: Label value in the class map, 0-254.
        name: Name that people read.
        color: "#rrggbb", lower case.

    Raises:
        ModelError: If the id is not 0-254, the name is empty or the colour is not "#rrggbb".
    """

    id: int
    name: str
    color: str

    def __post_init__(self) -> None:
        check_class_ids([self.id])
        object.__setattr__(self, "id", int(self.id))
        require_text(self.name, f"the name of class {self.id}")
        object.__setattr__(self, "color", str(self.color).lower())
        if not _COLOR.fullmatch(self.color):
            raise ModelError(f'class {self.id} has the color "{self.color}"; write it as "#rrggbb"')


def remap_class_ids(ids: Iterable[int]) -> dict[int, int]:
    """Assign the lowest free class id to every label value that cannot be a class id.

    Args:
        ids: Label values; repeats are allowed.

    Returns:
        Old value to new id, by ascending old value, for the values that must change.

    Raises:
        ModelError: If there are more than 255 different values.
    """
    values = sorted(set(ids))
    if len(values) > MAX_CLASS_ID + 1:
        raise ModelError(
            f"{len(values)} classes are more than a map can hold ({MAX_CLASS_ID + 1}); merge some"
        )
    kept = {value for value in values if 0 <= value <= MAX_CLASS_ID}
    free = (number for number in range(MAX_CLASS_ID + 1) if number not in kept)
    return {value: next(free) for value in values if value not in kept}


def check_class_ids(ids: Sequence[int]) -> None:
    """Refuse ids outside 0-254 and ids used twice.

    Args:
        ids: One id per class.

    Raises:
        ModelError: Naming the ids and a remapping.
    """
    for value in ids:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise ModelError(f"class id {value!r} is not a whole number from 0 to {MAX_CLASS_ID}")
    if not all(0 <= value <= MAX_CLASS_ID for value in ids):
        pairs = ", ".join(f"{old} -> {new}" for old, new in remap_class_ids(ids).items())
        raise ModelError(
            f"class ids are 0 to {MAX_CLASS_ID} (255 is nodata); remap the labels that are not: {pairs}"
        )
    repeated = [value for value, count in Counter(ids).items() if count > 1]
    if repeated:
        free = sorted(set(range(MAX_CLASS_ID + 1)) - set(ids))
        pairs = ", ".join(f"a second {value} -> {new}" for value, new in zip(repeated, free, strict=False))
        raise ModelError(f"class ids must be unique; remap the labels that repeat: {pairs}")


def class_ids(
    items: Sequence[str | int], legend: Sequence[LandClass], where: str, *, only_these: bool = False
) -> list[int]:
    """Look up the ids of classes given by name or id, in the order given.

    Args:
        items: Names, in any case, or ids.
        legend: The named classes.
        where: Name of the map or model, for the message.
        only_these: Whether only classes of the legend exist; else any id is accepted.

    Raises:
        SettingsError: Naming the known classes, if one does not exist.
    """
    if isinstance(items, str):
        raise SettingsError(f'classes must be a list of names or ids, as in ["{items}"]')
    allowed = {item.id for item in legend} if only_these else range(255)
    ids = {name_key(item.name): item.id for item in legend}
    chosen = []
    for item in items:
        text = name_key(item)
        number = str(ids[text]) if text in ids else text.removeprefix("class ")
        if not number.isdecimal() or int(number) not in allowed:
            raise SettingsError(f'there is no class "{item}" in {where}; {_listed(legend)}')
        chosen.append(int(number))
    return chosen


def split_names(text: str, legend: Sequence[LandClass]) -> list[str]:
    """Split a list of names or ids at commas; a name may itself hold commas ("grass, hay and pasture").

    Args:
        text: The list.
        legend: The named classes.
    """
    names = {name_key(item.name) for item in legend}
    parts = text.split(",")
    found = []
    while parts:
        joined = (n for n in range(len(parts), 1, -1) if name_key(",".join(parts[:n])) in names)
        count = next(joined, 1)
        found.append(",".join(parts[:count]).strip())
        del parts[:count]
    return [name for name in found if name]


def _listed(legend: Sequence[LandClass]) -> str:
    if not legend:
        return "its classes have no names, give ids"
    return "it has " + ", ".join(f"{item.name} ({item.id})" for item in legend)


def complete_legend(
    legend: Iterable[Any],
    ids: Iterable[int],
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, str] | None = None,
) -> tuple[LandClass, ...]:
    """Give every class a name and a colour.

    Args:
        legend: The known classes: anything with ``id``, ``name`` and ``color``.
        ids: Further class ids to include.
        names: Names of these; default "class 7".
        colors: Colours of these as "#rrggbb"; default a colour derived from the id.

    Returns:
        The known classes and the further ones, by ascending id.
    """
    known = {int(item.id): LandClass(int(item.id), item.name, item.color) for item in legend}
    for value in ids:
        if value not in known and 0 <= value < 255:
            name = (names or {}).get(value) or f"class {value}"
            known[value] = LandClass(value, name, (colors or {}).get(value) or _default_color(value))
    return tuple(known[value] for value in sorted(known))


def _default_color(value: int) -> str:
    """Choose a colour by id: hues step by the golden ratio, so that adjacent ids differ clearly."""
    channels = colorsys.hsv_to_rgb(value * 0.618034 % 1.0, 0.55, 0.85)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def require_text(value: object, what: str) -> None:
    """Refuse a value that is not a text, or is empty.

    Raises:
        ModelError: Naming ``what`` the value is.
    """
    if not isinstance(value, str) or not value.strip():
        raise ModelError(f"{what} is {value!r}; it must be a text that is not empty")
