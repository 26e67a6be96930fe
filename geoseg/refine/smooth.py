"""``--smooth N``: every pixel takes the class that is most frequent around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.errors import SettingsError
from geoseg.refine.step import Change, Strip
from geoseg.refine.windows import over_squares

LARGEST_WINDOW = 255


@dataclass(frozen=True)
class Smooth:
    """A majority filter.

    Every valid pixel takes the most frequent class of the ``size`` x ``size`` window around it: its own where
    that is among the most frequent, else the lowest id of these. Nodata neither votes nor changes.

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
        check_window("--smooth", self.size)

    @property
    def halo(self) -> int:
        """Half the window."""
        return self.size // 2

    def study(self, strips: Iterable[Strip]) -> Change:  # noqa: ARG002 - the halo is all it needs
        """Nothing to learn."""
        return self.apply

    def apply(self, strip: Strip) -> NDArray[np.uint8]:
        """The most frequent class around each pixel, uint8 (rows, columns)."""
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


def check_window(option: str, size: int) -> None:
    """Refuse windows without a middle, or of one pixel.

    Raises:
        SettingsError: Naming the option.
    """
    if size % 2 == 0 or not 3 <= size <= LARGEST_WINDOW:
        raise SettingsError(
            f"{option} {size}: the window must be an odd number of pixels, 3 to {LARGEST_WINDOW}, as in 5"
        )
