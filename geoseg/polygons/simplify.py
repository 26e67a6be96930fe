"""Simpler borders for a whole map: what ``--simplify`` and ``--smooth-borders`` do.

Borders are moved, not polygons: a border that two polygons share is changed once, so there is no gap and no
overlap. Junctions stay where they are. Nothing depends on the order of work or on blocks: positions are
integers, and every round of changes is decided by the borders as they were before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SettingsError
from geoseg.polygons.arcs import Arcs, cut_arcs, end_position
from geoseg.polygons.groups import spread
from geoseg.polygons.simplify_arcs import Simplifier
from geoseg.polygons.simplify_clashes import Junctions
from geoseg.polygons.simplify_rings import rebuild
from geoseg.polygons.simplify_rounds import settle
from geoseg.polygons.store import Polygons
from geoseg.polygons.table import PolygonTable
from geoseg.polygons.units import Length


@dataclass(frozen=True, slots=True)
class BorderChange:
    """What became of the borders of a map.

    Attributes:
        moved: No point of a border was moved farther than this, in pixels or metres.
        in_pixels: Whether ``moved`` counts pixels; else metres.
        vertices_before: Vertices of all polygons before.
        vertices: Vertices of all polygons.
    """

    moved: float
    in_pixels: bool
    vertices_before: int
    vertices: int


def simplify(
    table: PolygonTable, shape: tuple[int, int], tolerance: Length, folder: Path | None = None
) -> tuple[PolygonTable, BorderChange]:
    """Simplify the borders of all polygons of a map.

    Args:
        table: All polygons of the map, none left out, traced with junctions.
        shape: Rows and columns of the map.
        tolerance: No point of a border is moved farther than this.
        folder: Where vertices wait in a nameless temporary file; None for the system's place.

    Returns:
        The same rows with simpler borders and their areas and perimeters, and what was changed.

    Raises:
        SettingsError: If the tolerance is in metres and the map has no size on the Earth.
    """
    polygons = table.polygons
    before = int(polygons.columns.vertices.sum())
    if len(polygons) == 0:
        return table, BorderChange(0.0, tolerance.in_pixels, 0, 0)
    if polygons.surface is None and not tolerance.in_pixels:
        raise SettingsError(
            "the map has no CRS that ties it to the Earth, so its borders have no length in metres; "
            "give the tolerance in pixels, as in 2px"
        )
    arcs = cut_arcs(polygons)
    scale, smaller = _scale(arcs, polygons, tolerance), smaller_polygons(arcs, polygons)
    simplifier = Simplifier(arcs, shape, tolerance.amount, scale, smaller)
    shapes = settle(simplifier, Junctions(arcs.tails, arcs.heads))
    simple = rebuild(polygons, arcs, shapes.lines, folder)
    change = BorderChange(
        float(shapes.moved.max()), tolerance.in_pixels, before, int(simple.columns.vertices.sum())
    )
    return replace(table, polygons=simple), change


def _scale(arcs: Arcs, polygons: Polygons, tolerance: Length) -> NDArray[np.float64]:
    """Size of rows and columns at each arc, in the unit of the tolerance."""
    if tolerance.in_pixels or polygons.surface is None:
        return np.ones((len(arcs), 2))
    return polygons.surface.pixel_sides(np.stack(end_position(arcs.tails), axis=1).astype(np.float64))


def smaller_polygons(arcs: Arcs, polygons: Polygons) -> NDArray[np.int64]:
    """Pixels of the smaller polygon beside each arc, int64."""
    columns = polygons.columns
    pixels = np.empty(polygons.ring_sizes.size, dtype=np.int64)
    pixels[spread(columns.first_ring, columns.rings)] = np.repeat(columns.pixels, columns.rings)
    smaller = np.full(len(arcs), np.iinfo(np.int64).max)
    np.minimum.at(smaller, arcs.arc, np.repeat(pixels, arcs.parts))
    return smaller
