"""``--fill-holes SIZE``: what one class encloses completely and is small takes that class.

A hole of a class is a group of pixels of other classes that touch by their sides, with nothing but that class
around it: what ``scipy.ndimage.binary_fill_holes`` fills, as long as it is smaller than a size and neither
holds nor touches nodata or the edge of the map. Where holes of several classes overlap, the largest counts,
small islands of its own class inside included (ties: that of the lowest class id).

A patch that is large enough, touches nodata, or touches patches of two classes that are in no hole themselves
cannot be part of a hole. Most patches are known by that to stay; only groups of patches that one such class
surrounds are left to be looked at, each as soon as it is seen to its end.
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
    """Fill holes below a size.

    Attributes:
        size: Holes below it are filled.
        folder: Where a temporary file is made; None for the system's place.
    """

    size: PatchSize
    folder: Path | None = None
    name: str = "fill holes"
    passes: int = 2
    halo: int = 0
    uses_probabilities: bool = False

    def study(self, strips: Iterable[Strip]) -> Change:
        """Find the holes of all strips."""
        return study_patches(strips, self.size, 0, _fill, self.folder)


def _fill(graph: PatchGraph) -> None:
    """Decide on every group of patches that is seen to its end."""
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
    """Patches that touch nodata, or settled patches of two classes, or such as these; bool (nodes,)."""
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
    """The class of every node once the holes among the complete ones are filled, uint8 (nodes,)."""
    filled = graph.classes.copy()
    largest = np.zeros(len(graph), dtype=np.int64)
    ends = np.stack([graph.first, graph.second])
    ends = ends[:, complete[ends].any(axis=0)]
    for value in np.unique(graph.classes[ends]):  # ascending, and only a larger hole replaces another
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
    """Number the groups of undecided nodes that touch; nodes that are no members are alone.

    Args:
        graph: The graph.
        members: Which nodes to group, bool (nodes,).

    Returns:
        Group of each node, int32 (nodes,); size of each group, int64 (groups,).
    """
    both = members[graph.first] & members[graph.second]
    both &= np.minimum(graph.first, graph.second) >= SETTLED
    count, group = group_linked(len(graph), graph.first[both], graph.second[both])
    return group, np.bincount(group, graph.sizes, count).astype(np.int64)
