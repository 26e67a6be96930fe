"""The polygons of a prediction: the same rows that ``geoseg polygonize`` gives.

They are traced while blocks come; those of a refined map from its rasters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import NODATA
from geoseg.errors import RunError, SettingsError
from geoseg.execute.blocks import FinishedBlock
from geoseg.files import StagedFile
from geoseg.maps.class_map_file import open_class_map
from geoseg.omissions import settle
from geoseg.plan.plan import Plan
from geoseg.polygons.borders.change import change_table
from geoseg.polygons.builder import MapToTrace, PolygonStream, TableBuilder
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.trace.block import BlockValues
from geoseg.polygons.vectorise import parse_date, trace_class_map
from geoseg.polygons.writers.writing import stage_polygons
from geoseg.progress import Progress


class TracedRun:
    """The polygons of a run that are traced while its blocks come.

    Args:
        plan: The run; its outputs name the polygons.
        tags: Of its class map.
    """

    def __init__(self, plan: Plan, tags: Mapping[str, str]) -> None:
        run = plan.prepared
        assert run.outputs.polygons is not None
        self._window, self._bands = run.window, len(run.model.card.classes)
        place = run.scene.georeference.cut(run.window.row, run.window.col)
        transform = place.transform
        source = MapToTrace(
            shape=run.window.shape,
            crs=place.map_crs,
            transform=transform,
            origin=(run.window.row, run.window.col),
            classes=tuple(run.model.card.classes),
            date=parse_date(run.date),
            provenance=tags,
            bands=[item.id for item in run.model.card.classes],
        )
        folder = run.outputs.polygons.parent
        builder = TableBuilder(
            source, folder, junctions=bool(run.request.borders), zonal=run.zonal, check=_check_of(plan)
        )
        self._stream = PolygonStream(builder)

    def add(self, block: FinishedBlock) -> None:
        """Take a finished block; blocks come in row order."""
        window = block.window
        if window is None:
            return
        empty = np.full((1, *window.shape), NODATA, np.uint8)
        classes, confidence = block.maps.get("classes", empty), block.maps.get("confidence", empty)
        probabilities = block.maps.get("probabilities", np.broadcast_to(empty, (self._bands, *window.shape)))
        row, col = window.row - self._window.row, window.col - self._window.col
        self._stream.add(BlockValues(row, col, classes[0], confidence[0], probabilities))

    @property
    def seconds(self) -> float:
        """Busy time so far."""
        return self._stream.seconds

    def finish(self) -> PolygonTable:
        """Give all polygons, once the last block was added."""
        return self._stream.finish()

    def close(self) -> None:
        """Remove what is unfinished."""
        self._stream.close()


def polygons_of_run(
    plan: Plan, rasters: Mapping[str, Path], progress: Progress, traced: TracedRun | None = None
) -> tuple[list[StagedFile], dict[str, Any] | None, list[dict[str, Any]]]:
    """Write the polygons of a finished map.

    Args:
        plan: The run; its outputs name the polygons.
        rasters: Kind of map -> complete raster: ``classes``, ``confidence`` and ``probabilities``; not needed
            where blocks were traced.
        progress: Shows how far it is.
        traced: Has seen all blocks; None where the rasters are to be traced.

    Returns:
        The polygons under a temporary name; what was done to their borders, None if nothing; and what they
        leave out, for the report.
    """
    run = plan.prepared
    final = run.outputs.polygons
    if final is None:
        return [], None, []
    table = _trace_rasters(plan, rasters, final.parent, progress) if traced is None else traced.finish()
    if plan.tracing is not None:
        with _work_is_kept():
            plan.tracing.check_borders(table.polygons, run.request.borders)
    left_out = settle(table.omissions(), progress, force=run.request.force)
    table, changed = change_table(table, run.request.borders, final.parent, progress)
    progress.say(f"writing {len(table):,} polygons to {final}")
    return [stage_polygons(table, final)], changed, left_out


def _trace_rasters(plan: Plan, rasters: Mapping[str, Path], folder: Path, progress: Progress) -> PolygonTable:
    run = plan.prepared
    tracing = plan.tracing
    assert tracing is not None  # there are polygons
    with open_class_map(rasters["classes"], rasters["confidence"], rasters["probabilities"]) as class_map:
        return trace_class_map(
            class_map,
            legend=run.model.card.classes,
            block_size=tracing.block_size,
            workers=tracing.workers,
            check=_check_of(plan),
            folder=folder,
            junctions=bool(run.request.borders),
            zonal=run.zonal,
            progress=progress,
        )


def _check_of(plan: Plan) -> Callable[[int], None] | None:
    """Make what refuses a polygon that does not fit into memory."""
    tracing = plan.tracing
    if tracing is None:
        return None

    def check(vertices: int) -> None:
        with _work_is_kept():
            tracing.check_largest(vertices)

    return check


@contextmanager
def _work_is_kept() -> Iterator[None]:
    """Keep the work when a refusal comes after it: with more memory ``--resume`` goes on."""
    try:
        yield
    except SettingsError as error:
        raise RunError(str(error)) from error
