"""Simpler and rounder borders in a run: the settings, and what is told of the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.errors import SettingsError
from geoseg.polygons.borders.simplify import MAX_ROUNDS, BorderChange, Borders, change_borders
from geoseg.polygons.table.table import PolygonTable
from geoseg.progress import Progress
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.scene import Scene
from geoseg.units import parse_length


def borders_of(simplify: str | None, smooth_borders: int | None) -> Borders | None:
    """What is to become of borders; None if they stay as they are.

    Args:
        simplify: Tolerance: ``"10m"``, ``"2px"``.
        smooth_borders: How often corners are cut.

    Raises:
        SettingsError: If one of them cannot be used.
    """
    rounds = smooth_borders or 0
    if not 0 <= rounds <= MAX_ROUNDS:
        raise SettingsError(f"--smooth-borders {rounds}: corners can be cut 1 to {MAX_ROUNDS} times")
    tolerance = None if simplify is None else parse_length(simplify, "--simplify")
    return None if tolerance is None and rounds == 0 else Borders(tolerance, rounds)


def check_borders(borders: Borders | None, polygons: Path | None, scene: Scene) -> None:
    """Refuse before any work what could not be done after it.

    Raises:
        SettingsError: If no polygons are asked for, or the tolerance is in metres and the scene has none.
    """
    if borders is None:
        return
    if polygons is None:
        raise SettingsError("--simplify and --smooth-borders change polygons; give --polygons OUT.gpkg too")
    place = scene.georeference
    in_metres = borders.tolerance is not None and not borders.tolerance.in_pixels
    if in_metres and measure_pixel_sizes(place.crs, place.transform, scene.shape) is None:
        raise SettingsError(
            f"{scene.name} has no CRS that ties it to the Earth, so --simplify cannot count metres; "
            "give pixels, as in 2px"
        )


def borders_to_json(borders: Borders | None) -> dict[str, Any]:
    """The settings as the report holds them."""
    tolerance = None if borders is None else borders.tolerance
    return {
        "simplify": None if tolerance is None else str(tolerance),
        "smooth_borders": 0 if borders is None else borders.rounds,
    }


def border_tags(borders: Borders | None) -> dict[str, str]:
    """What changed borders add to the provenance of polygons."""
    found = {}
    if borders is not None and borders.tolerance is not None:
        found["GEOSEG_SIMPLIFY"] = str(borders.tolerance)
    if borders is not None and borders.rounds:
        found["GEOSEG_SMOOTH_BORDERS"] = str(borders.rounds)
    return found


def with_borders(
    table: PolygonTable, borders: Borders | None, folder: Path, progress: Progress
) -> tuple[PolygonTable, dict[str, Any] | None]:
    """Change the borders of a map and say what that did.

    Args:
        table: All polygons of the map, traced with junctions if ``borders`` is not None.
        borders: What to do; None for nothing.
        folder: Where vertices wait in a nameless temporary file.
        progress: Is told one line.

    Returns:
        The table with the new borders; and what the report says of them, None if nothing was done.
    """
    if borders is None:
        return table, None
    table = replace(table, polygons=table.polygons.load())
    polygons, change = change_borders(table.polygons.load(), borders, folder)
    new = replace(table, polygons=polygons, provenance=dict(table.provenance) | border_tags(borders))
    content = _describe(table, new, borders, change)
    progress.say(_line(content))
    return new, content


def _describe(
    table: PolygonTable, new: PolygonTable, borders: Borders, change: BorderChange
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
    return borders_to_json(borders) | {
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
