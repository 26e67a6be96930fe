"""Decide on the patches of a whole map strip by strip, then paint the strips.

The map is seen twice. The first time patches are found and kept as a graph while they are undecided, and the
runs of small patches go to a temporary file with a ticket for each patch. The second time the runs are read
back and painted with the class that their ticket got. So memory holds one strip, what is undecided, and a
byte a small patch.
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
"""Areas of the pixels of whole rows, from a first row and a number of rows: whole numbers, float64."""


@dataclass(frozen=True)
class PatchSize:
    """A size of patches.

    Attributes:
        least: The least size that is not small, in pixels or in the unit of ``areas``.
        areas: Areas of pixels; None to count pixels.
    """

    least: int
    areas: PixelAreas | None = None


class Rule(Protocol):
    """What happens to small patches."""

    def __call__(self, graph: PatchGraph) -> None:
        """Decide on every node that what is still to come cannot touch; after the last strip on all."""


def study_patches(
    strips: Iterable[Strip], size: PatchSize, bands: int, rule: Rule, folder: Path | None
) -> Change:
    """See all strips once, and decide on their small patches.

    Args:
        strips: The strips of the map, without halo.
        size: Patches of at least this size stay as they are.
        bands: Probability bands of the strips.
        rule: What happens to the others.
        folder: Where the temporary file is made; None for the system's place.

    Returns:
        Paints the strips, in the same order.
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
    """Write down where the patches with a ticket are."""
    ticket = tickets[patches.runs.component]
    small = ticket >= 0
    for column in (patches.runs.starts[small], patches.runs.lengths[small], ticket[small]):
        np.save(notes, column)


@dataclass(frozen=True)
class _Painter:
    """Give small patches the class that was decided."""

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
