"""A prepared run from its first block to published files."""

from __future__ import annotations

from contextlib import ExitStack
from time import perf_counter
from typing import Any

from geoseg.inference.tally import Tally
from geoseg.maps.writer import StagedFile
from geoseg.run.assemble import Assembly, make_renderer
from geoseg.run.local import run_locally
from geoseg.run.outputs import discard, publish, work_folder
from geoseg.run.polygons import polygons_of_run
from geoseg.run.prepare import Job
from geoseg.run.progress import Progress
from geoseg.run.refine_run import refine_run
from geoseg.run.report import report_of_run, write_json


def map_scene(job: Job, progress: Progress, since: float) -> dict[str, Any]:
    """Predict, refine, trace, and publish everything together.

    Args:
        job: The run.
        progress: Shows how far it is.
        since: When it began (``perf_counter``).

    Returns:
        The run report, which is also written where the job says.

    Raises:
        RunError: If the run failed; no output appears under its final name.
    """
    staged: list[StagedFile] = []
    renderer = make_renderer(job)
    blocks = job.grid.blocks(job.settings.block_size, job.window)
    tally = Tally()
    with ExitStack() as cleanup:
        cleanup.callback(lambda: discard(staged))
        scratch = cleanup.enter_context(work_folder(job.outputs.work_folder, overwrite=job.overwrite))
        assembly = Assembly(job, renderer, scratch)
        cleanup.callback(assembly.discard)
        with progress.stage("predicting", job.window.pixels / 1e6, "Mpx") as bar:
            for block in run_locally(job, renderer, blocks):
                with tally.spend("write"):
                    assembly.add(block)
                tally.add(block.tally)
                bar.advance(block.window.pixels / 1e6 if block.window else 0.0)
        seconds = {"polygons": 0.0}
        rasters = assembly.close()
        statistics, borders = assembly.statistics, None
        if job.settings.refine is not None:
            began = perf_counter()
            statistics = refine_run(job, rasters, statistics, progress)
            seconds["refine"] = perf_counter() - began
        if job.outputs.polygons is not None:
            began = perf_counter()
            files, borders = polygons_of_run(job, rasters, progress)
            staged += files
            seconds["polygons"] = perf_counter() - began
        with tally.spend("write"):
            for file in assembly.finish(progress):
                staged.append(file)
            publish(staged)
        staged.clear()
    content = report_of_run(
        job, tally, seconds, statistics=statistics, borders=borders, blocks=len(blocks), since=since
    )
    if job.outputs.report is not None:
        write_json(job.outputs.report, content)
    return content
