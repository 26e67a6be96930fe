"""Input transforms: what a package does to the values of a band, in order, before they are normalised.

They are functions of one value, so neither windows nor blocks can change them; nothing of the scene is
measured. A pixel that is nodata stays NaN, and becomes 0 by normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError
from geoseg.models.catalog import suggestion

Values = NDArray[np.float32]

LEAST_LOGARITHM = np.float32(1e-6)
"""Least argument of a logarithm: below, where a value has none, it stays at ln(1e-6) = -13.8."""


# Of the numbers that a transform takes, so that float32 holds them and what they make of usual values.
_SMALLEST, _LARGEST = 1e-30, 1e30


def _scale(x: Values, a: np.float32) -> None:
    np.multiply(x, a, out=x)


def _offset(x: Values, b: np.float32) -> None:
    np.add(x, b, out=x)


def _log(x: Values, a: np.float32) -> None:
    np.multiply(x, a, out=x)
    np.add(x, np.float32(1), out=x)
    np.maximum(x, LEAST_LOGARITHM, out=x)
    np.log(x, out=x)


def _sigmoid(x: Values, _: np.float32) -> None:
    np.negative(x, out=x)
    with np.errstate(over="ignore"):  # of -x above 88, where the sigmoid is 0
        np.exp(x, out=x)
    np.add(x, np.float32(1), out=x)
    np.divide(np.float32(1), x, out=x)


def _power(x: Values, p: np.float32) -> None:
    size = np.abs(x)
    np.copyto(x, np.copysign(np.square(size) if p == 2 else np.power(size, p), x))


@dataclass(frozen=True, slots=True)
class _Kind:
    apply: Callable[[Values, np.float32], None]
    takes_value: bool = True
    positive: bool = False


TRANSFORMS = {
    "scale": _Kind(_scale),
    "offset": _Kind(_offset),
    "log": _Kind(_log, positive=True),
    "sigmoid": _Kind(_sigmoid, takes_value=False),
    "power": _Kind(_power, positive=True),
}
"""The kinds of transforms, with their functions on arrays, in float32 and in place."""


@dataclass(frozen=True, slots=True)
class Transform:
    """One step from the values of a band to others.

    Attributes:
        kind: "scale" (`a x`), "offset" (`x + a`), "log" (`ln(1 + a x)`, the argument at least 1e-6),
            "sigmoid" (`1 / (1 + exp(-x))`) or "power" (`sign(x) |x|^a`).
        value: the number `a`; None for "sigmoid".

    Raises:
        ModelError: if there is no such kind, or the number is missing, not finite or out of range.
    """

    kind: str
    value: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in TRANSFORMS:
            raise ModelError(
                f'there is no transform "{self.kind}"{suggestion(self.kind, TRANSFORMS)}; '
                f"there are: {', '.join(TRANSFORMS)}"
            )
        kind, value = TRANSFORMS[self.kind], self.value
        if not kind.takes_value:
            if value is not None:
                raise ModelError(f'transform "{self.kind}" takes no value, and is given {value!r}')
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelError(f'transform "{self.kind}" needs a number as its value, not {value!r}')
        if not _SMALLEST < abs(value) < _LARGEST and (value != 0 or self.kind != "offset"):
            raise ModelError(f'transform "{self.kind}" has a value that is out of range')
        if kind.positive and value < 0:
            raise ModelError(f'transform "{self.kind}" has the value {value:g}; it must be greater than 0')
        object.__setattr__(self, "value", float(value))

    def __str__(self) -> str:
        """Write it as it can be typed: `log=50`, `sigmoid`."""
        return self.kind if self.value is None else f"{self.kind}={self.value:.7g}"

    def to_json(self) -> dict[str, Any]:
        """Make the JSON object of `mlm.json`."""
        return {"type": self.kind} | ({} if self.value is None else {"value": self.value})


Chain = tuple[Transform, ...]
"""The transforms of one band, in order."""


def transform(values: Values, chains: Sequence[Chain]) -> None:
    """Transform the values of bands, in place.

    Args:
        values: float32 (bands, rows, columns) in physical units, NaN where a band is nodata.
        chains: the transforms of each band; empty where no band has any.
    """
    for band, chain in zip(values, chains, strict=False):
        for step in chain:
            TRANSFORMS[step.kind].apply(band, np.float32(step.value or 0))


def parse_transforms(text: str) -> Chain:
    """Read transforms as they are typed: `log=50,scale=0.5,offset=-1,sigmoid`.

    Raises:
        ModelError: naming the part that is none.
    """
    chain = []
    for part in text.split(","):
        kind, sign, value = (piece.strip() for piece in part.partition("="))
        try:
            chain.append(Transform(kind, float(value) if sign else None))
        except ValueError as error:
            raise ModelError(f'"{value}" in "{part.strip()}" is no number') from error
    return tuple(chain)


def transforms_of(items: Any) -> Chain:
    """Read what `Transform.to_json` writes.

    Raises:
        ModelError: naming what is wrong.
    """
    if not isinstance(items, list):
        raise ModelError(f"transforms are {items!r}; they must be a list")
    chain = []
    for item in items:
        if not isinstance(item, Mapping) or not {"type"} <= set(item) <= {"type", "value"}:
            raise ModelError(f'a transform is {item!r}; it must be an object with "type" and "value"')
        chain.append(Transform(item["type"], item.get("value")))
    return tuple(chain)
