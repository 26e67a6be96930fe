"""The Dask executor: blocks are tasks of workers, large things pass through the work folder.

This process keeps the books: it has a few blocks more in flight than the workers can compute at once, joins
those whose neighbours are there, and takes finished ones in row order. A worker that is lost costs the tasks
it was busy with; Dask gives them to another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial

from geoseg._version import __version__
from geoseg.execute.block_store import WorkStore, patiently
from geoseg.execute.dask.cluster import open_cluster
from geoseg.execute.dask.crew import Crew
from geoseg.execute.dask.schedule import Schedule
from geoseg.execute.dask.worker import Order, Outcome, post
from geoseg.execute.finished import BlockRenderer, FinishedBlock
from geoseg.execute.local import reload
from geoseg.execute.standing import Standing
from geoseg.inference.margins import BlockGraph, Index
from geoseg.plan.prepare import Job
from geoseg.progress import Progress
from geoseg.scene import Scene
from geoseg.scene.file import SceneFile

_AHEAD = 8
"""Finished blocks that may wait on disk for an earlier one, for each block that is computed at once."""


def run_on_dask(
    job: Job,
    renderer: BlockRenderer,
    graph: BlockGraph,
    store: WorkStore,
    standing: Standing,
    progress: Progress,
    note_peak: Callable[[str, int], None],
) -> Generator[FinishedBlock, None, None]:
    """Finish blocks on Dask workers.

    Args:
        job: The run.
        renderer: Renders its blocks.
        graph: Its blocks.
        store: Where everything large passes through; all workers see its folder.
        standing: What is there already.
        progress: Told where the dashboard is, and of workers that cannot take part.
        note_peak: Told the name of a worker and the bytes of memory it took at most, after every task.

    Yields:
        All finished blocks in row order.

    Raises:
        SettingsError: If no worker can take part.
        RunError: If a task failed, the scheduler is gone, or no worker is left and none comes.
    """
    if standing.finished.issuperset(graph.blocks) and not standing.again:
        yield from (reload(store, block) for block in graph.blocks.values())
        return
    address = post(_order_of(job, renderer, graph), store.folder)
    with open_cluster(job.workers, progress) as client:
        crew = Crew(client, address, job, progress, note_peak)
        schedule = Schedule(graph, standing, ahead=_AHEAD * crew.slots)
        for index in _drive(schedule, crew):
            block = patiently(partial(store.finished, index))
            yield reload(store, graph.blocks[index]) if block is None else block


def _drive(schedule: Schedule, crew: Crew) -> Iterator[Index]:
    """Keep the workers busy; the finished blocks in row order."""
    computing = 0
    for left in schedule.ready():
        crew.join(left, schedule.givers(left))
    yield from schedule.take()
    while not schedule.is_done:
        while computing < crew.slots and (index := schedule.begin()) is not None:
            crew.compute(index)
            computing += 1
        done = crew.next_done()
        if isinstance(done, Outcome):
            computing -= 1
            if done.is_finished:
                schedule.finished(done.index)
            for index in schedule.computed(done.index, gives=done.gives):
                crew.join(index, schedule.givers(index))
        else:
            schedule.finished(done)
        yield from schedule.take()


def _order_of(job: Job, renderer: BlockRenderer, graph: BlockGraph) -> Order:
    """The order of a run, as light as it can be."""
    is_torch = job.settings.backend == "torch"
    return Order(
        version=__version__,
        scene=_by_absolute_paths(job.scene),
        model=job.model if is_torch else replace(job.model, weights=b""),
        settings=job.settings,
        grid=job.grid,
        area=job.area,
        renderer=renderer,
        blocks=tuple(graph.blocks.values()),
    )


def _by_absolute_paths(scene: Scene) -> Scene:
    """The same scene for processes that run in another folder."""

    def absolute(file: SceneFile) -> SceneFile:
        path = file.source.path
        there = os.path.abspath(path) if os.path.exists(path) else path
        return replace(file, source=replace(file.source, path=there))

    return replace(scene, stacks=tuple(tuple(map(absolute, files)) for files in scene.stacks))
