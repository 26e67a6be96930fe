"""Trace the polygons of a finished class map, block by block."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from geoseg.classes import LandClass, complete_legend
from geoseg.errors import SceneError, SettingsError
from geoseg.grid import Window, tiles
from geoseg.maps.class_map_file import DATE_TAG, ClassMapFile
from geoseg.omissions import Omission
from geoseg.polygons.builder import MapToTrace, TableBuilder
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.trace.block import BlockValues, TracedBlock
from geoseg.polygons.zonal.statistics import Zonal
from geoseg.progress import Progress, Silent
from geoseg.system.cpu import in_order

BLOCK_SIZE = 1024
MAX_BLOCK_SIZE = 8192
"""Larger blocks would cost memory and save no time."""
_KEPT_TAGS = ("GEOSEG_", DATE_TAG)


def trace_class_map(
    class_map: ClassMapFile,
    *,
    legend: Sequence[LandClass] | None = None,
    date: str | datetime.date | None = None,
    block_size: int | None = None,
    folder: Path | None = None,
    junctions: bool = False,
    zonal: Zonal | None = None,
    workers: int | None = None,
    check: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> PolygonTable:
    """Trace all polygons of a map: one row for every 4-connected component of a class.

    Args:
        class_map: The map; its confidence and probabilities fill columns where it has them.
        legend: The classes; default those that the map's file names. Unnamed ones become "class 7".
        date: Acquisition date, ``YYYY-MM-DD``; default the map's tag ``ACQUISITION_DATE``.
        block_size: Side of a block in pixels; changes memory and time, never the result.
        folder: Where polygons wait in temporary files; default the system's folder for such files.
        junctions: Record at which vertices more than two boundaries meet, which ``change_borders`` needs.
        zonal: Statistics of other rasters to compute over the pixels of every polygon.
        workers: Blocks that are read and traced at once, each in a thread; default one per core. Changes
            memory and time, never the result.
        check: Called with the number of vertices of a large polygon before it is assembled; may raise.
        progress: Shows the blocks that are done.

    Returns:
        All polygons, ordered by their first pixel.

    Raises:
        SceneError: If the map or a raster given with it cannot be read or does not fit.
        SettingsError: If the block size is wrong, or ``date`` is no date.
    """
    require_coordinates(class_map)
    day = date_of_map(class_map) if date is None else parse_date(date)
    tags = {key: value for key, value in class_map.tags.items() if key.startswith(_KEPT_TAGS)}
    if date is not None and day is not None:
        tags[DATE_TAG] = day.isoformat()
    known = class_map.legend if legend is None else complete_legend(legend, ())
    beside = {"confidence": class_map.confidence, "probabilities": class_map.probabilities}
    source = MapToTrace(
        shape=class_map.shape,
        crs=class_map.georeference.map_crs,
        transform=class_map.transform,
        origin=class_map.origin,
        classes=known,
        date=day,
        provenance=tags,
        bands=class_map.band_classes(known),
        colors=class_map.colors,
        without=[name for name, raster in beside.items() if raster is None],
    )
    builder = TableBuilder(source, folder, junctions=junctions, zonal=zonal, check=check)
    progress = progress or Silent()
    windows = list(tiles(class_map.shape, resolve_block_size(block_size)))

    def trace(window: Window) -> TracedBlock:
        return builder.trace(_read_block(class_map, window, builder.zonal))

    with (
        progress.stage("tracing polygons", len(windows), "blocks") as bar,
        closing(in_order(trace, windows, workers)) as traced_blocks,
    ):
        for traced in traced_blocks:
            builder.add(traced)
            bar.advance(1)
    return builder.finish()


def require_coordinates(class_map: ClassMapFile) -> None:
    """Refuse a map whose polygons would have no coordinates.

    Raises:
        SceneError: Saying what to do.
    """
    place, transform = class_map.georeference, class_map.transform
    if place.transform is None and (place.gcps or place.rpcs):
        raise SceneError(
            f"{class_map.path} is placed by control points, so its polygons have no coordinates; "
            "make the map with --warp, or warp it with gdalwarp"
        )
    if transform is not None and transform.determinant == 0:
        raise SceneError(f"{class_map.path} has a transform that flattens every pixel; set a right one")


def resolve_block_size(block_size: int | None) -> int:
    """Return the block size to use: the default, or the given one, at most ``MAX_BLOCK_SIZE``.

    Raises:
        SettingsError: If it is below 1.
    """
    if block_size is not None and block_size < 1:
        raise SettingsError(f"the block size must be at least 1, not {block_size}")
    return min(block_size or BLOCK_SIZE, MAX_BLOCK_SIZE)


def parse_date(date: str | datetime.date | None) -> datetime.date | None:
    """Read an acquisition date; of a date with a time keep the day.

    Raises:
        SettingsError: If it is not an ISO date.
    """
    if isinstance(date, datetime.datetime):
        return date.date()
    if date is None or isinstance(date, datetime.date):
        return date
    try:
        return datetime.datetime.fromisoformat(date.strip()).date()
    except ValueError:
        raise SettingsError(f'"{date}" is not a date; write it as 2024-07-31') from None


def date_of_map(class_map: ClassMapFile) -> datetime.date | None:
    """Read the acquisition date in a map's tag; None if there is none, or what stands there is no date."""
    try:
        return parse_date(class_map.tags.get(DATE_TAG))
    except SettingsError:
        return None


def lost_dates(class_map: ClassMapFile) -> list[Omission]:
    """List the tag of a map that stands for a date but is none."""
    said = class_map.tags.get(DATE_TAG)
    if said is None or date_of_map(class_map) is not None:
        return []
    reason = f'the tag {DATE_TAG}, "{said[:40]}", is no date that geoseg reads (YYYY-MM-DD)'
    return [Omission("dates", class_map.path, 1, 1, "dates", reason, "give one with --date", refuses=False)]


def _read_block(class_map: ClassMapFile, window: Window, zonal: Zonal | None) -> BlockValues:
    """Read all rasters in a block; any thread may call this."""
    return BlockValues(
        window.row,
        window.col,
        class_map.read(window),
        None if class_map.confidence is None else class_map.read_confidence(window),
        None if class_map.probabilities is None else class_map.read_probabilities(window),
        None if zonal is None else zonal.read(window.row, window.col, window.height, window.width),
    )
