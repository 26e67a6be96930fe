"""``--open`` and ``--close``: morphology of one class with a square of pixels.

Opening removes the parts of a class into which no N x N square fits; closing adds the pixels that no N x N
square free of the class can reach (Serra 1982, Image Analysis and Mathematical Morphology). Nodata, and what
lies beyond the map, never makes a pixel change: it counts as the class in an opening, not in a closing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.refine.choice import choose
from geoseg.refine.smooth import check_window
from geoseg.refine.step import Change, Strip
from geoseg.refine.windows import over_squares

_PORTION = 2**16
"""Removed pixels whose surroundings are counted at once."""


@dataclass(frozen=True)
class Open:
    """An opening of one class.

    A pixel is removed from the class if every ``size`` x ``size`` square over it holds a valid pixel of
    another class. Of the other classes in the window around it, it takes the one with the highest stored
    probability there (ties, and without probabilities: the most frequent in the window; ties: the lowest id).

    Attributes:
        class_id: The class.
        size: Side of the square in pixels, odd.
        bands: Class of each probability band, ascending; empty without probabilities.

    Raises:
        SettingsError: If the size is even or out of range.
    """

    class_id: int
    size: int
    bands: tuple[int, ...] = ()
    name: str = "open"
    passes: int = 1

    def __post_init__(self) -> None:
        check_window("--open", self.size)

    @property
    def uses_probabilities(self) -> bool:
        """Whether there are any."""
        return bool(self.bands)

    @property
    def halo(self) -> int:
        """The reach of an erosion and a dilation."""
        return self.size - 1

    def study(self, strips: Iterable[Strip]) -> Change:  # noqa: ARG002 - the halo is all it needs
        """Nothing to learn."""
        return self.apply

    def apply(self, strip: Strip) -> NDArray[np.uint8]:
        """The opened map, uint8 (rows, columns)."""
        new = strip.core.copy()
        fits = over_squares(np.isin(strip.classes, (self.class_id, NODATA)), self.size, np.logical_and)
        kept = over_squares(fits, self.size, np.logical_or)
        rows, columns = np.nonzero((new == self.class_id) & ~kept)
        for start in range(0, rows.size, _PORTION):
            part = slice(start, start + _PORTION)
            new[rows[part], columns[part]] = self._others(strip, rows[part], columns[part])
        return new

    def _others(self, strip: Strip, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The class that each removed pixel takes."""
        present = np.flatnonzero(np.bincount(strip.classes.ravel(), minlength=256)[:NODATA])
        present = present[present != self.class_id]
        place = np.full(256, present.size)
        place[present] = np.arange(present.size)
        around = np.zeros((rows.size, present.size + 1), np.int32)
        every = np.arange(rows.size)
        first = strip.halo - self.size // 2
        for i in range(first, first + self.size):
            for j in range(first, first + self.size):
                around[every, place[strip.classes[rows + i, columns + j]]] += 1
        around = around[:, :-1]
        likely = self._likely(strip, present, rows, columns)
        taken: NDArray[np.uint8] = present[choose(likely, around)].astype(np.uint8)
        return taken

    def _likely(
        self,
        strip: Strip,
        present: NDArray[np.int64],
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Stored probability of each class, int64 (pixels, classes); 0 where it is not known."""
        likely = np.zeros((rows.size, present.size), np.int64)
        if strip.probabilities is not None:
            for band, value in enumerate(self.bands):
                stored = strip.probabilities[band, rows, columns]
                likely[:, present == value] = np.where(stored == NODATA, 0, stored)[:, None]
        return likely


@dataclass(frozen=True)
class Close:
    """A closing of one class.

    A valid pixel becomes the class if every ``size`` x ``size`` square over it holds a pixel of the class.

    Attributes:
        class_id: The class.
        size: Side of the square in pixels, odd.

    Raises:
        SettingsError: If the size is even or out of range.
    """

    class_id: int
    size: int
    name: str = "close"
    passes: int = 1
    uses_probabilities: bool = False

    def __post_init__(self) -> None:
        check_window("--close", self.size)

    @property
    def halo(self) -> int:
        """The reach of a dilation and an erosion."""
        return self.size - 1

    def study(self, strips: Iterable[Strip]) -> Change:  # noqa: ARG002 - the halo is all it needs
        """Nothing to learn."""
        return self.apply

    def apply(self, strip: Strip) -> NDArray[np.uint8]:
        """The closed map, uint8 (rows, columns)."""
        grown = over_squares(strip.classes == self.class_id, self.size, np.logical_or)
        closed = over_squares(grown, self.size, np.logical_and)
        return np.where(closed & (strip.core != NODATA), np.uint8(self.class_id), strip.core)
