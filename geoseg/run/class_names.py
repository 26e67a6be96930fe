"""Classes as people name them: by name or by id."""

from __future__ import annotations

from collections.abc import Sequence

from geoseg.errors import SettingsError
from geoseg.models.card import LandClass


def class_ids(
    items: Sequence[str | int], legend: Sequence[LandClass], where: str, *, only_these: bool = False
) -> list[int]:
    """Ids of classes given by name or id, in the order given.

    Args:
        items: Names (in any case) or ids.
        legend: The classes that have names.
        where: What holds the classes, for the message.
        only_these: Whether there are no other classes; else any id can be meant.

    Raises:
        SettingsError: Naming the classes that there are.
    """
    if isinstance(items, str):
        raise SettingsError(f'classes must be a list of names or ids, as in ["{items}"]')
    allowed = {item.id for item in legend} if only_these else range(255)
    ids = {item.name.casefold(): item.id for item in legend}
    chosen = []
    for item in items:
        text = str(item).strip().casefold()
        number = str(ids[text]) if text in ids else text.removeprefix("class ")
        if not number.isdecimal() or int(number) not in allowed:
            raise SettingsError(f'there is no class "{item}" in {where}; {_listed(legend)}')
        chosen.append(int(number))
    return chosen


def split_names(text: str, legend: Sequence[LandClass]) -> list[str]:
    """Names or ids between commas; a class's own name may hold commas ("grass, hay and pasture").

    Args:
        text: What the user wrote.
        legend: The classes that have names.
    """
    names = {item.name.casefold() for item in legend}
    parts = text.split(",")
    found = []
    while parts:
        joined = (n for n in range(len(parts), 1, -1) if ",".join(parts[:n]).strip().casefold() in names)
        count = next(joined, 1)
        found.append(",".join(parts[:count]).strip())
        del parts[:count]
    return [name for name in found if name]


def _listed(legend: Sequence[LandClass]) -> str:
    if not legend:
        return "its classes have no names, give ids"
    return "it has " + ", ".join(f"{item.name} ({item.id})" for item in legend)
