"""Link nodes of the pixel lattice into the rings of polygons, without a loop over pixels.

The corners of pixels form a lattice. A *node* is a corner where the boundary turns or where more than two
polygons meet. Every vertex of a polygon is a node, and every node on its boundary is a vertex. So neighbours
share their vertices, and the polygons of a map are a valid coverage (a planar subdivision). Between two nodes
the boundary is straight, with the same two polygons on its left and right.

At a node a boundary can leave in four directions: 0 east, 1 north, 2 west, 3 south. A *half-edge* is a node
and a direction; it belongs to the polygon on its left. The four pixels around a node are its quadrants,
numbered so that quadrant ``d`` lies left of direction ``d``: north-east, north-west, south-west, south-east.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.ragged import group_starts, index_ranges

EAST, NORTH, WEST, SOUTH = range(4)


class SideLengths(Protocol):
    """Measures straight boundaries, in whole numbers of a fixed small unit."""

    def side_lengths(
        self,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        tails: NDArray[np.int32],
        heads: NDArray[np.int32],
    ) -> NDArray[np.int64]:
        """Measure the straight boundaries from corners ``tails`` to corners ``heads``."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes in row order; or grouped by polygon, in row order inside each.

    Attributes:
        rows: Row of each node, int32; 0 is the upper edge of the raster.
        columns: Column of each node, int32.
        quadrants: Labels of the four pixels around each node, int32 (nodes, 4): north-east, north-west,
            south-west, south-east. 0 is nodata or outside the raster.
        junctions: Whether more than two boundaries meet there, bool; None if not recorded.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    quadrants: NDArray[np.int32]
    junctions: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return int(self.rows.size)

    def where(self, chosen: NDArray[np.bool_]) -> Nodes:
        """Keep only the chosen nodes."""
        at = np.flatnonzero(chosen)  # ``take`` is many times faster than indexing with a mask
        junctions = None if self.junctions is None else self.junctions.take(at)
        return Nodes(self.rows.take(at), self.columns.take(at), self.quadrants.take(at, axis=0), junctions)

    @staticmethod
    def join(parts: list[Nodes]) -> Nodes:
        """Concatenate several sets of nodes."""
        flags = [part.junctions for part in parts if part.junctions is not None]
        return Nodes(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.columns for part in parts]),
            np.concatenate([part.quadrants for part in parts]),
            np.concatenate(flags) if flags else None,
        )


@dataclass(frozen=True, slots=True)
class Traced:
    """Finished polygons, ordered by their first pixel.

    Attributes:
        labels: Label of each polygon, int32.
        ring_counts: Number of rings of each polygon, int64. The exterior comes first, then the holes, ordered
            by their first corner.
        ring_sizes: Number of vertices of each ring, the first one repeated at the end, int64.
        vertices: Row and column of the vertices, int32 (vertices, 2). With row 0 on top, exteriors run
            counter-clockwise and holes clockwise. Every ring starts at its first corner in row order; for an
            exterior that is the upper left corner of the polygon's first pixel.
        perimeters: Length of the exterior in the unit of ``SideLengths``, int64; None without one.
        touches_edge: Whether a side of the polygon borders on label 0, bool.
        junctions: Whether more than two boundaries meet at a vertex, bool; None if not recorded.
    """

    labels: NDArray[np.int32]
    ring_counts: NDArray[np.int64]
    ring_sizes: NDArray[np.int64]
    vertices: NDArray[np.int32]
    perimeters: NDArray[np.int64] | None
    touches_edge: NDArray[np.bool_]
    junctions: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return int(self.labels.size)


