"""Boundary F1: how well the map's class borders follow those of the labels, within a tolerance.

Csurka, Larlus and Perronnin 2013, "What is a good evaluation measure for semantic segmentation?" (BMVC):
precision is the share of the map's boundary pixels of a class that have a boundary pixel of that class in the
labels within the tolerance, recall the share of the labels' boundary pixels that have one in the map.

A boundary pixel has a neighbour of another class above, below, left or right. Pixels without a label, or
without a class in the map, have no boundary and are not compared. Distances are Euclidean, between pixel
centres. All classes are computed at once: each pixel holds one bit for its class, and the bits are dilated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.assess.scores import Floats
from geoseg.classes import IGNORE
from geoseg.errors import SettingsError
from geoseg.raster.georeference import Georeference
from geoseg.units import parse_length

_BITS = 64
_LARGEST_REACH = 64
"""Pixels; a tolerance beyond it would match unrelated boundaries."""
_SLACK = 1e-9
"""Relative; a distance equal to the tolerance counts although rounding may make it a little longer."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart two boundary pixels may be.

    Attributes:
        amount: Metres or pixels.
        in_metres: Whether ``amount`` is metres.
        pixel: Height and width of a pixel in the same unit.
    """

    amount: float
    in_metres: bool = False
    pixel: tuple[float, float] = (1.0, 1.0)

    def __str__(self) -> str:
        """Write the tolerance as on the command line."""
        return f"{self.amount:g}{'m' if self.in_metres else 'px'}"

    def half_widths(self) -> list[int]:
        """List how many columns left and right are within the tolerance, 0, 1, 2 ... rows away."""
        height, width = self.pixel
        limit = self.amount * (1 + _SLACK)
        rows = int(limit / height)
        return [int(math.sqrt(max(0.0, limit**2 - (row * height) ** 2)) / width) for row in range(rows + 1)]

    @property
    def reach(self) -> int:
        """How many pixels beyond a window can change the counts inside it."""
        widths = self.half_widths()
        return max(len(widths) - 1, *widths) + 1


def read_tolerance(text: str, georeference: Georeference, shape: tuple[int, int]) -> Tolerance:
    """Read a tolerance for a raster.

    Args:
        text: ``"3px"``, ``"30m"``.
        georeference: Where the raster lies.
        shape: Its rows and columns.

    Raises:
        SettingsError: If it is not a length, is in metres where a pixel's size is unknown, or is too long.
    """
    length = parse_length(text, "--tolerance")
    pixel = (1.0, 1.0) if length.in_pixels else georeference.pixel_size(shape)
    if pixel is None:
        raise SettingsError(f"--tolerance {text}: the map has no CRS, so give pixels, as in 3px")
    found = Tolerance(length.amount, not length.in_pixels, pixel)
    if found.reach > _LARGEST_REACH:
        raise SettingsError(
            f"--tolerance {text} is more than {_LARGEST_REACH - 1} pixels; give a shorter one"
        )
    return found


def boundary_counts(
    labels: NDArray[np.uint8],
    mapped: NDArray[np.uint8],
    core: tuple[slice, slice],
    tolerances: tuple[Tolerance, ...],
    classes: int,
) -> NDArray[np.int64]:
    """Count boundary pixels in the core of a window.

    Args:
        labels: Class indices (rows, columns) of the core and of the pixels within reach of it; 255: no label.
        mapped: The map's class indices of the same pixels.
        core: Rows and columns to count.
        tolerances: How far apart boundaries may be.
        classes: Number of classes.

    Returns:
        int64 (tolerances, 4, classes): boundary pixels of the map, those of them that match the labels',
        boundary pixels of the labels, those of them that match the map's.
    """
    known = (labels != IGNORE) & (mapped != IGNORE)
    edges = [_boundary(np.where(known, values, IGNORE)) for values in (mapped, labels)]
    counts = np.zeros((len(tolerances), 4, classes), np.int64)
    for side, (values, edge) in enumerate(zip((mapped, labels), edges, strict=True)):
        counts[:, 2 * side] = np.bincount(values[core][edge[core]], minlength=classes)[:classes]
    for first in range(0, classes, _BITS):
        bits = [_as_bits(v, e, first) for v, e in zip((mapped, labels), edges, strict=True)]
        if not (bits[0].any() and bits[1].any()):
            continue
        for i, tolerance in enumerate(tolerances):
            for side in (0, 1):
                other = dilate(bits[1 - side], tolerance)
                met = ((bits[side] & other) != 0)[core]
                values = (mapped, labels)[side][core][met]
                counts[i, 2 * side + 1] += np.bincount(values, minlength=classes)[:classes]
    return counts


def dilate(bits: NDArray[np.uint64], tolerance: Tolerance) -> NDArray[np.uint64]:
    """Give each pixel the bits of all pixels within the tolerance, uint64 (rows, columns)."""
    answer = np.zeros_like(bits)
    across, width = bits.copy(), 0
    # The disc is narrower in rows farther away, so the widening of one row continues that of the row before.
    for row, half in reversed(list(enumerate(tolerance.half_widths()))):
        while width < half:
            width += 1
            across[:, width:] |= bits[:, :-width]
            across[:, :-width] |= bits[:, width:]
        if row == 0:
            answer |= across
        elif row < bits.shape[0]:
            answer[row:] |= across[:-row]
            answer[:-row] |= across[row:]
    return answer


def boundary_scores(counts: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Compute precision, recall and F1 from counts.

    Args:
        counts: int64 (..., 4, classes) as ``boundary_counts`` returns them.

    Returns:
        Three arrays (..., classes): NaN for a class that has no boundary in either; F1 is 0 for a class that
        has one in the map or in the labels only.
    """
    edge, met, label_edge, label_met = (counts[..., row, :].astype(np.float64) for row in range(4))
    nothing = np.full(edge.shape, np.nan)
    precision = np.divide(met, edge, out=nothing.copy(), where=edge > 0)
    recall = np.divide(label_met, label_edge, out=nothing.copy(), where=label_edge > 0)
    p, r = np.nan_to_num(precision), np.nan_to_num(recall)
    f1 = np.divide(2 * p * r, p + r, out=np.zeros(edge.shape), where=p + r > 0)
    return precision, recall, np.where(edge + label_edge > 0, f1, np.nan)


def _boundary(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mark the pixels with a neighbour of another class; ``IGNORE`` is not a class."""
    known = values != IGNORE
    edge = np.zeros(values.shape, bool)
    for ahead, behind in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (values[ahead] != values[behind]) & known[ahead] & known[behind]
        edge[ahead] |= differ
        edge[behind] |= differ
    return edge


def _as_bits(values: NDArray[np.uint8], edge: NDArray[np.bool_], first: int) -> NDArray[Any]:
    table = np.zeros(256, np.uint64)
    count = min(_BITS, 256 - first)
    table[first : first + count] = np.uint64(1) << np.arange(count, dtype=np.uint64)
    bits: NDArray[np.uint64] = np.where(edge, table[values], np.uint64(0))
    return bits
