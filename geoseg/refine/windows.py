"""Smooth, open and close a class map: steps that look at a square window around each pixel.

``--smooth N`` is a majority filter. ``--open`` and ``--close`` are morphological opening and closing of one
class with a square of N x N pixels (Serra 1982, Image Analysis and Mathematical Morphology). Opening removes
the parts of the class into which no such square fits; closing adds the pixels that no such square outside the
class can cover. Nodata and the outside of the map never change a pixel: they count as the class in an
opening, and not in a closing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.errors import SettingsError
from geoseg.refine.step import Change, Strip, choose

LARGEST_WINDOW = 255
_PORTION = 2**16
"""Removed pixels processed at once."""

Operation = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""A commutative and associative operation of two arrays: ``np.add``, ``np.logical_and`` ..."""


@dataclass(frozen=True)
class Smooth:
    """Give every valid pixel the most frequent class of the window around it: a majority filter.

    In a tie a pixel keeps its own class if that is among the most frequent; else the lowest id wins. Nodata
    neither votes nor changes.

    Attributes:
        size: Side of the window in pixels, odd.

    Raises:
        SettingsError: If the window is even, below 3, or above ``LARGEST_WINDOW``.
    """

    size: int
    name: str = "smooth"
    passes: int = 1
    uses_probabilities: bool = False

    def __post_init__(self) -> None:
        _check_window("--smooth", self.size)

    @property
    def halo(self) -> int:
        """Half the window."""
        return self.size // 2

    def study(self, strips: Iterable[Strip]) -> Change:  # noqa: ARG002 - the halo is enough
        """Read nothing: the halo is enough."""
        return self.apply

    def apply(self, strip: Strip) -> NDArray[np.uint8]:
        """Return the most frequent class around each pixel, uint8 (rows, columns)."""
        core = strip.core
        votes = np.uint8 if self.size**2 <= np.iinfo(np.uint8).max else np.uint16
        most = np.zeros(core.shape, votes)
        own = np.zeros(core.shape, votes)
        winner = core.copy()
        for value in np.flatnonzero(np.bincount(strip.classes.ravel(), minlength=256)[:NODATA]):
            mask = strip.classes == value
            count = over_squares(mask.astype(votes), self.size, np.add)
            np.copyto(winner, np.uint8(value), where=count > most)
            np.maximum(most, count, out=most)
            np.copyto(own, count, where=core == value)
        return np.where((own == most) | (core == NODATA), core, winner)


@dataclass(frozen=True)
class Open:
    """Remove the narrow parts of one class.

    A pixel is removed from the class if every ``size`` x ``size`` square that covers it holds a valid pixel
    of another class. Of the other classes in the window around it, it takes the one with the highest stored
    probability at that pixel; in a tie, or without probabilities, the most frequent one in the window; in a
    tie, the lowest id.

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
        _check_window("--open", self.size)

    @property
    def uses_probabilities(self) -> bool:
        """Whether the map has probabilities."""
        return bool(self.bands)

    @property
    def halo(self) -> int:
        """Reach of an erosion followed by a dilation."""
        return self.size - 1

    def study(self, strips: Iterable[Strip]) -> Change:  # noqa: ARG002 - the halo is enough
        """Read nothing: the halo is enough."""
        return self.apply

    def apply(self, strip: Strip) -> NDArray[np.uint8]:
        """Return the opened strip, uint8 (rows, columns)."""
        new = strip.core.copy()
        fits = over_squares(np.isin(strip.classes, (self.class_id, NODATA)), self.size, np.logical_and)
        kept = over_squares(fits, self.size, np.logical_or)
        rows, columns = np.nonzero((new == self.class_id) & ~kept)
        for start in range(0, rows.size, _PORTION):
            part = slice(start, start + _PORTION)
            new[rows[part], columns[part]] = self._others(strip, rows[part], columns[part])
        return new

    def _others(self, strip: Strip, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Choose the class that each removed pixel takes."""
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
        """Return the stored probability of each class, int64 (pixels, classes); 0 if unknown."""
        likely = np.zeros((rows.size, present.size), np.int64)
        if strip.probabilities is not None:
            for band, value in enumerate(self.bands):
                stored = strip.probabilities[band, rows, columns]
                likely[:, present == value] = np.where(stored == NODATA, 0, stored)[:, None]
        return likely


@dataclass(frozen=True)
class Close:
    """Fill narrow gaps in one class.

    A valid pixel takes the class if every ``size`` x ``size`` square that covers it holds a pixel of the
    class.

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
        _check_window("--close", self.size)

    @property
    def halo(self) -> int:
        """Reach of a dilation followed by an erosion."""
        return self.size - 1

    def study(self, strips: Iterable[Strip]) -> Change:  # noqa: ARG002 - the halo is enough
        """Read nothing: the halo is enough."""
        return self.apply

    def apply(self, strip: Strip) -> NDArray[np.uint8]:
        """Return the closed strip, uint8 (rows, columns)."""
        grown = over_squares(strip.classes == self.class_id, self.size, np.logical_or)
        closed = over_squares(grown, self.size, np.logical_and)
        return np.where(closed & (strip.core != NODATA), np.uint8(self.class_id), strip.core)


def _check_window(option: str, size: int) -> None:
    """Refuse a window that has no middle pixel, is too small, or is too large.

    Raises:
        SettingsError: Naming the option.
    """
    if size % 2 == 0 or not 3 <= size <= LARGEST_WINDOW:
        raise SettingsError(
            f"{option} {size}: the window must be an odd number of pixels, 3 to {LARGEST_WINDOW}, as in 5"
        )


def over_squares(pixels: NDArray[Any], size: int, operation: Operation) -> NDArray[Any]:
    """Combine the pixels of every ``size`` x ``size`` square that lies inside an array.

    Args:
        pixels: (rows, columns), at least ``size`` each way.
        size: Side of the squares, at least 1.
        operation: Combines two pixels.

    Returns:
        (rows - size + 1, columns - size + 1): one value per square, at the place of its upper left pixel.
    """
    down = _over_lines(pixels, size, operation)
    across: NDArray[Any] = _over_lines(down.T, size, operation).T
    return across


def _over_lines(pixels: NDArray[Any], size: int, operation: Operation) -> NDArray[Any]:
    """Combine every ``size`` adjacent rows, by doubling: 13 rows are 1 + 4 + 8."""
    power, lines = 1, pixels
    covered, total = 0, None
    while True:
        if size & power:
            total = lines if total is None else operation(total[: len(lines) - covered], lines[covered:])
            covered += power
        if covered == size:
            assert total is not None
            return total
        lines = operation(lines[:-power], lines[power:])
        power *= 2
