"""Simpler and rounder borders for a whole map: what ``--simplify`` and ``--smooth-borders`` do.

Borders are moved, not polygons: a border that two polygons share is changed once, so there is no gap and no
overlap. Junctions stay where they are. Nothing depends on the order of work or on blocks: positions are
integers, and every round of changes is decided by the borders as they were before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SettingsError
from geoseg.polygons.borders.arcs import Arcs, cut_arcs, end_position
from geoseg.polygons.borders.clashes import Junctions
from geoseg.polygons.borders.options import BorderOptions
from geoseg.polygons.borders.rings import rebuild
from geoseg.polygons.borders.rounds import settle
from geoseg.polygons.borders.simplify_arcs import Simplifier
from geoseg.polygons.borders.smooth_arcs import Smoother
from geoseg.polygons.table.rows import Polygons
from geoseg.polygons.table.table import PolygonTable
from geoseg.progress import Progress
from geoseg.raster.ragged import index_ranges
from geoseg.units import Length

LEAST = Length(0.75, True)
"""The tolerance by which borders are simplified before they are smoothed, where none is given."""


@dataclass(frozen=True, slots=True, eq=False)
class BorderChange:
    """What became of the borders of a map.

    Attributes:
        moved: No point of a border was moved farther than this, in pixels or metres.
        in_pixels: Whether ``moved`` counts pixels; else metres.
        vertices_before: Vertices of all polygons before.
        vertices: Vertices of all polygons.
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
        polygons: All polygons of the map, none left out, traced with junctions.
        borders: What to do.
        folder: Where vertices wait in a nameless temporary file; None for the system's place.

    Returns:
        The same polygons with new borders, areas and perimeters; and what was changed.

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
    shapes = settle(Simplifier(arcs, polygons.shape, tolerance.amount, scale, smaller), junctions)
    moved = shapes.moved
    if borders.rounds:
        reach = max(tolerance.amount, 2.0 * float(scale.max()))
        smoother = Smoother(shapes.lines, arcs.islands, polygons.shape, borders.rounds, reach, scale)
        shapes = settle(smoother, junctions)
        moved = moved + shapes.moved
    new, pixels = rebuild(polygons, arcs, shapes.lines, folder)
    if tolerance.in_pixels:
        moved = moved * metres.max(axis=1)
    before, after = int(polygons.columns.vertices.sum()), int(new.columns.vertices.sum())
    return new, BorderChange(float(moved.max()), in_pixels, before, after, pixels)


def change_table(
    table: PolygonTable, borders: BorderOptions, folder: Path, progress: Progress
) -> tuple[PolygonTable, dict[str, Any] | None]:
    """Change the borders of a map and say what that did.

    Args:
        table: All polygons of the map, traced with junctions if ``borders`` ask for a change.
        borders: What to do.
        folder: Where vertices wait in a nameless temporary file.
        progress: Is told one line.

    Returns:
        The table with the new borders; and what the report says of them, None if nothing was done.
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
    """Metres a row and a column at each arc; 1 where the map has no size on the Earth."""
    if polygons.pixel_sizes is None:
        return np.ones((len(arcs), 2))
    return polygons.pixel_sizes.metres_at(np.stack(end_position(arcs.tails), axis=1).astype(np.float64))


def _smaller_polygons(arcs: Arcs, polygons: Polygons) -> NDArray[np.int64]:
    """Pixels of the smaller polygon beside each arc, int64."""
    columns = polygons.columns
    pixels = np.empty(polygons.ring_sizes.size, dtype=np.int64)
    pixels[index_ranges(columns.first_ring, columns.rings)] = np.repeat(columns.pixels, columns.rings)
    smaller = np.full(len(arcs), np.iinfo(np.int64).max)
    np.minimum.at(smaller, arcs.arc, np.repeat(pixels, arcs.parts))
    return smaller


def _describe(
    table: PolygonTable, new: PolygonTable, borders: BorderOptions, change: BorderChange
) -> dict[str, Any]:
    """Vertices, the farthest move, and what every class gained or lost."""
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
            f"borders: --simplify {asked} leaves all {count:,} vertices; staircases of pixels become lines "
            "from 0.75 pixels on, as with 2px"
        )
    unit = "px" if "moved_at_most_px" in content else "m"
    line = (
        f"borders: {content['vertices_before']:,} vertices became {count:,}; "
        f"no point moved more than {content[f'moved_at_most_{unit}']:.1f} {unit}"
    )
    if not content["classes"]:
        return line
    worst = max(content["classes"], key=lambda row: abs(row["area_change_percent"]))
    return f"{line}; {worst['name']} changed most in area, by {worst['area_change_percent']:+.2f} %"
