"""A prepared run from its first block to published files, and what is left if it is cut short."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from time import perf_counter
from typing import Any

from geoseg.errors import InputError, Interrupted, RunError
from geoseg.execute.assembly import Assembly, make_renderer
from geoseg.execute.block_store import WorkStore
from geoseg.execute.fingerprint import answer_of, fingerprint_of
from geoseg.execute.finished import BlockRenderer, FinishedBlock
from geoseg.execute.local import run_locally
from geoseg.execute.polygons import polygons_of_run
from geoseg.execute.refine_run import refine_run
from geoseg.execute.report import Progressed, nothing_mapped, report_of_run, stage_json
from geoseg.execute.resume import finished_report, is_finished
from geoseg.execute.standing import Standing, survey
from geoseg.execute.work_folder import WorkFolder, open_work_folder
from geoseg.files import StagedFile, discard
from geoseg.inference.margins import BlockGraph
from geoseg.plan.outputs import publish, refuse_existing, refuse_what_appeared, remove_leftovers
from geoseg.plan.prepare import Job
from geoseg.progress import Progress


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
        Interrupted: If the user ended it and there is something to go on with.
    """
    renderer = make_renderer(job)
    fingerprint = fingerprint_of(job, [kind.name for kind in renderer.kinds])
    answer = answer_of(fingerprint)
    if job.resume and is_finished(job, answer):
        progress.say(f"{job.outputs.classes} is finished already; there is nothing to do")
        return finished_report(job)
    graph = BlockGraph(job.grid.blocks(job.settings.block_size, job.window))
    work = open_work_folder(job.outputs.work_folder, fingerprint, resume=job.resume, overwrite=job.overwrite)
    with _saying_what_is_kept(job, graph, progress), work as folder:
        if not folder.may_replace:
            refuse_existing(job.outputs)
        return _run(job, renderer, graph, folder, progress, answer, since)


def _run(
    job: Job,
    renderer: BlockRenderer,
    graph: BlockGraph,
    work: WorkFolder,
    progress: Progress,
    answer: str,
    since: float,
) -> dict[str, Any]:
    staged: list[StagedFile] = []
    remove_leftovers(job.outputs)
    with ExitStack() as cleanup:
        cleanup.callback(lambda: discard(staged))
        assembly = Assembly(job, renderer, work.scratch, answer)
        cleanup.callback(assembly.discard)
        done = _predict(job, renderer, graph, work.store, assembly, progress)
        seconds = {"polygons": 0.0}
        rasters = assembly.close()
        statistics, borders = assembly.statistics, None
        if job.settings.refine is not None:
            began = perf_counter()
            statistics = refine_run(job, rasters, statistics, progress)
            seconds["refine"] = perf_counter() - began
        if job.outputs.polygons is not None:
            began = perf_counter()
            files, borders = polygons_of_run(job, rasters, progress, assembly.traced)
            staged += files
            seconds["polygons"] = perf_counter() - began
            if assembly.traced is not None:
                seconds["polygons"] += assembly.traced.seconds
        with done.tally.spend("write"):
            for file in assembly.finish(progress):
                staged.append(file)
        content = report_of_run(
            job, done, seconds, answer=answer, statistics=statistics, borders=borders, since=since
        )
        for warning in nothing_mapped(job, statistics):
            progress.say(f"warning: {warning}")
        if job.outputs.report is not None:
            staged.insert(0, stage_json(job.outputs.report, content))
        if not work.may_replace:
            refuse_what_appeared(job.outputs)
        work.begin_publishing()
        publish(staged)
        staged.clear()
    return content


def _predict(
    job: Job,
    renderer: BlockRenderer,
    graph: BlockGraph,
    store: WorkStore,
    assembly: Assembly,
    progress: Progress,
) -> Progressed:
    """Bring every block into the maps, those that were finished before without computing them."""
    standing = survey(store, graph) if job.resume else Standing()
    done = Progressed(blocks=len(graph.blocks), blocks_resumed=len(standing.finished | standing.parts))
    if standing.finished:
        progress.say(f"{done.blocks_resumed} of {done.blocks} blocks were computed before")
    with (
        progress.stage("predicting", job.window.pixels / 1e6, "Mpx") as bar,
        closing(_finish_blocks(job, renderer, graph, store, standing, progress, done)) as blocks,
    ):
        for block in blocks:
            with done.tally.spend("write"):
                assembly.add(block)
            done.add(block.tally, is_resumed=standing.was_computed(block.index))
            bar.advance(block.window.pixels / 1e6 if block.window else 0.0)
    return done


def _finish_blocks(
    job: Job,
    renderer: BlockRenderer,
    graph: BlockGraph,
    store: WorkStore,
    standing: Standing,
    progress: Progress,
    done: Progressed,
) -> Generator[FinishedBlock, None, None]:
    """All finished blocks in row order, by whoever does the work."""
    if not job.workers.are_elsewhere:
        return run_locally(job, renderer, graph, store, standing)
    from geoseg.execute.dask.driver import run_on_dask

    return run_on_dask(job, renderer, graph, store, standing, progress, done.note_peak)


@contextmanager
def _saying_what_is_kept(job: Job, graph: BlockGraph, progress: Progress) -> Iterator[None]:
    """Tell the user of a run that was cut short whether, and how, it can be gone on with."""
    try:
        yield
    except InputError:
        raise
    except KeyboardInterrupt as error:
        kept = _kept(job, graph)
        if kept is None:
            raise
        raise Interrupted(kept) from error
    except RunError as error:
        kept = _kept(job, graph)
        if kept is None:
            raise
        raise RunError(f"{error}; {kept}") from error
    except Exception:
        kept = _kept(job, graph)
        if kept is not None:
            progress.say(kept)
        raise


def _kept(job: Job, graph: BlockGraph) -> str | None:
    folder = job.outputs.work_folder
    finished = sum(index in graph.blocks for index in WorkStore(folder).indices())
    if not finished:
        return None
    return f"{finished} of {len(graph.blocks)} blocks are kept in {folder}, --resume goes on with them"
