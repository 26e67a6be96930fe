"""What a refine step is, the part of a map it sees at once, and how it chooses a class."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Whole rows of a map, with the pixels around them that a step needs.

    Attributes:
        row: First row of the strip in the map.
        classes: Class ids, uint8 (rows + 2 halo, columns + 2 halo); ``NODATA`` beyond the map.
        halo: Rows and columns of context on every side.
        is_first: Whether the map begins with it.
        is_last: Whether the map ends with it.
        probabilities: Stored probabilities, 0-250 and 255 unknown, uint8 (bands, rows, columns) without the
            halo; None where there are none or the step does not use them.
    """

    row: int
    classes: NDArray[np.uint8]
    halo: int
    is_first: bool
    is_last: bool
    probabilities: NDArray[np.uint8] | None = None

    @property
    def core(self) -> NDArray[np.uint8]:
        """The class ids without the halo, a view."""
        inside = slice(self.halo, -self.halo or None)
        return self.classes[inside, inside]


Change = Callable[[Strip], NDArray[np.uint8]]
"""The new class ids of a strip, uint8 (rows, columns)."""


class Step(Protocol):
    """Change a class map. The answer for the whole map must not depend on how the map is cut into strips."""

    @property
    def name(self) -> str:
        """What it is called in progress and errors."""

    @property
    def passes(self) -> int:
        """How often it sees the map: 2 where ``study`` does."""

    @property
    def halo(self) -> int:
        """Pixels around a strip on which the strip's answer depends."""

    @property
    def uses_probabilities(self) -> bool:
        """Whether its answer depends on the probabilities."""

    def study(self, strips: Iterable[Strip]) -> Change:
        """Learn what a strip with its halo cannot tell, and say how strips change.

        Args:
            strips: All strips of the map from top to bottom, read when they are asked for. A step that needs
                nothing but the halo does not touch them.

        Returns:
            What to do with each strip; called once for every strip, in the same order.
        """


def choose(likely: NDArray[Any], around: NDArray[Any]) -> NDArray[np.int64]:
    """Pick one class a row: the most likely that is around; ties: the one most around; ties: the first.

    Args:
        likely: (rows, classes), at least 0.
        around: (rows, classes): how much of each class is around; 0 is not around. Every row has one.

    Returns:
        Index of the class, int64 (rows,).
    """
    likely = np.where(around > 0, likely, -1)
    best = likely == likely.max(axis=1, keepdims=True)
    chosen: NDArray[np.int64] = np.where(best, around, -1).argmax(axis=1)
    return chosen
