"""Sums and logic over square windows, whatever their size, in few passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Operation = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""An operation of two arrays whose order and grouping do not matter: ``np.add``, ``np.logical_and`` ..."""


def over_squares(pixels: NDArray[Any], size: int, operation: Operation) -> NDArray[Any]:
    """Combine the pixels of every ``size`` x ``size`` square that lies inside an array.

    Args:
        pixels: (rows, columns), at least ``size`` each way.
        size: Side of the squares, at least 1.
        operation: How pixels are combined.

    Returns:
        (rows - size + 1, columns - size + 1): one value a square, placed by its upper left pixel.
    """
    down = _over_lines(pixels, size, operation)
    across: NDArray[Any] = _over_lines(down.T, size, operation).T
    return across


def _over_lines(pixels: NDArray[Any], size: int, operation: Operation) -> NDArray[Any]:
    """Combine ``size`` rows that follow each other, by doubling: 13 rows are 1 + 4 + 8."""
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
