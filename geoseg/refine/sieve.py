"""Merge small patches into their best neighbour (``--sieve SIZE``, a minimum mapping unit).

The rule: merge the smallest patch first; of patches of equal size, that of the highest class id. A patch
takes the best class among its neighbours, and becomes one patch with all neighbours of that class. Repeat
until no patch below the size has a neighbour.

Patches of one class never touch, so the order of two neighbours is always defined; and patches that do not
touch do not affect each other. So a patch can be merged as soon as it comes before all its neighbours. All
such patches of the map are merged together, again and again; the result is the same as one by one. It does
not depend on how the map is cut: a neighbour that is not complete yet can only become larger.
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

    The best neighbour is the neighbouring class with the highest sum of stored probability over the patch; in
    a tie, or without probabilities, the class with which the patch shares the longest border; in a tie, the
    lowest id. Nodata is no neighbour: a patch surrounded by nodata stays.

    Attributes:
        size: Patches smaller than this are merged.
        bands: Class of each probability band, ascending; empty without probabilities.
        folder: Folder for a temporary file; None for the system's.
    """

    size: PatchSize
    bands: tuple[int, ...] = ()
    folder: Path | None = None
    name: str = "sieve"
    passes: int = 2
    halo: int = 0

    @property
    def uses_probabilities(self) -> bool:
        """Whether the map has probabilities."""
        return bool(self.bands)

    def study(self, strips: Iterable[Strip]) -> Change:
        """Merge all small patches of the map."""
        return study_patches(strips, self.size, len(self.bands), self._merge, self.folder)

    def _merge(self, graph: PatchGraph) -> None:
        """Merge while there is a complete patch that comes before all its neighbours."""
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
        """Choose the class that each node takes.

        Args:
            graph: The graph.
            nodes: The nodes, ascending, int64.
            own: Node of each of their borders.
            other: Its neighbour at that border.
            sides: Length of the border in pixel sides.
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
    """Return, for each border, the patch that is merged earlier, and the other; settled patches come last."""
    turn = graph.sizes * 256 + (NODATA - graph.classes.astype(np.int64))
    turn[:SETTLED] = np.iinfo(np.int64).max
    in_order = turn[graph.first] < turn[graph.second]
    earlier = np.where(in_order, graph.first, graph.second)
    return earlier, np.where(in_order, graph.second, graph.first)
