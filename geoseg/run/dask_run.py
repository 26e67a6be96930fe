"""The Dask executor: blocks are tasks of workers, large things pass through the work folder.

This process keeps the books: it has a few blocks more in flight than the workers can compute at once, joins
those whose neighbours are there, and takes finished ones in row order. A worker that is lost costs the tasks
it was busy with; Dask gives them to another one.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from geoseg._version import __version__
from geoseg.errors import GeosegError, RunError, SettingsError
from geoseg.inference.margins import BlockGraph, Index
from geoseg.run.bench import Address, Order, Outcome, post
from geoseg.run.cluster import GPU, look_over, open_cluster, require
from geoseg.run.finished import BlockRenderer, FinishedBlock
from geoseg.run.local import reload
from geoseg.run.prepare import Job
from geoseg.run.progress import Progress
from geoseg.run.schedule import Schedule
from geoseg.run.standing import Standing
from geoseg.run.tasks import compute_block, join_block
from geoseg.run.work_store import WorkStore, patiently
from geoseg.scene import Scene
from geoseg.scene.file import SceneFile

_AHEAD = 8
"""Finished blocks that may wait on disk for an earlier one, for each block that is computed at once."""
_BEAT = 1.0
"""Seconds after which a quiet cluster is looked at."""
_NEW_WORKERS = 15.0
"""Seconds between two looks for workers that have joined."""


def run_on_dask(
    job: Job,
    renderer: BlockRenderer,
    graph: BlockGraph,
    store: WorkStore,
    standing: Standing,
    progress: Progress,
) -> Generator[FinishedBlock, None, None]:
    """Finish blocks on Dask workers.

    Args:
        job: The run.
        renderer: Renders its blocks.
        graph: Its blocks.
        store: Where everything large passes through; all workers see its folder.
        standing: What is there already.
        progress: Told where the dashboard is, and of workers that cannot take part.

    Yields:
        All finished blocks in row order.

    Raises:
        SettingsError: If no worker can take part.
        RunError: If a task failed, or the scheduler is gone.
    """
    if not any(map(standing.must_compute, graph.blocks)):
        yield from (reload(store, block) for block in graph.blocks.values())
        return
    address = post(_order_of(job, renderer, graph), store.folder)
    with open_cluster(job.workers, progress) as client:
        crew = _Crew(client, address, job, progress)
        schedule = Schedule(graph, standing, ahead=_AHEAD * crew.slots)
        for index in _drive(schedule, crew):
            block = patiently(partial(store.finished, index))
            yield reload(store, graph.blocks[index]) if block is None else block


def _drive(schedule: Schedule, crew: _Crew) -> Iterator[Index]:
    """Keep the workers busy; the finished blocks in row order."""
    computing = 0
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


class _Crew:
    """The workers of a cluster that can take part."""

    def __init__(self, client: Any, address: Address, job: Job, progress: Progress) -> None:
        self._client, self._address, self._progress = client, address, progress
        self._wanted = require(address, job.settings)
        self._resources = {GPU: 1} if job.settings.device.startswith("cuda") else None
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._pending: set[Any] = set()
        self._refused: set[str] = set()
        self._known: set[str] = set()
        self.slots = 0
        self._look()
        if not self.slots:
            raise SettingsError("no Dask worker can take part in the run; see the warnings above")

    def compute(self, index: Index) -> None:
        """Have a block computed."""
        name = f"compute-{index[0]}-{index[1]}"
        self._submit(compute_block, self._address, index, name=name, resources=self._resources)

    def join(self, index: Index, givers: list[Index]) -> None:
        """Have a block joined, before any other is computed."""
        name = f"join-{index[0]}-{index[1]}"
        self._submit(join_block, self._address, index, givers, name=name, priority=1)

    def next_done(self) -> Any:
        """Wait for the next task; what it returned.

        Raises:
            RunError: If it failed, or the scheduler is gone.
        """
        while True:
            if monotonic() - self._looked > _NEW_WORKERS:
                self._look()
            try:
                future = self._done.get(timeout=_BEAT)
            except Empty:
                if self._client.status not in ("running", "connecting", "newly-created"):
                    raise RunError("the connection to the Dask scheduler was lost") from None
                continue
            self._pending.discard(future)
            return _result_of(future)

    def _submit(
        self,
        function: Any,
        *arguments: Any,
        name: str,
        priority: int = 0,
        resources: dict[str, int] | None = None,
    ) -> None:
        allowed = sorted(self._known - self._refused) if self._refused else None
        future = self._client.submit(
            function,
            *arguments,
            key=f"geoseg-{name}-{self._wanted.token}",
            priority=priority,
            resources=resources,
            workers=allowed,
            pure=False,
        )
        self._pending.add(future)
        future.add_done_callback(self._done.put)

    def _look(self) -> None:
        """Look over the workers when others are there than before."""
        self._looked = monotonic()
        now = set(self._client.nthreads())
        if now == self._known:
            return
        found = look_over(self._client, self._wanted)
        for worker, answer in found.items():
            if answer.unfit is not None and worker not in self._refused:
                self._refused.add(worker)
                self._progress.say(f"warning: Dask worker {worker} is not used: {answer.unfit}")
        self._known = set(found)
        fit = [answer for answer in found.values() if answer.unfit is None]
        self.slots = sum(min(answer.threads, 2) + 1 for answer in fit) or self.slots


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


def _result_of(future: Any) -> Any:
    if future.status == "finished":
        return future.result()
    if future.status != "error":
        raise RunError(f"the Dask scheduler gave up a task ({future.status})")
    error = future.exception()
    if isinstance(error, GeosegError):
        raise error
    if type(error).__name__ == "KilledWorker":
        raise RunError(f"workers died again and again over the same block ({error}); is memory too small?")
    raise RunError(f"a Dask worker failed: {type(error).__name__}: {error}") from error
