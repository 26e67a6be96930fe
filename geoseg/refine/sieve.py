"""``--sieve SIZE``: small patches go to their best neighbour (a minimum mapping unit).

The rule: *the smallest patch first; of patches of equal size, those of the highest class id first. It takes
the best class among its neighbours and is one patch with all neighbours of that class; and so on until no
patch below the size has a neighbour.* Patches of one class never touch, so of two neighbours it is always
clear which goes first, and patches that do not touch cannot disturb each other: a patch may go as soon as it
comes before all its neighbours. So the patches of a whole map that are first among their neighbours go at
once, again and again, and the answer is that of going one by one. It does not depend on where a patch lies,
nor on how the map is cut: a neighbour that has not been seen to its end can only become larger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.refine.patches import SETTLED, PatchGraph
from geoseg.refine.step import Change, Strip, choose
from geoseg.refine.survey import PatchSize, study_patches


@dataclass(frozen=True)
class Sieve:
    """Merge every patch below a size into its best neighbour.

    The best neighbour is the neighbouring class with the highest sum of stored probability over the patch;
    ties, and without probabilities: the one with which it shares most sides of pixels; ties: the lowest id.
    Nodata is no neighbour; a patch that has none but nodata stays.

    Attributes:
        size: Patches below it are merged.
        bands: Class of each probability band, ascending; empty without probabilities.
        folder: Where a temporary file is made; None for the system's place.
    """

    size: PatchSize
    bands: tuple[int, ...] = ()
    folder: Path | None = None
    name: str = "sieve"
    passes: int = 2
    halo: int = 0

    @property
    def uses_probabilities(self) -> bool:
        """Whether there are probabilities."""
        return bool(self.bands)

    def study(self, strips: Iterable[Strip]) -> Change:
        """Merge the small patches of all strips."""
        return study_patches(strips, self.size, len(self.bands), self._merge, self.folder)

    def _merge(self, graph: PatchGraph) -> None:
        """Merge as long as a patch that is seen to its end comes before all its neighbours."""
        while True:
            earlier, later = _order(graph)
            going = np.zeros(len(graph), dtype=bool)
            going[earlier] = True
            going[later] = False
            going &= ~graph.is_open
            if not going.any():
                break
            borders = np.flatnonzero(going[earlier])
            own, other = earlier[borders], later[borders]
            graph.classes[going] = self._best(graph, np.flatnonzero(going), own, other, graph.sides[borders])
            same = np.flatnonzero(graph.classes[own] == graph.classes[other])
            graph.unite(own[same], other[same])
        alone = ~graph.is_open
        alone[earlier] = alone[later] = False
        graph.settle(alone)

    def _best(
        self,
        graph: PatchGraph,
        nodes: NDArray[np.int64],
        own: NDArray[np.int32],
        other: NDArray[np.int32],
        sides: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """The class that each of some nodes takes.

        Args:
            graph: The graph.
            nodes: The nodes, ascending, int64.
            own: Of each of their borders: the node.
            other: Its neighbour there.
            sides: How many sides of pixels the border has.
        """
        place = np.zeros(len(graph), dtype=np.int64)
        place[nodes] = np.arange(nodes.size)
        neighbours = graph.classes[other]
        present = np.flatnonzero(np.bincount(neighbours, minlength=NODATA))
        column = np.zeros(256, dtype=np.int64)
        column[present] = np.arange(present.size)
        cell = place[own] * present.size + column[neighbours]
        around = np.bincount(cell, sides, nodes.size * present.size).reshape(nodes.size, present.size)
        likely = np.zeros(around.shape, dtype=np.int64)
        for band, value in enumerate(self.bands):
            likely[:, present == value] = graph.sums[band, nodes][:, None]
        return present[choose(likely, around)]


def _order(graph: PatchGraph) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """At each border, the patch whose turn comes earlier, and the other; settled ones come last."""
    turn = graph.sizes * 256 + (NODATA - graph.classes.astype(np.int64))
    turn[:SETTLED] = np.iinfo(np.int64).max
    in_order = turn[graph.first] < turn[graph.second]
    earlier = np.where(in_order, graph.first, graph.second)
    return earlier, np.where(in_order, graph.second, graph.first)