def any_quadrant(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell for each node whether any of its four quadrants is marked: bool (nodes, 4) to bool (nodes,)."""
    four = np.ascontiguousarray(marked).view(np.uint32).ravel()  # much faster than any()
    found: NDArray[np.bool_] = four != 0
    return found


def link_rings(nodes: Nodes, ready: NDArray[np.bool_], lengths: SideLengths | None) -> Traced:
    """Trace the complete polygons.

    Args:
        nodes: All nodes of every polygon to trace; nodes of other polygons may be among them.
        ready: Whether to trace the polygon of a quadrant, bool (nodes, 4).
        lengths: Measures perimeters; None for no perimeters.

    Returns:
        The traced polygons.
    """
    edges = _half_edges(nodes, ready)
    if edges.node.size == 0:
        return _no_polygons(lengths is not None)
    order, ring_starts = _cycles(edges.following, edges.starts)
    ring_sizes = np.diff(ring_starts, append=order.size)
    start = order[ring_starts]
    ring_label = nodes.quadrants[edges.node[start], edges.direction[start]]
    ring_order, ring_counts, labels = _group_rings(ring_label, edges.direction[start] == SOUTH)

    order = order.take(index_ranges(ring_starts[ring_order], ring_sizes[ring_order]))
    ring_sizes = ring_sizes[ring_order]
    first_rings = group_starts(ring_counts)
    polygon_starts = group_starts(np.add.reduceat(ring_sizes, first_rings))
    right = (edges.node.astype(np.int64) << 2) | ((edges.direction - 1) & 3)
    at_edge = nodes.quadrants.ravel().take(right) == 0
    perimeters = None
    if lengths is not None:
        measured = lengths.side_lengths(nodes.rows, nodes.columns, edges.node, edges.head)
        perimeters = np.add.reduceat(measured.take(order), group_starts(ring_sizes))[first_rings]
    corner = edges.node.take(order.take(index_ranges(group_starts(ring_sizes), ring_sizes + 1, close=True)))
    return Traced(
        labels=labels,
        ring_counts=ring_counts,
        ring_sizes=ring_sizes + 1,
        vertices=np.stack([nodes.rows, nodes.columns], axis=1).take(corner, axis=0),
        perimeters=perimeters,
        touches_edge=np.logical_or.reduceat(at_edge.take(order), polygon_starts),
        junctions=None if nodes.junctions is None else nodes.junctions.take(corner),
    )


@dataclass(frozen=True, slots=True)
class _HalfEdges:
    """The half-edges of the polygons that are traced, ordered by node and direction.

    Attributes:
        node: Node at which each begins, int32.
        direction: Its direction, int8.
        head: Node at which it ends, int32.
        following: Index of the next half-edge in its ring, int32.
        starts: Indices of half-edges at which a ring may begin, ascending, int32.
    """

    node: NDArray[np.int32]
    direction: NDArray[np.int8]
    head: NDArray[np.int32]
    following: NDArray[np.int32]
    starts: NDArray[np.int32]


def _half_edges(nodes: Nodes, ready: NDArray[np.bool_]) -> _HalfEdges:
    quadrants = nodes.quadrants
    exists = np.flatnonzero(ready & _differ(quadrants))
    direction = (exists & 3).astype(np.int8)
    node = (exists >> 2).astype(np.int32)
    head = _heads(nodes, node, direction)
    turned = _turns().take((_patterns(quadrants).take(head) << 2) | direction.view(np.uint8))
    number = np.zeros(quadrants.size, dtype=np.int32)
    number[exists] = np.arange(exists.size, dtype=np.int32)
    following = number.take((head.astype(np.int64) << 2) | turned)
    # A ring's first corner in row order is passed west-to-south (exterior) or north-to-east (hole).
    first = ((direction == WEST) & (turned == SOUTH)) | ((direction == NORTH) & (turned == EAST))
    return _HalfEdges(node, direction, head, following, np.sort(following[first]))


def _differ(quadrants: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell for each direction whether the pixels on its left and right belong to different polygons."""
    differ = np.empty(quadrants.shape, dtype=bool)
    flat = quadrants.ravel()
    np.not_equal(flat[1:], flat[:-1], out=differ.ravel()[1:])
    np.not_equal(quadrants[:, EAST], quadrants[:, SOUTH], out=differ[:, EAST])
    return differ


def _no_polygons(measured: bool) -> Traced:
    none = np.zeros(0, dtype=np.int64)
    return Traced(
        none.astype(np.int32),
        none,
        none,
        np.zeros((0, 2), dtype=np.int32),
        none if measured else None,
        none.astype(bool),
    )


def _heads(nodes: Nodes, node: NDArray[np.int32], direction: NDArray[np.int8]) -> NDArray[np.int32]:
    """Find the node at which each half-edge ends: the next one in its row or column.

    If nodes are grouped by polygon, the stable sort by column keeps those of one polygon together.
    """
    count = len(nodes)
    columns: NDArray[np.integer] = nodes.columns
    if count and int(columns.max()) < 2**16:
        columns = columns.astype(np.uint16)  # numpy sorts 16-bit integers by radix, many times faster
    by_column = np.argsort(columns, kind="stable").astype(np.int32)
    place = np.empty(count, dtype=np.int32)
    place[by_column] = np.arange(count, dtype=np.int32)
    head: NDArray[np.int32] = node + _ALONG_ROW.take(direction)
    upright = np.flatnonzero(direction & 1)
    along = _ALONG_COLUMN.take(direction.take(upright))
    head[upright] = by_column.take(place.take(node.take(upright)) + along)
    return head


_ALONG_ROW = np.array([1, 0, -1, 0], dtype=np.int32)  # east, north, west, south
_ALONG_COLUMN = np.array([0, -1, 0, 1], dtype=np.int32)


def _patterns(quadrants: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Encode which of the four pixels around each node belong together: six bits, one for each pair."""
    pattern = np.zeros(len(quadrants), dtype=np.uint8)
    columns = [np.ascontiguousarray(quadrants[:, place]) for place in range(4)]
    for bit, (one, other) in enumerate(_PAIRS):
        pattern |= (columns[one] == columns[other]).view(np.uint8) << np.uint8(bit)
    return pattern


_PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


@cache
def _turns() -> NDArray[np.int8]:
    """Tabulate the direction in which a boundary leaves a node, by pattern and by the direction of arrival.

    Turn right if the pixel ahead on the right belongs to the polygon, go straight on if only the one ahead on
    the left does, else turn left. At a corner where a polygon touches itself, turning right splits the ring,
    so that no ring passes a corner twice; what the polygon encloses becomes a hole that touches the exterior.
    """
    turns = np.empty((64, 4), dtype=np.int8)
    for pattern in range(64):
        alike = {pair for bit, pair in enumerate(_PAIRS) if pattern >> bit & 1}
        for direction in range(4):
            right, left = (direction - 1) & 3, (direction + 1) & 3
            ahead = (min(direction, left), max(direction, left))
            across = (min(right, left), max(right, left))
            turns[pattern, direction] = right if across in alike else direction if ahead in alike else left
    return turns.ravel()


def _cycles(
    following: NDArray[np.int32], starts: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Order the elements of a permutation by its cycles.

    Args:
        following: The permutation: the successor of each element.
        starts: Elements at which cycles may begin, ascending; among them the least of every cycle.

    Returns:
        The elements, cycle after cycle; and the offset of each cycle among them. A cycle begins with its
        least start, and the cycles are ordered by it.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import depth_first_order

    # scipy has no cycle finder, but its depth-first search runs in compiled code and linear time. Add a chain
    # of extra nodes, each linked first to one start and then to the next extra node: the search then visits
    # one cycle after the other.
    size, extra = following.size, starts.size
    indices = np.empty(size + 2 * extra, dtype=np.int32)
    indices[:size] = following
    indices[size::2] = starts
    indices[size + 1 :: 2] = size + 1 + np.arange(extra)
    pointers = np.empty(size + extra + 1, dtype=np.int32)
    pointers[:size] = np.arange(size)
    pointers[size:] = size + 2 * np.arange(extra + 1)
    pointers[-1] -= 1  # the last extra node leads no further
    graph = csr_array((np.ones(indices.size - 1), indices[:-1], pointers), shape=(size + extra, size + extra))
    visited = depth_first_order(graph, size, directed=True, return_predecessors=False)
    order: NDArray[np.int32] = visited[visited < size]
    begins = np.ones(size, dtype=bool)
    begins[1:] = following[order[:-1]] != order[1:]
    return order, np.flatnonzero(begins)


def _group_rings(
    ring_label: NDArray[np.int32], exterior: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Sort rings by polygon, the exterior first: it begins before its holes, and the sort is stable."""
    labels = ring_label[exterior]
    least = int(ring_label.min())
    rank = np.zeros(int(ring_label.max()) - least + 1, dtype=np.int64)
    rank[labels - least] = np.arange(labels.size)
    polygon = rank[ring_label - least]
    return np.argsort(polygon, kind="stable"), np.bincount(polygon, minlength=labels.size), labels
