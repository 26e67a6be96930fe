"""Decide on the patches of a whole map strip by strip, in two passes.

The first pass finds patches, keeps those that are undecided as a graph, and writes the runs of small patches
to a temporary file, with the ticket of each patch. The second pass reads the runs back and paints them with
the class of their ticket. So memory holds one strip, the undecided patches, and one byte per small patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.files import scratch_file
from geoseg.raster.ragged import index_ranges
from geoseg.refine.patches import Patches, PatchGraph, find_patches
from geoseg.refine.step import Change, Strip

PixelAreas = Callable[[int, int], NDArray[np.float64]]
"""Returns the areas of the pixels of whole rows, given the first row and the number of rows, float64."""


@dataclass(frozen=True)
class PatchSize:
    """A limit on the size of patches.

    Attributes:
        least: Smallest size that is not small, in pixels or in the unit of ``areas``.
        areas: Areas of pixels, whole numbers; None to count pixels.
    """

    least: int
    areas: PixelAreas | None = None


class Rule(Protocol):
    """Decides what happens to small patches."""

    def __call__(self, graph: PatchGraph) -> None:
        """Decide every node that later strips cannot change; after the last strip, all nodes."""


def study_patches(
    strips: Iterable[Strip], size: PatchSize, bands: int, rule: Rule, folder: Path | None
) -> Change:
    """Read all strips once, and decide on their small patches.

    Args:
        strips: The strips of the map, without halo.
        size: Patches of at least this size stay as they are.
        bands: Number of probability bands of the strips.
        rule: Decides on the other patches.
        folder: Folder for the temporary file; None for the system's.

    Returns:
        The function that paints the strips, in the same order.
    """
    graph = PatchGraph(size.least, bands)
    notes = scratch_file(folder)
    for strip in strips:
        rows = strip.core.shape[0]
        patches = find_patches(strip, None if size.areas is None else size.areas(strip.row, rows))
        _note(notes, patches, graph.add(patches, last=strip.is_last))
        rule(graph)
    notes.seek(0)
    return _Painter(notes, graph.decided)


def _note(notes: IO[bytes], patches: Patches, tickets: NDArray[np.int64]) -> None:
    """Write the runs of all patches that have a ticket."""
    ticket = tickets[patches.runs.component]
    small = ticket >= 0
    for column in (patches.runs.starts[small], patches.runs.lengths[small], ticket[small]):
        np.save(notes, column)


@dataclass(frozen=True)
class _Painter:
    """Paints small patches with the class that was decided."""

    notes: IO[bytes]
    decided: NDArray[np.uint8]

    def __call__(self, strip: Strip) -> NDArray[np.uint8]:
        new = strip.core.copy()
        flat = new.reshape(-1)
        starts, lengths, tickets = (np.load(self.notes) for _ in range(3))
        colors = self.decided[tickets]
        changed = colors != flat[starts]
        starts, lengths, colors = starts[changed], lengths[changed], colors[changed]
        flat[index_ranges(starts, lengths)] = np.repeat(colors, lengths)
        return new
