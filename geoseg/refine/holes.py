"""Fill small holes (``--fill-holes SIZE``): what one class encloses takes that class.

A hole of a class is a group of pixels of other classes, connected over their sides, with only that class
around
it: what ``scipy.ndimage.binary_fill_holes`` fills. It is filled if it is smaller than the size, and neither
holds nor touches nodata or the edge of the map. If holes of several classes overlap, the largest is filled;
its size includes small islands of its own class. Ties go to the lowest class id.

A patch is certainly in no hole if it is large enough, touches nodata, or touches patches of two classes that
are in no hole themselves. This settles most patches. What remains are groups of patches that are surrounded
by one class; each is decided as soon as it is complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.raster.ragged import index_ranges
from geoseg.refine.patches import SETTLED, PatchGraph, group_linked, link_matrix
from geoseg.refine.step import Change, Strip
from geoseg.refine.survey import PatchSize, study_patches


@dataclass(frozen=True)
class FillHoles:
    """Fill the holes below a size.

    Attributes:
        size: Holes smaller than this are filled.
        folder: Folder for a temporary file; None for the system's.
    """

    size: PatchSize
    folder: Path | None = None
    name: str = "fill holes"
    passes: int = 2
    halo: int = 0
    uses_probabilities: bool = False

    def study(self, strips: Iterable[Strip]) -> Change:
        """Find all holes of the map."""
        return study_patches(strips, self.size, 0, _fill, self.folder)


def _fill(graph: PatchGraph) -> None:
    """Decide every group of patches that is complete."""
    graph.settle(_in_no_hole(graph))
    if len(graph) == SETTLED:
        return
    group, _ = _groups(graph, np.ones(len(graph), dtype=bool))
    is_open = np.zeros(len(graph), dtype=bool)
    is_open[group[graph.is_open]] = True
    complete = ~is_open[group]
    complete[:SETTLED] = False
    graph.decide(complete, _fill_groups(graph, complete))


def _in_no_hole(graph: PatchGraph) -> NDArray[np.bool_]:
    """Find the patches that are certainly in no hole, bool (nodes,).

    Start from settled patches and those at nodata; add patches that touch two classes of these, until none is
    added.
    """
    count = len(graph)
    ends = np.concatenate([graph.first, graph.second]), np.concatenate([graph.second, graph.first])
    borders = link_matrix(count, *ends)
    lowest = np.full(count, NODATA, dtype=np.uint8)
    highest = np.zeros(count, dtype=np.uint8)
    known = graph.at_nodata.copy()
    known[:SETTLED] = True
    found = np.flatnonzero(known)
    while found.size:
        degrees = np.diff(borders.indptr)[found]
        around = borders.indices[index_ranges(borders.indptr[found], degrees)]
        classes = np.repeat(graph.classes[found], degrees)
        np.minimum.at(lowest, around, classes)
        np.maximum.at(highest, around, classes)
        found = np.unique(around[(lowest[around] < highest[around]) & ~known[around]])
        known[found] = True
    return known


def _fill_groups(graph: PatchGraph, complete: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the class of every node after filling the holes among the complete ones, uint8 (nodes,)."""
    filled = graph.classes.copy()
    largest = np.zeros(len(graph), dtype=np.int64)
    ends = np.stack([graph.first, graph.second])
    ends = ends[:, complete[ends].any(axis=0)]
    for value in np.unique(graph.classes[ends]):  # ascending, so that ties go to the lowest id
        others = complete & (graph.classes != value)
        outside = (ends < SETTLED) & (ends != value)
        leaking = np.zeros(len(graph), dtype=bool)
        leaking[ends[::-1][outside]] = True
        group, size = _groups(graph, others)
        leaking_groups = np.zeros(len(graph), dtype=bool)
        leaking_groups[group[leaking]] = True
        hole = others & ~leaking_groups[group] & (size[group] < graph.limit)
        island = complete & ~others
        island[ends[::-1][~hole[ends]]] = False
        group, size = _groups(graph, hole | island)
        better = (hole | island) & (size[group] > largest)
        filled[better] = value
        largest[better] = size[group][better]
    return filled


def _groups(graph: PatchGraph, members: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Group the undecided nodes that touch; every node that is not a member is a group of its own.

    Args:
        graph: The graph.
        members: Nodes to group, bool (nodes,).

    Returns:
        Group of each node, int32 (nodes,); size of each group, int64 (groups,).
    """
    both = members[graph.first] & members[graph.second]
    both &= np.minimum(graph.first, graph.second) >= SETTLED
    count, group = group_linked(len(graph), graph.first[both], graph.second[both])
    return group, np.bincount(group, graph.sizes, count).astype(np.int64)
