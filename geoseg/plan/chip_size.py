"""The side of a run's chips: the model's, what the user says, or the one that computes least of a scene.

Larger chips share less of themselves with their neighbours, and some sizes happen to end where the scene
does. The choice depends on the model and the size of the scene alone, so that it is the same on every machine
and for every area of interest; where most of a scene is nodata it need not be the best.
"""

from __future__ import annotations

from math import lcm

from geoseg.errors import SettingsError
from geoseg.grid import Grid
from geoseg.models import Model

AUTO = "auto"

_LARGEST = 1536
"""Pixels a side: chips of 2048 would compute some two percent less and be nearly twice as large."""
_FEWEST = 32
"""Chips of a scene: fewer would leave cores idle while the last ones are computed."""


def resolve_chip_size(
    asked: int | str | None, model: Model, overlap: int | None, shape: tuple[int, int] | None
) -> int:
    """The side of the chips of a run.

    Args:
        asked: What the user says: pixels, ``"auto"``, or None for the model's.
        model: The model.
        overlap: What the user says of it, or None.
        shape: (rows, columns) of the scene; None where ``"auto"`` is not known.

    Raises:
        SettingsError: If ``asked`` is neither a number nor a word that is known here.
    """
    if asked is None:
        return model.chip_size
    if not isinstance(asked, str):
        return asked
    if asked != AUTO or shape is None:
        raise SettingsError(f"--chip-size {asked}: give a number of pixels" + (" or auto" if shape else ""))
    shared = model.overlap if overlap is None else overlap
    return least_computed(shape, model.chip_size, shared, model.stride)


def least_computed(shape: tuple[int, int], own: int, overlap: int, stride: int | None) -> int:
    """The side with which the fewest pixels go through the network; of equal ones the smallest.

    Args:
        shape: (rows, columns) of the scene.
        own: The model's side; never less.
        overlap: Pixels that chips share.
        stride: What sides must be multiples of; None if the network takes no other than its own.
    """
    if stride is None:
        return own
    step = lcm(stride, 8)  # the sides of networks of a stride of 2 need not be odd numbers
    first = -(-own // step) * step
    larger = (side for side in range(first, _LARGEST + 1, step) if _chips(shape, side, overlap) >= _FEWEST)
    return min((own, *larger), key=lambda side: _chips(shape, side, overlap) * side**2)


def _chips(shape: tuple[int, int], side: int, overlap: int) -> int:
    rows, cols = Grid(shape, side, min(overlap, side // 2)).counts
    return rows * cols
