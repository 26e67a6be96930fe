"""Map values in label files to class ids, to no label, or to an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORE
from geoseg.errors import SceneError, SettingsError
from geoseg.names import name_key

_UNKNOWN = -1
_SMALL_DTYPES = ("uint8", "int8", "uint16", "int16")


class NamedClass(Protocol):
    """A class with an id and a name, such as ``LandClass``."""

    @property
    def id(self) -> int:
        """The class id, 0 to 254."""

    @property
    def name(self) -> str:
        """The class name."""


@dataclass(frozen=True)
class ValueTable:
    """Maps the values of a label file to class ids.

    Attributes:
        path: The label file, for messages.
        ids: Value -> class id, or ``IGNORE``.
        names: Key of a name (``name_key``) -> class id, or ``IGNORE``.
        otherwise: What to do with values that are in neither: ``"keep"`` them as ids, ``"ignore"`` them, or
            ``"refuse"`` the file.
        known: The classes, as messages list them.
    """

    path: str
    ids: Mapping[int, int]
    names: Mapping[str, int]
    otherwise: str
    known: str = field(default="", compare=False)

    def id_of(self, value: int) -> int:
        """Map one number to a class id or ``IGNORE``; -1 if the file must be refused."""
        if value in self.ids:
            return self.ids[value]
        if self.otherwise == "keep":
            return value if 0 <= value < IGNORE else _UNKNOWN
        return IGNORE if self.otherwise == "ignore" else _UNKNOWN

    def id_of_attribute(self, value: Any) -> int:
        """Map an attribute (a name, a number, a number as text, or null) to a class id or ``IGNORE``.

        Raises:
            SceneError: If it is not a class.
        """
        if value is None or value != value:  # noqa: PLR0124 -- NaN
            return IGNORE
        text, key = str(value).strip(), name_key(value)
        if key in self.names:
            return self.names[key]
        number = as_whole_number(value)
        if number is None:
            if self.otherwise == "ignore":
                return IGNORE
            raise SceneError(f'{self.path}: "{text}" is not a class; {self._fix(text)}')
        found = self.id_of(number)
        if found == _UNKNOWN:
            raise self._refusal([number])
        return found

    def to_ids(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Map an array of numbers to class ids.

        Args:
            values: Any shape, integers or floats.

        Returns:
            uint8 of the same shape, ``IGNORE`` where there is no label.

        Raises:
            SceneError: If a value is not a class.
        """
        if values.dtype.kind == "f":
            known = np.isfinite(values)
            if not known.all():
                filled = np.full(values.shape, IGNORE, np.uint8)
                filled[known] = self.to_ids(values[known])
                return filled
            values = self._whole(values)
        found: NDArray[np.int16]
        if values.dtype.name in _SMALL_DTYPES:
            unsigned = values.view(f"uint{8 * values.dtype.itemsize}")
            found = self._lookup(values.dtype)[unsigned]
        else:
            distinct, inverse = np.unique(values, return_inverse=True)
            ids = np.array([self.id_of(int(value)) for value in distinct], np.int16)
            found = ids[inverse].reshape(values.shape)
        wrong = found == _UNKNOWN
        if wrong.any():
            raise self._refusal(np.unique(values[wrong]).tolist())
        answer: NDArray[np.uint8] = found.astype(np.uint8)
        return answer

    def _lookup(self, dtype: np.dtype[Any]) -> NDArray[np.int16]:
        """Tabulate the id of every value of a small dtype, indexed by its bits read as an unsigned number."""
        values = np.arange(256**dtype.itemsize, dtype=f"uint{8 * dtype.itemsize}").view(dtype)
        default = IGNORE if self.otherwise == "ignore" else _UNKNOWN
        table = np.full(values.size, default, np.int16)
        if self.otherwise == "keep":
            kept = (values >= 0) & (values.astype(np.int32) < IGNORE)
            table[kept] = values[kept]
        limits = np.iinfo(dtype)
        for value, ident in self.ids.items():
            if limits.min <= value <= limits.max:
                table[np.array(value, dtype).view(f"uint{8 * dtype.itemsize}")] = ident
        return table

    def _whole(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Convert floats to whole numbers."""
        whole: NDArray[np.int64] = values.clip(-(2.0**53), 2.0**53).astype(np.int64)
        wrong = whole != values
        if wrong.any():
            raise SceneError(
                f"{self.path} holds {float(values[wrong][0]):g}, which is not a class: ids are whole numbers"
            )
        return whole

    def _refusal(self, values: Sequence[int]) -> SceneError:
        listed = ", ".join(map(str, values[:5])) + (" ..." if len(values) > 5 else "")
        what = f"the value {listed}, which is not a class" if len(values) == 1 else f"the values {listed}"
        return SceneError(f"{self.path} holds {what}; {self._fix(str(values[0]))}")

    def _fix(self, value: str) -> str:
        known = f"the classes are {self.known}; " if self.known else "class ids are 0 to 254; "
        return f"{known}ignore or remap it (--ignore {value})"


def as_whole_number(value: Any) -> int | None:
    """Read a number, or a number written as text, as an int; None if it is not whole."""
    try:
        number = float(str(value).strip())
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def make_table(
    path: str,
    classes: Iterable[NamedClass] | None,
    *,
    remap: Mapping[int | str, int] | None = None,
    ignore: Sequence[int | str] = (),
    nodata: float | None = None,
) -> ValueTable:
    """Tabulate what the values of a label file mean; see ``open_labels``.

    Raises:
        SettingsError: If a remapping leads to an unknown class.
    """
    listed = None if classes is None else tuple(classes)
    allowed = range(IGNORE) if listed is None else {item.id for item in listed}
    ids: dict[int, int] = {IGNORE: IGNORE}
    names: dict[str, int] = {}
    if nodata is not None and float(nodata).is_integer():
        ids[int(nodata)] = IGNORE
    if remap is None:
        if listed is not None:
            ids |= {item.id: item.id for item in listed if item.id not in ids}
            names = {name_key(item.name): item.id for item in listed}
            ids.setdefault(0, IGNORE)
        otherwise = "keep" if listed is None else "refuse"
    else:
        for key, target in remap.items():
            if target != IGNORE and target not in allowed:
                raise SettingsError(
                    f"labels are remapped from {key} to {target}, which is not a class; {_list(listed)}"
                )
        otherwise = "ignore"
    for key, target in [*(remap or {}).items(), *((key, IGNORE) for key in ignore)]:
        number = as_whole_number(key)
        if number is not None:
            ids[number] = target
        names[name_key(key)] = target
    return ValueTable(path, ids, names, otherwise, _list(listed) if listed else "")


def _list(classes: Sequence[NamedClass] | None) -> str:
    return "ids are 0 to 254" if not classes else ", ".join(f"{item.id} ({item.name})" for item in classes)
