"""``--fill-holes SIZE``: what one class encloses completely and is small takes that class.

A hole of a class is a group of pixels of other classes that touch by their sides, with nothing but that class
around it: what ``scipy.ndimage.binary_fill_holes`` fills, as long as it is smaller than a size and neither
holds nor touches nodata or the edge of the map. Where holes of several classes overlap, the largest counts
(ties: that of the lowest class id).

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

from geoseg.refine.graph import SETTLED, PatchGraph
from geoseg.refine.runs import spread
from geoseg.refine.step import NODATA, Change, Strip
from geoseg.refine.survey import PatchSize, study_patches


@dataclass(frozen=True)
class FillHoles:
    """Fills holes below a size.

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
    group = _groups(graph, np.ones(len(graph), dtype=bool))
    is_open = np.zeros(len(graph), dtype=bool)
    is_open[group[graph.is_open]] = True
    complete = ~is_open[group]
    complete[:SETTLED] = False
    graph.decide(complete, _fill_groups(graph, complete))


def _in_no_hole(graph: PatchGraph) -> NDArray[np.bool_]:
    """Patches that touch nodata, or settled patches of two classes, or such as these; bool (nodes,)."""
    from scipy.sparse import coo_array

    count = len(graph)
    ends = np.concatenate([graph.first, graph.second]), np.concatenate([graph.second, graph.first])
    borders = coo_array((np.ones(ends[0].size, dtype=np.uint8), ends), shape=(count, count)).tocsr()
    lowest = np.full(count, NODATA, dtype=np.uint8)
    highest = np.zeros(count, dtype=np.uint8)
    known = graph.at_nodata.copy()
    known[:SETTLED] = True
    found = np.flatnonzero(known)
    while found.size:
        degrees = np.diff(borders.indptr)[found]
        around = borders.indices[spread(borders.indptr[found], degrees)]
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
        members = complete & (graph.classes != value)
        group = _groups(graph, members)
        leaks = np.zeros(len(graph), dtype=bool)
        outside = (ends < SETTLED) & (ends != value)
        leaks[group[ends[::-1][outside]]] = True
        leaks[:SETTLED] = False
        size = np.bincount(group[members], graph.sizes[members], len(graph)).astype(np.int64)
        holes = members & ~leaks[group] & (size[group] < graph.limit) & (size[group] > largest)
        filled[holes] = value
        largest[holes] = size[group][holes]
    return filled


def _groups(graph: PatchGraph, members: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number the groups of undecided nodes that touch; nodes that are no members are alone.

    Args:
        graph: The graph.
        members: Which nodes to group, bool (nodes,).

    Returns:
        Group of each node, int64 (nodes,), below the number of nodes.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    both = members[graph.first] & members[graph.second]
    both &= (graph.first >= SETTLED) & (graph.second >= SETTLED)
    links = coo_array(
        (np.ones(int(both.sum()), dtype=np.uint8), (graph.first[both], graph.second[both])),
        shape=(len(graph), len(graph)),
    )
    group: NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return group
