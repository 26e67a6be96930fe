"""Rebuild polygons from changed arcs: their rings, areas and perimeters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RunError
from geoseg.files import scratch_file
from geoseg.polygons.borders.arcs import Arcs, Lines
from geoseg.polygons.borders.areas import doubled_areas
from geoseg.polygons.borders.staircases import STEPS
from geoseg.polygons.table.rows import Polygons
from geoseg.raster.pixel_sizes import PixelSizes
from geoseg.raster.ragged import group_starts, index_ranges

PORTION = 2**19
"""Vertices of rings assembled at once."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rings:
    """Rings assembled from arcs, in a file.

    Attributes:
        sizes: Number of vertices of each ring, the first one repeated at the end, int64.
        areas: Doubled area of each in squared steps, positive for exteriors, negative for holes, int64.
        file: The vertices in steps, int32 pairs of row and column.
    """

    sizes: NDArray[np.int64]
    areas: NDArray[np.int64]
    file: IO[bytes]


def rebuild(
    polygons: Polygons, arcs: Arcs, lines: Lines, folder: Path | None
) -> tuple[Polygons, NDArray[np.float64]]:
    """Rebuild the polygons of a map with changed borders.

    The new area is the planar area times the mean ellipsoidal area of the polygon's pixels. The new perimeter
    is measured on the ellipsoid along the new exterior.

    Args:
        polygons: All polygons of the map.
        arcs: Their arcs.
        lines: The new line of each arc, in steps.
        folder: Folder for a temporary file of vertices; None for the system's.

    Returns:
        The polygons in the same order; and the area of each in planar pixels, float64.

    Raises:
        RunError: If a ring was turned inside out.
    """
    rings = _write_rings(arcs, lines, folder)
    columns = polygons.columns
    members = index_ranges(columns.first_ring, columns.rings)
    firsts = group_starts(columns.rings)
    exterior = np.zeros(members.size, dtype=bool)
    exterior[firsts] = True
    if ((rings.areas[members] > 0) != exterior).any():
        raise RunError("a polygon was turned inside out; use a smaller tolerance, and please report it")
    pixels = np.add.reduceat(rings.areas[members], firsts) / (2.0 * STEPS**2)
    vertices = np.add.reduceat(rings.sizes[members], firsts)
    areas = None
    if columns.areas is not None:
        areas = np.rint(pixels * (columns.areas / columns.pixels)).astype(np.int64)
    perimeters = None
    if polygons.pixel_sizes is not None:
        along = line_lengths(lines, polygons.pixel_sizes)[arcs.arc]
        perimeters = np.add.reduceat(along, group_starts(arcs.parts))[columns.first_ring]
    changed = replace(
        columns,
        vertices=vertices,
        first_vertex=group_starts(rings.sizes)[columns.first_ring],
        areas=areas,
        perimeters=perimeters,
    )
    new = replace(
        polygons, columns=changed, ring_sizes=rings.sizes, file=rings.file, junctions=None, steps=STEPS
    )
    return new, pixels


def line_lengths(lines: Lines, pixel_sizes: PixelSizes) -> NDArray[np.int64]:
    """Measure each line on the ellipsoid, in the unit of the pixel sizes."""
    heads = np.ones(len(lines.points), dtype=bool)
    heads[lines.starts] = False
    at = np.flatnonzero(heads)
    lengths = np.zeros(len(lines.points), dtype=np.int64)
    lengths[at] = pixel_sizes.ellipsoidal_lengths(lines.points[at - 1] / STEPS, lines.points[at] / STEPS)
    return np.asarray(np.add.reduceat(lengths, lines.starts))


def _write_rings(arcs: Arcs, lines: Lines, folder: Path | None) -> _Rings:
    file = scratch_file(folder)
    first_parts = group_starts(arcs.parts)
    sizes = np.add.reduceat(lines.sizes[arcs.arc] - 1, first_parts) + 1
    portion = (np.cumsum(sizes) - 1) // PORTION
    edges = [0, *(np.flatnonzero(np.diff(portion)) + 1).tolist(), sizes.size]
    starts = lines.starts
    areas = [np.zeros(0, dtype=np.int64)]
    for begin, end in pairwise(edges):
        parts = slice(first_parts[begin], first_parts[end - 1] + arcs.parts[end - 1])
        arc, against = arcs.arc[parts], arcs.against[parts]
        counts = lines.sizes[arc] - 1
        # Take all vertices of every part except the last one, in the direction of the ring.
        at = index_ranges(np.zeros(arc.size, dtype=np.int64), counts)
        at *= np.repeat(np.where(against, -1, 1), counts)
        at += np.repeat(starts[arc] + np.where(against, counts, 0), counts)
        ends = np.cumsum(sizes[begin:end]) - 1
        inner = np.ones(int(ends[-1]) + 1, dtype=bool)
        inner[ends] = False
        order = np.empty(inner.size, dtype=np.int64)
        order[inner] = at
        order[ends] = order[ends - sizes[begin:end] + 1]
        rings = Lines(lines.points.take(order, axis=0), sizes[begin:end])
        areas.append(doubled_areas(rings))
        file.write(rings.points.data)
    file.flush()
    return _Rings(sizes, np.concatenate(areas), file)
