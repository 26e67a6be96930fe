"""Simplify and smooth the borders of a whole map: ``--simplify`` and ``--smooth-borders``.

A border that two polygons share is changed once, so there are no gaps and no overlaps. Junctions stay in
place. The result does not depend on the order of work or on blocks: positions are integers, and every round
of changes depends only on the borders before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SettingsError
from geoseg.polygons.borders.arcs import Arcs, cut_arcs, end_position
from geoseg.polygons.borders.find_clashes import Junctions
from geoseg.polygons.borders.options import BorderOptions
from geoseg.polygons.borders.resolve_clashes import change_arcs
from geoseg.polygons.borders.rings import rebuild
from geoseg.polygons.borders.simplify_arcs import Simplifier
from geoseg.polygons.borders.smooth_arcs import Smoother
from geoseg.polygons.table.rows import Polygons
from geoseg.polygons.table.table import PolygonTable
from geoseg.progress import Progress
from geoseg.raster.ragged import index_ranges
from geoseg.units import Length

LEAST = Length(0.75, True)
"""Tolerance for simplifying borders before smoothing, if none is given."""


@dataclass(frozen=True, slots=True, eq=False)
class BorderChange:
    """How the borders of a map were changed.

    Attributes:
        moved: Upper bound on how far any point of a border was moved, in pixels or metres.
        in_pixels: Whether ``moved`` is in pixels; else in metres.
        vertices_before: Number of vertices of all polygons before the change.
        vertices: Number of vertices afterwards.
        pixels: Area of every polygon in pixels, float64.
    """

    moved: float
    in_pixels: bool
    vertices_before: int
    vertices: int
    pixels: NDArray[np.float64]


def change_borders(
    polygons: Polygons, borders: BorderOptions, folder: Path | None = None
) -> tuple[Polygons, BorderChange]:
    """Change the borders of all polygons of a map.

    Args:
        polygons: All polygons of the map, traced with junctions.
        borders: How to change them.
        folder: Folder for a temporary file of vertices; None for the system's.

    Returns:
        The same polygons with new borders, areas and perimeters; and a summary of the change.

    Raises:
        SettingsError: If the tolerance is in metres and the map has no size on the Earth.
    """
    tolerance = borders.tolerance or LEAST
    in_pixels = polygons.pixel_sizes is None
    if in_pixels and not tolerance.in_pixels:
        raise SettingsError(
            "the map has no CRS that ties it to the Earth, so its borders have no length in metres; "
            "give the tolerance in pixels, as in 2px"
        )
    if polygons.shape is None:
        raise ValueError("the polygons were traced without junctions")
    if len(polygons) == 0:
        return polygons, BorderChange(0.0, in_pixels, 0, 0, np.zeros(0))
    arcs = cut_arcs(polygons)
    junctions = Junctions(arcs.tails, arcs.heads)
    metres = _scale(arcs, polygons)
    scale = np.ones_like(metres) if tolerance.in_pixels else metres
    smaller = _smaller_polygons(arcs, polygons)
    shapes = change_arcs(Simplifier(arcs, polygons.shape, tolerance.amount, scale, smaller), junctions)
    moved = shapes.moved
    if borders.rounds:
        reach = max(tolerance.amount, 2.0 * float(scale.max()))
        smoother = Smoother(shapes.lines, arcs.islands, polygons.shape, borders.rounds, reach, scale)
        shapes = change_arcs(smoother, junctions)
        moved = moved + shapes.moved
    new, pixels = rebuild(polygons, arcs, shapes.lines, folder)
    if tolerance.in_pixels:
        moved = moved * metres.max(axis=1)
    before, after = int(polygons.columns.vertices.sum()), int(new.columns.vertices.sum())
    return new, BorderChange(float(moved.max()), in_pixels, before, after, pixels)


def change_table(
    table: PolygonTable, borders: BorderOptions, folder: Path, progress: Progress
) -> tuple[PolygonTable, dict[str, Any] | None]:
    """Change the borders of a map, and summarise the change for the report.

    Args:
        table: All polygons of the map; traced with junctions if ``borders`` ask for a change.
        borders: How to change them.
        folder: Folder for a temporary file of vertices.
        progress: Receives a line that sums up the change.

    Returns:
        The table with the new borders; and the report's entry, None if there was nothing to do.
    """
    if not borders:
        return table, None
    table = replace(table, polygons=table.polygons.load())
    polygons, change = change_borders(table.polygons.load(), borders, folder)
    new = replace(table, polygons=polygons, provenance=dict(table.provenance) | borders.tags())
    content = _describe(table, new, borders, change)
    progress.say(_line(content))
    return new, content


def _scale(arcs: Arcs, polygons: Polygons) -> NDArray[np.float64]:
    """Return the metres per row and per column at each arc; 1 if the map has no size on the Earth."""
    if polygons.pixel_sizes is None:
        return np.ones((len(arcs), 2))
    return polygons.pixel_sizes.metres_at(np.stack(end_position(arcs.tails), axis=1).astype(np.float64))


def _smaller_polygons(arcs: Arcs, polygons: Polygons) -> NDArray[np.int64]:
    """Return the number of pixels of the smaller polygon beside each arc, int64."""
    columns = polygons.columns
    pixels = np.empty(polygons.ring_sizes.size, dtype=np.int64)
    pixels[index_ranges(columns.first_ring, columns.rings)] = np.repeat(columns.pixels, columns.rings)
    smaller = np.full(len(arcs), np.iinfo(np.int64).max)
    np.minimum.at(smaller, arcs.arc, np.repeat(pixels, arcs.parts))
    return smaller


def _describe(
    table: PolygonTable, new: PolygonTable, borders: BorderOptions, change: BorderChange
) -> dict[str, Any]:
    """Summarise the change for the report: vertices, the farthest move, and the area change of each class."""
    columns, before, after = table.polygons.load().columns, table.areas_ha(), new.areas_ha()
    classes: list[dict[str, Any]] = []
    for item in table.legend:
        mine = columns.class_ids == item.id
        pixels = int(columns.pixels[mine].sum())
        if pixels == 0:
            continue
        gained = None
        if before is not None and after is not None:
            gained = float((after[mine] - before[mine]).sum())
        classes.append(
            {
                "id": item.id,
                "name": item.name,
                "area_change_ha": gained,
                "area_change_percent": 100.0 * float(change.pixels[mine].sum() - pixels) / pixels,
            }
        )
    return borders.to_json() | {
        "vertices_before": change.vertices_before,
        "vertices": change.vertices,
        "moved_at_most_px" if change.in_pixels else "moved_at_most_m": change.moved,
        "classes": classes,
    }


def _line(content: dict[str, Any]) -> str:
    count, asked = content["vertices"], content["simplify"]
    if 0 < count == content["vertices_before"] and asked and not content["smooth_borders"]:
        return (
            f"borders: --simplify {asked} removes none of the {count:,} vertices; to turn staircases of "
            "pixels into lines, use at least 0.75 pixels, as in 2px"
        )
    unit = "px" if "moved_at_most_px" in content else "m"
    line = (
        f"borders: {content['vertices_before']:,} vertices became {count:,}; "
        f"no point moved by more than {content[f'moved_at_most_{unit}']:.1f} {unit}"
    )
    if not content["classes"]:
        return line
    worst = max(content["classes"], key=lambda row: abs(row["area_change_percent"]))
    return f"{line}; {worst['name']} changed most in area, by {worst['area_change_percent']:+.2f} %"
