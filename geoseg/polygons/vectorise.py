"""Trace the polygons of a finished class map, block by block."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from geoseg.classes import NODATA, LandClass, complete_legend
from geoseg.errors import SceneError, SettingsError
from geoseg.grid import Window
from geoseg.maps.class_map_file import DATE_TAG, ClassMapFile
from geoseg.polygons.provenance import table_provenance
from geoseg.polygons.table.store import PolygonStore
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.trace.block import BlockValues, TracedBlock, trace_block
from geoseg.polygons.trace.trace import Tracer
from geoseg.polygons.zonal.statistics import Zonal, with_steps
from geoseg.system.threads import in_order

BLOCK_SIZE = 1024
MAX_BLOCK_SIZE = 8192
"""Larger blocks are cut down to this: they would only cost memory."""
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
    progress: Callable[[], None] | None = None,
) -> PolygonTable:
    """Trace all polygons of a map: one row for every 4-connected patch of a class.

    Args:
        class_map: The map; its confidence and probabilities fill columns where it has them.
        legend: The classes; default what the map's file says. Others are called "class 7".
        date: Acquisition date, ``YYYY-MM-DD``; default the map's tag ``ACQUISITION_DATE``.
        block_size: Side of a block in pixels; changes memory and time, never the answer.
        folder: Where polygons wait in nameless temporary files; default the system's place.
        junctions: Keep what ``change_borders`` needs.
        zonal: Statistics of other rasters to compute over the pixels of every polygon.
        workers: Blocks that are read and traced at once, each in a thread; default one a core. Changes memory
            and time, never the answer.
        check: Told the vertices of a large polygon before it is put together; may raise an error.
        progress: Called after every block.

    Returns:
        All polygons, ordered by their first pixel.

    Raises:
        SceneError: If the map or a raster given with it cannot be used.
        SettingsError: If the date or the block size cannot be used.
    """
    require_coordinates(class_map)
    day = parse_date(date if date is not None else class_map.tags.get(DATE_TAG))
    known = class_map.legend if legend is None else complete_legend(legend, ())
    pixel_sizes, shape = class_map.pixel_sizes(), class_map.shape
    zonal = None if zonal is None else with_steps(zonal, shape)
    store = PolygonStore(np.array(class_map.band_classes(known), dtype=np.uint8), folder)
    tracer = Tracer(shape, pixel_sizes, store, junctions=junctions, folder=folder, check=check)
    seen = np.zeros(256, dtype=bool)

    def work(window: Window) -> TracedBlock:
        return trace_block(_read_block(class_map, window, zonal), shape, pixel_sizes, junctions=junctions)

    with closing(in_order(work, _blocks(shape, resolve_block_size(block_size)), workers)) as blocks:
        for traced in blocks:
            tracer.add_traced(traced)
            seen[traced.class_ids] = True
            if progress is not None:
                progress()
    polygons = store.finish_on_disk(pixel_sizes, class_map.transform, class_map.origin, shape)
    seen[NODATA] = False
    classes = complete_legend(known, np.flatnonzero(seen).tolist(), colors=class_map.colors)
    tags = {key: value for key, value in class_map.tags.items() if key.startswith(_KEPT_TAGS)}
    if date is not None and day is not None:
        tags[DATE_TAG] = day.isoformat()
    given = {"confidence": class_map.confidence, "probabilities": class_map.probabilities}
    without = [name for name, source in given.items() if source is None]
    made_by = table_provenance(tags, zonal=zonal, without=without)
    return PolygonTable(polygons, classes, class_map.georeference.crs, day, made_by, zonal)


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


def n_blocks(shape: tuple[int, int], block_size: int | None) -> int:
    """Count the blocks that a map is traced in."""
    size = resolve_block_size(block_size)
    return -(-shape[0] // size) * -(-shape[1] // size)


def resolve_block_size(block_size: int | None) -> int:
    """Give the block size to use.

    Raises:
        SettingsError: If it is below 1.
    """
    if block_size is not None and block_size < 1:
        raise SettingsError(f"the block size must be at least 1, not {block_size}")
    return min(block_size or BLOCK_SIZE, MAX_BLOCK_SIZE)


def parse_date(date: str | datetime.date | None) -> datetime.date | None:
    """Read an acquisition date; of a moment in time only the day is kept.

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


def _blocks(shape: tuple[int, int], size: int) -> Iterator[Window]:
    """Yield the blocks from left to right and from top to bottom."""
    rows, columns = shape
    for row in range(0, rows, size):
        for column in range(0, columns, size):
            yield Window(row, column, min(size, rows - row), min(size, columns - column))


def _read_block(class_map: ClassMapFile, window: Window, zonal: Zonal | None) -> BlockValues:
    """Read everything in a block, from any thread."""
    return BlockValues(
        window.row,
        window.col,
        class_map.read(window),
        None if class_map.confidence is None else class_map.read_confidence(window),
        None if class_map.probabilities is None else class_map.read_probabilities(window),
        None if zonal is None else zonal.read(window.row, window.col, window.height, window.width),
    )
