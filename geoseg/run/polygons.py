"""The polygons of a prediction, traced from its rasters: the same rows that ``geoseg polygonize`` gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.maps.writer import StagedFile
from geoseg.polygons.rasters import MapRasters, resolve_block_size
from geoseg.polygons.vectorise import polygons_from_maps
from geoseg.polygons.writers import stage_polygons
from geoseg.run.borders import with_borders
from geoseg.run.prepare import Job
from geoseg.run.progress import Progress


def polygons_of_run(
    job: Job, rasters: Mapping[str, Path], progress: Progress
) -> tuple[list[StagedFile], dict[str, Any] | None]:
    """Trace and write the polygons of a finished map.

    Args:
        job: The run; its outputs name the polygons.
        rasters: Kind of map -> complete raster: ``classes``, ``confidence`` and ``probabilities``.
        progress: Shows how far it is.

    Returns:
        The polygons under a temporary name; and what was done to their borders, None if nothing.
    """
    final = job.outputs.polygons
    if final is None:
        return [], None
    with MapRasters(rasters["classes"]) as maps:
        total = maps.n_blocks(resolve_block_size(None))
    with progress.stage("tracing polygons", total, "blocks") as bar:
        table = polygons_from_maps(
            rasters["classes"],
            confidence=rasters["confidence"],
            probabilities=rasters["probabilities"],
            legend=job.model.classes,
            folder=final.parent,
            junctions=job.borders is not None,
            zonal=job.zonal,
            progress=lambda _done, _total: bar.advance(1),
        )
    table, changed = with_borders(table, job.borders, final.parent, progress)
    progress.say(f"writing {len(table):,} polygons to {final}")
    return [StagedFile(stage_polygons(table, final), final)], changed
