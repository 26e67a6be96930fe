"""The protocol of a refine step, the strip of a map that it processes, and how it chooses a class."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Whole rows of a map with a halo, the pixels around them that a step needs.

    Attributes:
        row: First row of the strip in the map.
        classes: Class ids, uint8 (rows + 2 halo, columns + 2 halo); ``NODATA`` beyond the map.
        halo: Rows and columns of context on every side.
        is_first: Whether it is the first strip of the map.
        is_last: Whether it is the last strip of the map.
        probabilities: Stored probabilities, 0-250 and 255 unknown, uint8 (bands, rows, columns) without the
            halo; None if there are none, or the step does not use them.
    """

    row: int
    classes: NDArray[np.uint8]
    halo: int
    is_first: bool
    is_last: bool
    probabilities: NDArray[np.uint8] | None = None

    @property
    def core(self) -> NDArray[np.uint8]:
        """The class ids without the halo, as a view."""
        inside = slice(self.halo, -self.halo or None)
        return self.classes[inside, inside]


Change = Callable[[Strip], NDArray[np.uint8]]
"""Returns the new class ids of a strip, uint8 (rows, columns)."""


class Step(Protocol):
    """Changes a class map; the result must not depend on how the map is cut into strips."""

    @property
    def name(self) -> str:
        """Name, for progress and errors."""

    @property
    def passes(self) -> int:
        """How often it reads the map: 2 if ``study`` reads it, else 1."""

    @property
    def halo(self) -> int:
        """Pixels around a strip on which its result depends."""

    @property
    def uses_probabilities(self) -> bool:
        """Whether its result depends on the probabilities."""

    def study(self, strips: Iterable[Strip]) -> Change:
        """Gather what a strip with its halo does not show, and return the function that changes strips.

        Args:
            strips: All strips of the map from top to bottom, read on demand. A step for which the halo is
                enough does not read them.

        Returns:
            The function to call once for every strip, in the same order.
        """


def choose(likely: NDArray[Any], around: NDArray[Any]) -> NDArray[np.int64]:
    """Choose one neighbouring class for each row: the most likely one.

    Ties go to the class with the larger share around, then to the first.

    Args:
        likely: Likelihood, (rows, classes), at least 0.
        around: How much of each class is around, (rows, classes); 0 for a class that is no neighbour. Every
            row has at least one neighbour.

    Returns:
        Index of the class, int64 (rows,).
    """
    likely = np.where(around > 0, likely, -1)
    best = likely == likely.max(axis=1, keepdims=True)
    chosen: NDArray[np.int64] = np.where(best, around, -1).argmax(axis=1)
    return chosen
