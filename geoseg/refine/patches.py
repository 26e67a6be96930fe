"""Find the patches of each strip, and keep a graph of those whose class is not decided yet.

A patch is a 4-connected component of one class. The graph is all that is kept of earlier strips.
A patch is *settled* once it is certain that it keeps its class. Only the class of a settled patch matters, so
all settled patches of one class share one node, numbered by the class. Each undecided patch has its own node.
A patch that touches the last row seen so far is *open*: it may still grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA
from geoseg.raster.components import Contacts, Runs, find_runs_and_contacts
from geoseg.refine.step import Strip


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """The patches of a strip, those of nodata included; a patch may continue in other strips.

    Attributes:
        runs: The runs of the strip; their components are the patches.
        classes: Class of each patch, uint8.
        sizes: Its size, int64: pixels, or the sum of its pixels' areas.
        sums: Its stored probability of each class, int64 (bands, patches); no bands without probabilities.
        at_nodata: Whether it touches nodata or the edge of the map inside this strip, bool.
        first: One patch of each border between two patches, int32.
        second: The other patch.
        sides: Length of the border in pixel sides, int64. Two patches may share several borders.
        top: Patch of each pixel of the strip's first row, int32 (columns,).
        bottom: Patch of each pixel of its last row, int32 (columns,).
    """

    runs: Runs
    classes: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    sums: NDArray[np.int64]
    at_nodata: NDArray[np.bool_]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    sides: NDArray[np.int64]
    top: NDArray[np.int32]
    bottom: NDArray[np.int32]


def find_patches(strip: Strip, areas: NDArray[np.float64] | None = None) -> Patches:
    """Find the patches of a strip.

    Args:
        strip: The strip; its halo is ignored.
        areas: Area of each pixel in whole numbers, float64 (rows, columns); None to count pixels.

    Returns:
        The patches.
    """
    values = np.ascontiguousarray(strip.core)
    runs, contacts = find_runs_and_contacts(values)
    classes = np.empty(runs.n_components, dtype=np.uint8)
    classes[runs.component] = runs.values
    sizes = runs.lengths if areas is None else np.add.reduceat(areas.ravel(), runs.starts)
    empty = (runs.values[contacts.first] == NODATA) | (runs.values[contacts.second] == NODATA)
    columns = values.shape[1]
    rows = np.searchsorted(runs.starts, [columns, values.size - columns])
    return Patches(
        runs=runs,
        classes=classes,
        sizes=np.bincount(runs.component, sizes, runs.n_components).astype(np.int64),
        sums=_add_probabilities(runs, strip.probabilities),
        at_nodata=_touch_nodata(strip, runs, contacts, empty),
        first=runs.component[contacts.first[~empty]],
        second=runs.component[contacts.second[~empty]],
        sides=contacts.sides[~empty],
        top=np.repeat(runs.component[: rows[0]], runs.lengths[: rows[0]]),
        bottom=np.repeat(runs.component[rows[1] :], runs.lengths[rows[1] :]),
    )


def _add_probabilities(runs: Runs, probabilities: NDArray[np.uint8] | None) -> NDArray[np.int64]:
    """Sum probabilities over patches, int64 (bands, patches); unknown ones count as 0."""
    if probabilities is None:
        return np.zeros((0, runs.n_components), dtype=np.int64)
    sums = np.empty((len(probabilities), runs.n_components), dtype=np.int64)
    for band, total in zip(probabilities, sums, strict=True):
        known = np.where(band == NODATA, np.uint8(0), band)
        over_runs = np.add.reduceat(known.ravel(), runs.starts, dtype=np.uint32)
        total[:] = np.bincount(runs.component, over_runs, runs.n_components)
    return sums


def _touch_nodata(
    strip: Strip, runs: Runs, contacts: Contacts, empty: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tell which patches touch nodata or the edge of the map inside this strip."""
    rows, columns = strip.core.shape
    begins = np.searchsorted(runs.starts, np.arange(rows) * columns)
    ends = np.append(begins[1:], runs.starts.size) - 1
    touching = np.zeros(runs.n_components, dtype=bool)
    touching[runs.component[contacts.first[empty]]] = True
    touching[runs.component[contacts.second[empty]]] = True
    touching[runs.component[begins]] = True
    touching[runs.component[ends]] = True
    if strip.is_first:
        touching[runs.component[: ends[0] + 1]] = True
    if strip.is_last:
        touching[runs.component[begins[-1] :]] = True
    return touching


