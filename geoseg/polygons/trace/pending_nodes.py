"""Store on disk the nodes of polygons that are not complete yet, polygon by polygon.

A node as one polygon sees it takes ten bytes: its position, which of the four pixels around it belong to the
polygon, and which are nodata or outside the raster. So even a polygon as large as the scene needs no memory
until it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.files import scratch_file
from geoseg.polygons.trace.rings import Nodes
from geoseg.raster.ragged import group_starts, index_ranges

PORTION = 2**19
"""Nodes of the polygons that are finished together; a polygon with more nodes is finished alone."""
_NODE = np.dtype([("row", "i4"), ("column", "i4"), ("around", "u2")])
_JUNCTION = 256


@dataclass(frozen=True, slots=True)
class PolygonNodes:
    """Nodes grouped by polygon, in row order inside each polygon.

    Attributes:
        labels: Label of each polygon, ascending, int64.
        counts: Number of nodes of each polygon, int64.
        nodes: The nodes, polygon after polygon.
    """

    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    nodes: NDArray[np.void]

    @staticmethod
    def of(nodes: Nodes) -> PolygonNodes:
        """Group nodes by the polygons around them; ignore labels below 1.

        Args:
            nodes: Nodes in any order, each once.
        """
        quadrants = nodes.quadrants
        owners, places, around = [], [], []
        outside = (quadrants == 0) @ (np.uint16(16) << np.arange(4, dtype=np.uint16))
        for first in range(4):
            own = quadrants[:, first]
            new = own > 0
            for before in range(first):
                new &= quadrants[:, before] != own
            at = np.flatnonzero(new)
            mine = (quadrants[at] == own[at, None]) @ (np.uint16(1) << np.arange(4, dtype=np.uint16))
            owners.append(own[at])
            places.append(at)
            around.append(mine + outside[at])
        owner, place = np.concatenate(owners), np.concatenate(places)
        order = np.lexsort((nodes.columns[place], nodes.rows[place], owner))
        place = place[order]
        found = np.empty(place.size, dtype=_NODE)
        found["row"], found["column"] = nodes.rows[place], nodes.columns[place]
        found["around"] = np.concatenate(around)[order]
        if nodes.junctions is not None:
            found["around"] += nodes.junctions[place] * np.uint16(_JUNCTION)
        labels, counts = np.unique(owner, return_counts=True)
        return PolygonNodes(labels.astype(np.int64), counts, found)

    def take(self, chosen: NDArray[np.bool_]) -> PolygonNodes:
        """Keep only the chosen polygons."""
        return PolygonNodes(
            self.labels[chosen], self.counts[chosen], self.nodes[np.repeat(chosen, self.counts)]
        )


class PendingNodes:
    """Nodes of incomplete polygons in a temporary file.

    The nodes of one polygon may lie in several places, one for each call of ``add``.

    Args:
        folder: Folder for the file; None for the system's.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = scratch_file(folder)
        self._end = 0
        none = np.zeros(0, dtype=np.int64)
        self._labels, self._first, self._counts = none, none, none

    def add(self, nodes: PolygonNodes) -> None:
        """Append nodes to the file."""
        self._file.seek(self._end * _NODE.itemsize)
        self._file.write(nodes.nodes.data)
        self._labels = np.concatenate([self._labels, nodes.labels])
        self._first = np.concatenate([self._first, self._end + group_starts(nodes.counts)])
        self._counts = np.concatenate([self._counts, nodes.counts])
        self._end += len(nodes.nodes)

    def relabel(self, new_labels: NDArray[np.integer]) -> None:
        """Change every label to ``new_labels[label]``; drop polygons whose new label is below 1."""
        labels = new_labels[self._labels].astype(np.int64)
        held = labels > 0
        self._labels, self._first, self._counts = labels[held], self._first[held], self._counts[held]
        if not held.any():
            self._end = 0  # nothing in the file is needed any more: overwrite it

    def largest(self, last: PolygonNodes) -> int:
        """Return the number of nodes of the largest of some polygons.

        Args:
            last: The last nodes of these polygons.
        """
        sizes = np.zeros(max(int(last.labels.max()), int(self._labels.max(initial=0))) + 1, dtype=np.int64)
        np.add.at(sizes, self._labels, self._counts)
        return int((sizes[last.labels] + last.counts).max())

    def finish(self, last: PolygonNodes, *, junctions: bool) -> Iterator[Nodes]:
        """Yield all nodes of polygons that are complete now, whole polygons, a bounded number at a time.

        Args:
            last: The last nodes of these polygons.
            junctions: Whether the nodes record junctions.

        Yields:
            Nodes polygon by polygon, in row order inside each; quadrants of other polygons are -1, those of
            nodata 0.
        """
        self._file.flush()
        order = np.flatnonzero(np.isin(self._labels, last.labels))
        order = order[np.argsort(self._labels[order], kind="stable")]
        low = np.searchsorted(self._labels[order], last.labels)
        n_before = np.diff(low, append=order.size)
        sizes = last.counts.copy()
        np.add.at(sizes, np.repeat(np.arange(sizes.size), n_before), self._counts[order])
        portion = (np.cumsum(sizes) - 1) // PORTION
        edges = [0, *(np.flatnonzero(np.diff(portion)) + 1).tolist(), sizes.size]
        starts = group_starts(last.counts)
        for begin, end in pairwise(edges):
            parts = slice(begin, end)
            mine = order[low[begin] : low[end - 1] + n_before[end - 1]]
            own = last.nodes[starts[begin] : starts[end - 1] + last.counts[end - 1]]
            nodes = self._with_earlier(mine, n_before[parts], own, last.counts[parts])
            yield _expand(nodes, last.labels[parts], sizes[parts], junctions=junctions)

    def _with_earlier(
        self,
        earlier: NDArray[np.int64],
        n_earlier: NDArray[np.int64],
        own: NDArray[np.void],
        counts: NDArray[np.int64],
    ) -> NDArray[np.void]:
        """Read the stored nodes of polygons, and append the last nodes of each."""
        if earlier.size == 0:
            return own
        read = [self._read(self._first[part], self._counts[part]) for part in earlier.tolist()]
        nodes = np.concatenate([*read, own])
        # Sort the parts by polygon; the stable sort keeps earlier parts first.
        sizes = np.concatenate([self._counts[earlier], counts])
        polygon = np.concatenate([np.repeat(np.arange(counts.size), n_earlier), np.arange(counts.size)])
        order = np.argsort(polygon, kind="stable")
        return nodes[index_ranges(group_starts(sizes)[order], sizes[order])]

    def _read(self, first: int, count: int) -> NDArray[np.void]:
        self._file.seek(int(first) * _NODE.itemsize)
        return np.fromfile(self._file, dtype=_NODE, count=int(count))


