"""The Dask executor: blocks are tasks of workers, large things pass through the work folder.

This process keeps the books: it has a few blocks more in flight than the workers can compute at once, joins
those whose neighbours are there, and takes finished ones in row order. A worker that is lost costs the tasks
it was busy with; Dask gives them to another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial

from geoseg.execute.block_store import BlockStore, ResumeState, wait_for
from geoseg.execute.blocks import FinishedBlock
from geoseg.execute.dask.cluster import open_cluster
from geoseg.execute.dask.crew import Crew
from geoseg.execute.dask.schedule import Schedule
from geoseg.execute.dask.worker import BlockResult, write_spec
from geoseg.execute.spec import RunSpec
from geoseg.inference.stitching import BlockGraph, Index
from geoseg.plan.workers import Workers
from geoseg.progress import Progress
from geoseg.scene import Scene
from geoseg.scene.file import SceneFile

_AHEAD = 8
"""Finished blocks that may wait on disk for an earlier one, for each block that is computed at once."""


@dataclass(frozen=True)
class DaskExecutor:
    """Finishes blocks on Dask workers; see ``Executor``.

    Attributes:
        spec: The run.
        store: Where everything large passes through; all workers see its folder.
        state: What is there already.
        workers: Which workers.
        progress: Told where the dashboard is, and of workers that cannot take part.
        note_peak: Told the name of a worker and the bytes of memory it took at most, after every task.
    """

    spec: RunSpec
    store: BlockStore
    state: ResumeState
    workers: Workers
    progress: Progress
    note_peak: Callable[[str, int], None]

    def finish(self) -> Generator[FinishedBlock, None, None]:
        """Yield all finished blocks in row order.

        Raises:
            SettingsError: If no worker can take part.
            RunError: If a task failed, the scheduler is gone, or no worker is left and none comes.
        """
        spec, store, state = self.spec, self.store, self.state
        graph = BlockGraph(spec.blocks)
        if state.finished.issuperset(graph.blocks) and not state.recompute:
            yield from (store.reload(index) for index in graph.blocks)
            return
        address = write_spec(_for_workers(spec), store.folder)
        with open_cluster(self.workers, self.progress) as client:
            crew = Crew(client, address, spec, self.workers, self.progress, self.note_peak)
            schedule = Schedule(graph, state, ahead=_AHEAD * crew.slots)
            for index in _drive(schedule, crew):
                block = wait_for(partial(store.finished, index))
                yield store.reload(index) if block is None else block


def _drive(schedule: Schedule, crew: Crew) -> Iterator[Index]:
    """Keep the workers busy; the finished blocks in row order."""
    computing = 0
    for left in schedule.ready():
        crew.join(left, schedule.sources(left))
    yield from schedule.take()
    while not schedule.is_done:
        while computing < crew.slots and (index := schedule.begin()) is not None:
            crew.compute(index)
            computing += 1
        done = crew.next_done()
        if isinstance(done, BlockResult):
            computing -= 1
            if done.is_finished:
                schedule.finished(done.index)
            for index in schedule.computed(done.index, gives=done.gives):
                crew.join(index, schedule.sources(index))
        else:
            schedule.finished(done)
        yield from schedule.take()


def _for_workers(spec: RunSpec) -> RunSpec:
    """Make the spec as light as it can be, for processes that run in another folder."""
    model = spec.model if spec.settings.backend == "torch" else replace(spec.model, weights=b"")
    return replace(spec, scene=_by_absolute_paths(spec.scene), model=model)


def _by_absolute_paths(scene: Scene) -> Scene:
    """The same scene for processes that run in another folder."""

    def absolute(file: SceneFile) -> SceneFile:
        path = file.source.path
        there = os.path.abspath(path) if os.path.exists(path) else path
        return replace(file, source=replace(file.source, path=there))

    return replace(scene, stacks=tuple(tuple(map(absolute, files)) for files in scene.stacks))