SETTLED = 256
"""Nodes below this number stand for settled patches of the class of that number; 255 is nodata."""
LARGEST_SIZE = 2**52
"""Sizes are summed in float64, which is exact up to here."""


class PatchGraph:
    """Graph of undecided patches and their neighbours, built strip by strip from top to bottom.

    Each small patch of a strip gets a *ticket*, a number that leads to its class once that is decided.

    Args:
        limit: Patches of at least this size are settled.
        bands: Number of probability bands.

    Attributes:
        classes: Class of each node, uint8 (nodes,).
        sizes: Size, int64; ``limit`` for settled nodes.
        sums: Stored probability of each class, int64 (bands, nodes).
        at_nodata: Whether it touches nodata or the edge of the map, bool.
        is_open: Whether it may still grow, bool.
        first: One node of each border, int32 (borders,).
        second: The other node.
        sides: Length of the border in pixel sides, int64.
    """

    def __init__(self, limit: int, bands: int) -> None:
        self.limit = min(limit, LARGEST_SIZE)
        self.classes = np.arange(SETTLED).astype(np.uint8)
        self.sizes = np.full(SETTLED, self.limit, dtype=np.int64)
        self.sums = np.zeros((bands, SETTLED), dtype=np.int64)
        self.at_nodata = np.zeros(SETTLED, dtype=bool)
        self.is_open = np.zeros(SETTLED, dtype=bool)
        self.first = np.zeros(0, dtype=np.int32)
        self.second = np.zeros(0, dtype=np.int32)
        self.sides = np.zeros(0, dtype=np.int64)
        self._bottom: NDArray[np.int32] | None = None
        self._decided = np.zeros(1024, dtype=np.uint8)
        self._members = np.zeros((2, 0), dtype=np.int64)
        self._tickets = 0

    def __len__(self) -> int:
        return int(self.classes.size)

    @property
    def decided(self) -> NDArray[np.uint8]:
        """Class of every ticket that ``add`` gave out, uint8 (tickets,); meaningful once it is settled."""
        return self._decided[: self._tickets]

    def add(self, patches: Patches, *, last: bool) -> NDArray[np.int64]:
        """Add the patches of the next strip.

        Args:
            patches: Its patches.
            last: Whether it is the last strip of the map.

        Returns:
            A ticket for each patch that was not settled at once, -1 for the others, int64 (patches,).
        """
        nodes, tickets = self._append(patches)
        between = np.stack([nodes[patches.first], nodes[patches.second]])
        undecided = np.flatnonzero(between.max(axis=0) >= SETTLED)
        between, sides = between[:, undecided], patches.sides[undecided]
        links = np.zeros((2, 0), dtype=np.int32)
        if self._bottom is not None:
            seam = np.stack([self._bottom, nodes[patches.top]])
            one = self.classes[seam[0]] == self.classes[seam[1]]
            links = seam[:, one]
            apart = seam[:, ~one]
            empty = (apart == NODATA).any(axis=0)
            self.at_nodata[apart[:, empty]] = True
            between = np.concatenate([between, apart[:, ~empty]], axis=1)
        seams = np.ones(between.shape[1] - sides.size, dtype=np.int64)
        self.first = np.concatenate([self.first, between[0]])
        self.second = np.concatenate([self.second, between[1]])
        self.sides = np.concatenate([self.sides, sides, seams])
        self._bottom = nodes[patches.bottom]
        self.is_open[:] = False
        if not last:
            self.is_open[self._bottom] = True
        self.unite(links[0], links[1])
        return tickets

    def unite(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> None:
        """Merge pairs of nodes of the same class.

        Args:
            first: One node of each pair, int32.
            second: The other node.
        """
        n_groups, group = group_linked(len(self), first, second)
        sizes = np.bincount(group, np.minimum(self.sizes, self.limit), n_groups)
        large = sizes >= self.limit
        classes = np.empty(n_groups, dtype=np.int64)
        classes[group] = self.classes
        self._renumber(group, np.where(large, classes, -1))

    def settle(self, nodes: NDArray[np.bool_]) -> None:
        """Settle nodes with the class that they have.

        Args:
            nodes: Nodes to settle, bool (nodes,).
        """
        settled = np.where(nodes, self.classes.astype(np.int64), -1)
        settled[:SETTLED] = np.arange(SETTLED)
        self._renumber(np.arange(len(self)), settled)

    def decide(self, nodes: NDArray[np.bool_], classes: NDArray[np.uint8]) -> None:
        """Settle nodes with a new class; in the graph, neighbours still see the old one.

        Args:
            nodes: Nodes to settle, bool (nodes,).
            classes: New class of each node of the graph, uint8 (nodes,).
        """
        chosen = nodes[self._members[1]]
        self._decided[self._members[0, chosen]] = classes[self._members[1, chosen]]
        self._members = self._members[:, ~chosen]
        self.settle(nodes)

    def _append(self, patches: Patches) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Add nodes for the small patches; return the node and the ticket of every patch."""
        small = (patches.sizes < self.limit) & (patches.classes != NODATA)
        count = int(np.count_nonzero(small))
        nodes = patches.classes.astype(np.int32)
        nodes[small] = np.arange(len(self), len(self) + count)
        tickets = np.full(small.size, -1, dtype=np.int64)
        tickets[small] = np.arange(self._tickets, self._tickets + count)
        self._members = np.concatenate([self._members, [tickets[small], nodes[small]]], axis=1)
        self._tickets += count
        if self._tickets > self._decided.size:
            self._decided = np.resize(self._decided, 2 * self._tickets)
        self.classes = np.concatenate([self.classes, patches.classes[small]])
        self.sizes = np.concatenate([self.sizes, patches.sizes[small]])
        self.sums = np.concatenate([self.sums, patches.sums[:, small]], axis=1)
        self.at_nodata = np.concatenate([self.at_nodata, patches.at_nodata[small]])
        self.is_open = np.concatenate([self.is_open, np.zeros(count, dtype=bool)])
        return nodes, tickets

    def _renumber(self, group: NDArray[np.integer], settled: NDArray[np.integer]) -> None:
        """Merge nodes by group, and renumber them.

        Args:
            group: Group of each node.
            settled: Class with which each group is settled, -1 if it is not.
        """
        number = np.where(settled < 0, SETTLED - 1 + np.cumsum(settled < 0), settled)
        new = number[group].astype(np.int32)
        count = SETTLED + int(np.count_nonzero(settled < 0))

        def gather(amounts: NDArray[np.int64]) -> NDArray[np.int64]:
            total: NDArray[np.int64] = np.bincount(new, amounts, count).astype(np.int64)
            return total

        def mark(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
            found = np.zeros(count, dtype=bool)
            found[new[marked]] = True
            found[:SETTLED] = False
            return found

        self.sums = np.stack([gather(band) for band in self.sums]) if len(self.sums) else self.sums[:, :count]
        sizes = gather(np.minimum(self.sizes, self.limit))
        sizes[:SETTLED] = self.limit
        classes = np.empty(count, dtype=np.uint8)
        classes[new] = self.classes
        classes[:SETTLED] = np.arange(SETTLED)
        self.sizes, self.classes = sizes, classes
        self.at_nodata, self.is_open = mark(self.at_nodata), mark(self.is_open)
        if self._bottom is not None:
            self._bottom = new[self._bottom]
        first, second = new[self.first], new[self.second]
        kept = np.flatnonzero((first != second) & (np.maximum(first, second) >= SETTLED))
        self.first, self.second, self.sides = first[kept], second[kept], self.sides[kept]
        tickets, node = self._members[0], new[self._members[1]]
        done = node < SETTLED
        self._decided[tickets[done]] = node[done]
        self._members = np.stack([tickets[~done], node[~done].astype(np.int64)])


def link_matrix(count: int, first: NDArray[np.int32], second: NDArray[np.int32]) -> Any:
    """Return the directed links from first to second nodes as a sparse matrix.

    Args:
        count: Number of nodes.
        first: First node of each link, int32.
        second: Its second node.

    Returns:
        scipy CSR array (count, count); duplicate links are stored twice.
    """
    from scipy.sparse import coo_array

    links = coo_array((np.ones(first.size, dtype=np.uint8), (first, second)), shape=(count, count))
    links.has_canonical_format = (
        True  # keeps scipy from sorting and adding up duplicates, whose values are not used
    )
    return links.tocsr()


def group_linked(
    count: int, first: NDArray[np.int32], second: NDArray[np.int32]
) -> tuple[int, NDArray[np.int32]]:
    """Find the connected components of a graph.

    Args:
        count: Number of nodes.
        first: First node of each link, int32.
        second: Its second node.

    Returns:
        Number of components; component of each node, int32 (count,).
    """
    from scipy.sparse.csgraph import connected_components

    n_groups, group = connected_components(link_matrix(count, first, second), directed=False)
    return int(n_groups), group