def _expand(
    found: NDArray[np.void], polygons: NDArray[np.int64], sizes: NDArray[np.int64], *, junctions: bool
) -> Nodes:
    """Unpack nodes: label each quadrant with the polygon, 0 for nodata, or -1 for another polygon."""
    owners = np.repeat(np.arange(polygons.size, dtype=np.int32), sizes)
    found, owners = _merge_duplicates(found, owners)
    around, labels = found["around"], polygons[owners]
    quadrants = np.full((found.size, 4), -1, dtype=np.int32)
    for place in range(4):
        column = quadrants[:, place]
        column[(around >> (4 + place)) & 1 == 1] = 0
        own = (around >> place) & 1 == 1
        column[own] = labels[own]
    return Nodes(
        np.ascontiguousarray(found["row"]),
        np.ascontiguousarray(found["column"]),
        quadrants,
        (around & _JUNCTION) > 0 if junctions else None,
    )


def _merge_duplicates(
    found: NDArray[np.void], owners: NDArray[np.int32]
) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """Sort the nodes of each polygon by row and merge duplicates.

    Both are needed if parts of a polygon that were stored as two polygons were joined further down.
    """
    place = (found["row"].astype(np.int64) << 32) | found["column"]
    same = owners[1:] == owners[:-1]
    if not (same & (place[1:] <= place[:-1])).any():
        return found, owners
    order = np.lexsort((place, owners))
    found, place, owners = found[order], place[order], owners[order]
    new = np.ones(place.size, dtype=bool)
    new[1:] = (place[1:] != place[:-1]) | (owners[1:] != owners[:-1])
    first = np.flatnonzero(new)
    around = np.bitwise_or.reduceat(found["around"], first)
    found, owners = found[first], owners[first]
    found["around"] = around
    return found, owners
