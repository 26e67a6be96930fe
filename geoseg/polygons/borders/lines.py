"""Fewer vertices for many lines at once: the rule of Douglas and Peucker, one depth of all lines at a time.

A line is replaced by the straight piece between its ends. Where a vertex lies farther than the tolerance from
the piece, the farthest one stays and both halves are treated alike (D. Douglas and T. Peucker, 1973).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.groups import group_starts, spread


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Positions in which lengths are measured.

    Attributes:
        rows: float64.
        columns: float64.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]


def farthest(
    plane: Plane, tails: NDArray[np.int64], heads: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The vertex that lies farthest from the straight piece between two others, of those between them.

    Args:
        plane: Positions of the vertices.
        tails: Index of the vertex each piece begins at.
        heads: Index of the one it ends at, at least ``tails + 2``.

    Returns:
        Index of the first of the farthest vertices, int64; its squared distance, float64.
    """
    counts = heads - tails - 1
    groups = group_starts(counts)
    inner = spread(tails + 1, counts)
    row, column = plane.rows[tails], plane.columns[tails]
    down, across = plane.rows[heads] - row, plane.columns[heads] - column
    length = down * down + across * across
    inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)

    piece = np.repeat(np.arange(tails.size), counts)
    r = plane.rows[inner]
    r -= row[piece]
    c = plane.columns[inner]
    c -= column[piece]
    d, a = down[piece], across[piece]
    along = r * d
    along += c * a
    along *= inverse[piece]
    np.clip(along, 0.0, 1.0, out=along)
    d *= along
    a *= along
    r -= d
    c -= a
    r *= r
    c *= c
    r += c
    most: NDArray[np.float64] = np.maximum.reduceat(r, groups)
    hits = np.flatnonzero(r == most[piece])
    first = hits[np.searchsorted(hits, groups)]
    return inner[first], most


def simplify_lines(
    plane: Plane,
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    depth: NDArray[np.int64],
    fixed: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which vertices of lines stay.

    Args:
        plane: Positions of the vertices, in multiples of the tolerance: no vertex that goes is farther than 1
            from the piece that replaces it.
        starts: First vertex of each line.
        sizes: Vertices of each line, at least two.
        depth: How often each line is halved whatever the distances, if it has the vertices.
        fixed: Vertices that stay.

    Returns:
        bool, one a vertex.
    """
    kept = fixed.copy()
    kept[starts] = True
    kept[starts + sizes - 1] = True
    ends = np.zeros(kept.size, dtype=bool)
    ends[starts + sizes - 1] = True
    at = np.flatnonzero(kept)
    tails = at[~ends[at]]
    heads = at[np.flatnonzero(~ends[at]) + 1]
    must = np.repeat(depth, np.add.reduceat(kept, starts, dtype=np.int64) - 1)
    while tails.size:
        long = heads - tails > 1
        tails, heads, must = tails[long], heads[long], must[long]
        if tails.size == 0:
            break
        middle, distance = farthest(plane, tails, heads)
        split = (distance > 1.0) | (must > 0)
        middle = middle[split]
        kept[middle] = True
        tails = np.stack([tails[split], middle], axis=1).ravel()
        heads = np.stack([middle, heads[split]], axis=1).ravel()
        must = np.repeat(must[split] - 1, 2)
    return kept
