"""A planned run from its first block to published files, and what is left if it is cut short."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from time import perf_counter
from typing import Any

from geoseg.errors import InputError, Interrupted, MismatchError, RunError, shortage
from geoseg.execute.assembly import Assembly, refine_run
from geoseg.execute.block_store import BlockStore, ResumeState, read_resume_state
from geoseg.execute.blocks import BlockRenderer
from geoseg.execute.fingerprint import answer_of, fingerprint_of
from geoseg.execute.local import LocalExecutor
from geoseg.execute.polygons import polygons_of_run
from geoseg.execute.report import RunTotals, nothing_mapped, report_of_run
from geoseg.execute.resume import finished_report, is_finished
from geoseg.execute.spec import Executor, RunSpec
from geoseg.execute.work_folder import WorkFolder, open_work_folder
from geoseg.files import StagedFile, discard, publish, remove_leftovers, stage_json
from geoseg.inference.stitching import BlockGraph
from geoseg.maps.kinds import ClassMap, ConfidenceMap, MapKind, ProbabilityMap
from geoseg.maps.statistics import ClassStatistics
from geoseg.omissions import Omission, settle
from geoseg.plan.outputs import refuse_existing, refuse_what_appeared
from geoseg.plan.plan import Plan
from geoseg.progress import Progress


def execute(plan: Plan, progress: Progress, since: float) -> dict[str, Any]:
    """Predict, refine, trace, and publish everything together.

    Args:
        plan: The run.
        progress: Shows how far it is.
        since: When it began (``perf_counter``).

    Returns:
        The run report, which is also written where the request says.

    Raises:
        RunError: If the run failed; no output appears under its final name.
        Interrupted: If the user ended it and there is something to go on with.
    """
    outputs, request = plan.prepared.outputs, plan.prepared.request
    spec = make_spec(plan)
    fingerprint = fingerprint_of(plan, [kind.name for kind in spec.renderer.kinds])
    answer = answer_of(fingerprint)
    if request.resume and is_finished(plan, answer):
        progress.say(f"{outputs.classes} is finished already; there is nothing to do")
        return finished_report(plan)
    work = open_work_folder(
        outputs.work_folder, fingerprint, resume=request.resume, overwrite=request.overwrite
    )
    with _saying_what_is_kept(plan, spec, progress), work as folder:
        if not folder.may_replace:
            refuse_existing(outputs)
        return _make_outputs(plan, spec, folder, progress, answer, since)


def _lost_to_bands(plan: Plan, totals: RunTotals, statistics: ClassStatistics) -> list[Omission]:
    """List the pixels that are not mapped because a band lacks them, and what is missing where they are.

    Before the run the doctor stopped at too many of them.
    """
    scene, valid = plan.prepared.scene, statistics.pixels_valid
    reason = "they have no value in some of the bands that the model reads"
    count = totals.lost_pixels
    lost = Omission("pixels", scene.paths[0], count, count + valid, "pixels", reason, refuses=False)
    reason = "they are missing where other bands have values, from which alone these pixels are mapped"
    count, total = totals.lost_values, valid * len(scene.bands)
    missing = Omission("bands", scene.paths[0], count, total, "values of bands", reason, refuses=False)
    return [lost, missing]


def _refuse_empty_area(plan: Plan, statistics: ClassStatistics) -> None:
    """Refuse an area of interest without a valid pixel, as the doctor does such a scene.

    To look before the run would take as long: where there is nothing, blocks are only read.
    """
    run = plan.prepared
    if run.area is None or statistics.pixels_valid or run.request.force:
        return
    raise MismatchError(
        f"{os.fspath(run.request.aoi or '')}: {run.scene.name} has no valid pixel whose centre is in this "
        "area (--aoi); check where it lies, and the scene's nodata value; --force makes an empty map"
    )


def make_spec(plan: Plan) -> RunSpec:
    """Gather what is the same for every block of a run."""
    run = plan.prepared
    classes = run.model.card.classes
    kinds: tuple[MapKind, ...] = (ClassMap(classes), ConfidenceMap(), ProbabilityMap(classes))
    all_are_read = run.outputs.polygons is not None or plan.settings.refine is not None
    rendered = tuple(kind for kind in kinds if kind.name in run.outputs.rasters or all_are_read)
    return RunSpec(
        scene=run.scene,
        model=run.model,
        settings=plan.settings,
        grid=run.grid,
        area=run.area,
        renderer=BlockRenderer(rendered, classes, run.window, run.scene.georeference),
        blocks=tuple(run.grid.blocks(plan.settings.block_size, run.window)),
    )


def _make_outputs(
    plan: Plan, spec: RunSpec, work: WorkFolder, progress: Progress, answer: str, since: float
) -> dict[str, Any]:
    """Predict, refine and trace into files under temporary names, then publish them."""
    outputs = plan.prepared.outputs
    staged: list[StagedFile] = []
    remove_leftovers(outputs.named().values())
    with ExitStack() as cleanup:
        cleanup.callback(lambda: discard(staged))

        def begin_assembly() -> Assembly:
            assembly = Assembly(plan, spec.renderer, work.scratch, answer)
            cleanup.callback(assembly.discard)
            return assembly

        assembly, totals = _predict(plan, spec, work.store, begin_assembly, progress)
        seconds = {"polygons": 0.0}
        rasters = assembly.close()
        statistics, borders = assembly.statistics, None
        _refuse_empty_area(plan, statistics)
        left_out = list(plan.prepared.left_out)
        left_out += settle(_lost_to_bands(plan, totals, statistics), progress)
        if plan.settings.refine is not None:
            began = perf_counter()
            statistics = refine_run(plan, rasters, statistics, progress)
            seconds["refine"] = perf_counter() - began
        if outputs.polygons is not None:
            began = perf_counter()
            files, borders, missing = polygons_of_run(plan, rasters, progress, assembly.traced)
            staged += files
            left_out += missing
            seconds["polygons"] = perf_counter() - began
            if assembly.traced is not None:
                seconds["polygons"] += assembly.traced.seconds
        with totals.tally.spend("write"):
            for file in assembly.finish(progress):
                staged.append(file)
        report = report_of_run(
            plan,
            totals,
            seconds,
            answer=answer,
            statistics=statistics,
            borders=borders,
            left_out=left_out,
            since=since,
        )
        for warning in nothing_mapped(plan, statistics):
            progress.say(f"warning: {warning}")
        if outputs.report is not None:
            staged.insert(0, stage_json(outputs.report, report))
        if not work.may_replace:
            refuse_what_appeared(outputs)
        work.begin_publishing()
        publish(staged)
        staged.clear()
    return report


def _predict(
    plan: Plan,
    spec: RunSpec,
    store: BlockStore,
    begin_assembly: Callable[[], Assembly],
    progress: Progress,
) -> tuple[Assembly, RunTotals]:
    """Bring every block into the maps, those that were finished before without computing them.

    The maps are begun when the first block is finished: nothing is set up for a run that fails before.
    """
    resumes = plan.prepared.request.resume
    state = read_resume_state(store, BlockGraph(spec.blocks)) if resumes else ResumeState()
    totals = RunTotals(blocks=len(spec.blocks), blocks_resumed=len(state.finished | state.pending))
    if state.finished:
        progress.say(f"{totals.blocks_resumed} of {totals.blocks} blocks were computed before")
    workers = plan.prepared.workers
    executor: Executor = LocalExecutor(spec, store, state, plan.margins_on_disk)
    if workers.are_elsewhere:
        from geoseg.execute.dask.driver import DaskExecutor

        executor = DaskExecutor(spec, store, state, workers, progress, totals.note_peak)
    assembly: Assembly | None = None
    with (
        progress.stage("predicting", plan.prepared.window.pixels / 1e6, "Mpx") as bar,
        closing(executor.finish()) as blocks,
    ):
        for block in blocks:
            with totals.tally.spend("write"):
                assembly = assembly or begin_assembly()
                assembly.add(block)
            totals.add(block.tally, is_resumed=state.was_computed(block.index))
            bar.advance(block.window.pixels / 1e6 if block.window else 0.0)
    assert assembly is not None  # every run has a block
    return assembly, totals


@contextmanager
def _saying_what_is_kept(plan: Plan, spec: RunSpec, progress: Progress) -> Iterator[None]:
    """Tell the user of a run that was cut short whether, and how, it can be gone on with."""
    try:
        yield
    except InputError:
        raise
    except KeyboardInterrupt as error:
        kept = _kept(plan, spec)
        if kept is None:
            raise
        raise Interrupted(kept) from error
    except Exception as error:
        kept = _kept(plan, spec)
        if isinstance(error, RunError) and kept is None:
            raise
        failed = error if isinstance(error, RunError) else shortage(error)
        if failed is not None:
            raise RunError(f"{failed}; {kept}" if kept else str(failed)) from error
        if kept is not None:
            progress.say(kept)
        raise


def _kept(plan: Plan, spec: RunSpec) -> str | None:
    folder, indices = plan.prepared.outputs.work_folder, {block.index for block in spec.blocks}
    finished = sum(index in indices for index in BlockStore(folder).indices())
    if not finished:
        return None
    return f"{finished} of {len(indices)} blocks are kept in {folder}, --resume goes on with them"
