"""From the finished rasters of a map to its polygons, and the class areas they add up to."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from geoseg.classes import NODATA, LandClass, complete_legend
from geoseg.errors import SettingsError
from geoseg.grid import Window
from geoseg.polygons.provenance import table_provenance
from geoseg.polygons.rasters import DATE_TAG, MapRasters, resolve_block_size
from geoseg.polygons.table.store import PolygonStore
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.trace.block import TracedBlock, trace_block
from geoseg.polygons.trace.trace import Tracer
from geoseg.polygons.zonal.zonal import Zonal, with_steps
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.system.threads import in_order

Progress = Callable[[int, int], None]
"""Called after every block with the blocks done and all blocks."""
_KEPT_TAGS = ("GEOSEG_", DATE_TAG)


@dataclass(frozen=True, slots=True)
class ClassArea:
    """How much of a map is one class.

    Attributes:
        id: Class id.
        pixels: Number of pixels.
        area_ha: Ellipsoidal area in hectares, exactly the sum over the class's polygons; None without a CRS.
    """

    id: int
    pixels: int
    area_ha: float | None


def polygons_from_maps(
    class_map: str | PathLike[str],
    *,
    confidence: str | PathLike[str] | None = None,
    probabilities: str | PathLike[str] | None = None,
    legend: Sequence[LandClass] | None = None,
    date: str | datetime.date | None = None,
    origin: tuple[int, int] | None = None,
    provenance: Mapping[str, str] | None = None,
    block_size: int | None = None,
    folder: Path | None = None,
    junctions: bool = False,
    zonal: Zonal | None = None,
    workers: int | None = None,
    check: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> PolygonTable:
    """Trace all polygons of a map, one block of its rasters at a time.

    Args:
        class_map: Class raster: whole numbers of any type, ids 0-254; the file's nodata (255 without) is no
            class.
        confidence: Confidence raster on the same grid: uint8, 0-100, 255 unknown.
        probabilities: Probability raster on the same grid: uint8, a band a class, 0-250, 255 unknown.
        legend: The classes; default what the class map's sidecar and palette say. Classes that are not in it
            are called "class 7".
        date: Acquisition date, ``YYYY-MM-DD``; default the class map's tag ``ACQUISITION_DATE``.
        origin: Row and column of the map's first pixel on the scene's grid; default the class map's tag
            ``GEOSEG_ORIGIN``, else (0, 0).
        provenance: What made the map; default the class map's tags.
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
        SceneError: If a raster cannot be used, or the rasters lie on different grids.
        SettingsError: If the date or the block size cannot be used.
    """
    size = resolve_block_size(block_size)
    with MapRasters(class_map, confidence, probabilities) as rasters:
        info = rasters.info
        day = parse_date(date if date is not None else info.tags.get(DATE_TAG))
        known = info.legend if legend is None else complete_legend(legend, ())
        origin = info.origin if origin is None else origin
        pixel_sizes = measure_pixel_sizes(info.crs, info.transform, info.shape, origin)
        zonal = None if zonal is None else with_steps(zonal, info.shape)
        store = PolygonStore(rasters.band_classes(known), folder)
        tracer = Tracer(info.shape, pixel_sizes, store, junctions=junctions, folder=folder, check=check)
        total = rasters.n_blocks(size)
        seen = np.zeros(256, dtype=bool)

        def work(place: Window) -> TracedBlock:
            block = rasters.block(place, zonal)
            return trace_block(block, info.shape, pixel_sizes, junctions=junctions)

        with closing(in_order(work, rasters.places(size), workers)) as blocks:
            for done, traced in enumerate(blocks, start=1):
                tracer.add_traced(traced)
                seen[traced.class_ids] = True
                if progress is not None:
                    progress(done, total)
        polygons = store.finish_on_disk(pixel_sizes, info.transform, origin, info.shape)
    seen[NODATA] = False
    classes = complete_legend(known, np.flatnonzero(seen).tolist(), colors=info.colors)
    tags = _kept_tags(info.tags) if provenance is None else dict(provenance)
    if date is not None and day is not None:
        tags[DATE_TAG] = day.isoformat()
    given = {"confidence": confidence, "probabilities": probabilities}
    without = [name for name, path in given.items() if path is None]
    made_by = table_provenance(tags, zonal=zonal, without=without)
    return PolygonTable(polygons, classes, info.crs, day, made_by, zonal)


def class_areas(
    class_map: str | PathLike[str], *, origin: tuple[int, int] | None = None, block_size: int | None = None
) -> tuple[ClassArea, ...]:
    """Pixels and area of every class of a map, from the same pixel areas as its polygons.

    Args:
        class_map: See ``polygons_from_maps``.
        origin: See ``polygons_from_maps``.
        block_size: Side of a block in pixels; never changes the answer.

    Returns:
        The classes that occur, by ascending id.
    """
    pixels = np.zeros(256, dtype=np.int64)
    areas = np.zeros(256, dtype=np.int64)
    with MapRasters(class_map) as rasters:
        info = rasters.info
        pixel_sizes = measure_pixel_sizes(info.crs, info.transform, info.shape, origin or info.origin)
        for block in rasters.blocks(resolve_block_size(block_size)):
            ids = block.classes.ravel()
            pixels += np.bincount(ids, minlength=256)
            if pixel_sizes is not None:
                sizes = pixel_sizes.pixel_areas(block.row, block.column, *block.classes.shape)
                areas += np.bincount(ids, sizes.ravel(), minlength=256).astype(np.int64)
    return tuple(
        ClassArea(
            int(value),
            int(pixels[value]),
            None if pixel_sizes is None else float(areas[value] * pixel_sizes.area_unit),
        )
        for value in np.flatnonzero(pixels[:NODATA])
    )


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


def _kept_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key.startswith(_KEPT_TAGS)}
