"""The Dask executor: one task computes a block, another completes it; what is large passes through files.

The task that completes a block depends on those that compute it and the blocks above and to the left, so Dask
knows what comes next and does again what was lost with a worker. This process keeps a few blocks in flight
and takes finished ones in row order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from geoseg.errors import GeosegError, RunError
from geoseg.execute.block_store import BlockStore, ResumeState, wait_for
from geoseg.execute.blocks import FinishedBlock
from geoseg.execute.dask.cluster import open_cluster
from geoseg.execute.dask.pool import WorkerPool, require
from geoseg.execute.dask.worker import (
    BlockResult,
    SpecAddress,
    complete_block,
    compute_block,
    remove_spec,
    write_spec,
)
from geoseg.execute.spec import RunSpec
from geoseg.inference.backends import backend_kind
from geoseg.inference.stitching import BlockGraph, Index
from geoseg.plan.workers import Workers
from geoseg.progress import Progress
from geoseg.scene.file import SceneFile
from geoseg.scene.scene import Scene

_AHEAD = 8
"""Finished blocks that may wait on disk for an earlier one, for each block that is computed at once."""
_BEAT = 1.0
"""Seconds after which a quiet cluster is looked at."""
_FETCH = 5.0
"""Seconds after which a result, some bytes, is taken to be lost with its worker."""


@dataclass(frozen=True)
class DaskExecutor:
    """Finishes blocks on Dask workers; see ``Executor``.

    Attributes:
        spec: The run.
        store: Where everything large passes through; all workers see its folder.
        state: What is there already.
        workers: Which workers.
        progress: Told where the dashboard is, and of workers that cannot take part.
        note_peak: Told the name of a worker and the bytes of memory it took at most, after every block.
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
        graph, settings = BlockGraph(self.spec.blocks), self.spec.settings
        if self.state.finished.issuperset(graph.blocks):
            yield from (self.store.reload(index) for index in graph.blocks)
            return
        address = write_spec(_for_workers(self.spec), self.store.folder)
        runtime = backend_kind(settings.backend).package
        with ExitStack() as stack:
            stack.callback(remove_spec, self.store.folder)
            client = stack.enter_context(open_cluster(self.workers, self.progress))
            wanted = require(address, runtime, settings.device, settings.precision)
            pool = WorkerPool(client, wanted, are_ours=self.workers.count > 0, progress=self.progress)
            tasks = _Tasks(pool, address, graph, self.state, self.note_peak)
            for index in _finish(list(graph.blocks), tasks):
                block = wait_for(partial(self.store.finished, index))
                yield self.store.reload(index) if block is None else block


def _finish(order: list[Index], tasks: _Tasks) -> Iterator[Index]:
    """Keep the workers busy; yield the blocks in row order, each when it is finished."""
    begun = 0
    for taken, index in enumerate(order):
        while index not in tasks.finished:
            while begun < len(order) and tasks.has_room(begun - taken):
                tasks.begin(order[begun])
                begun += 1
            tasks.wait()
        yield index


@dataclass(frozen=True)
class _Task:
    """A task that was given to the workers.

    Attributes:
        future: What it will return.
        members: Workers that can do it and all that it depends on; None for any.
    """

    future: Any
    members: frozenset[str] | None


class _Tasks:
    """The tasks of the blocks in flight: one that computes a block, one that completes it.

    Args:
        pool: Whom they are given to.
        address: Where the spec of the run is.
        graph: The blocks.
        state: What an earlier run left.
        note_peak: Told the memory of workers.

    Attributes:
        finished: All finished blocks.
    """

    def __init__(
        self,
        pool: WorkerPool,
        address: SpecAddress,
        graph: BlockGraph,
        state: ResumeState,
        note_peak: Callable[[str, int], None],
    ) -> None:
        self._pool, self._address, self._graph, self._note_peak = pool, address, graph, note_peak
        self.finished = set(state.finished)
        self._computed = set((state.finished | state.pending) - state.recompute)
        self._without_margins = set(state.without_margins)
        self._compute: dict[Index, _Task] = {}
        self._complete: dict[Index, _Task] = {}
        self._running: set[Index] = set()
        self._done: SimpleQueue[tuple[Index, Any]] = SimpleQueue()
        self._lost: list[tuple[Index, Any]] = []

    def has_room(self, ahead: int) -> bool:
        """Whether a block may be begun that is so many blocks ahead of the first one that was not taken."""
        return len(self._running) < self._pool.slots and ahead < _AHEAD * self._pool.slots

    def begin(self, index: Index) -> None:
        """Have a block computed, unless it was, and completed when those before it are computed too."""
        if index in self.finished:
            return
        sources = [place.source for place in self._graph.received(index)]
        inputs = [self._result_of(block) for block in (index, *sources)]
        tasks = [value for value in inputs if isinstance(value, _Task)]
        arguments = [value.future if isinstance(value, _Task) else value for value in inputs]
        future = self._pool.submit(complete_block, self._address, *arguments, priority=1)
        self._complete[index] = _Task(
            future, _common([self._pool.members, *(task.members for task in tasks)])
        )
        self._tell_when_done(index, future)

    def _result_of(self, index: Index) -> BlockResult | _Task:
        """What computing a block returned, or the task that will return it."""
        if index in self._computed:
            return BlockResult(index, index in self.finished, index not in self._without_margins)
        if index not in self._compute:
            future = self._pool.submit(compute_block, self._address, index, on_gpu=True)
            self._compute[index] = _Task(future, self._pool.members)
            self._running.add(index)
            self._tell_when_done(index, future)
        return self._compute[index]

    def _tell_when_done(self, index: Index, future: Any) -> None:
        future.add_done_callback(lambda future: self._done.put((index, future)))

    def wait(self) -> None:
        """Wait for the next task, though not for long, and note what became of it.

        Raises:
            RunError: If it failed, the scheduler is gone, or no worker is left and none comes.
        """
        done = None
        try:
            done = self._done.get(timeout=_BEAT)
        except Empty:
            while self._lost:  # Dask may have done them again
                self._done.put(self._lost.pop())
        if self._pool.watch(is_quiet=done is None):
            self._give_to_others()
        if done is not None:
            self._note(*done)

    def _note(self, index: Index, future: Any) -> None:
        if index in self._compute and future is self._compute[index].future:
            _raise_if_failed(future)
            self._running.discard(index)
            if index in self.finished:  # and its margins are there again
                self._computed.add(index)
                del self._compute[index]
        elif index in self._complete and future is self._complete[index].future:
            result = _fetch(future)
            if result is None:
                self._lost.append((index, future))
                return
            for worker, peak in result.peaks.items():
                self._note_peak(worker, peak)
            if not result.has_margins:
                self._without_margins.add(index)
            self.finished.add(index)
            self._computed.add(index)
            self._running.discard(index)
            del self._complete[index]
            self._compute.pop(index, None)

    def _give_to_others(self) -> None:
        """Begin again what is in flight, if there is a block that none of the workers can do any more."""
        members = self._pool.members
        tasks = self._complete.values()
        if members is None or all(task.members is None or task.members & members for task in tasks):
            return
        again = sorted(self._complete)
        self._pool.cancel([task.future for task in (*tasks, *self._compute.values())])
        self._complete.clear()
        self._compute.clear()
        self._running.clear()
        for index in again:
            self.begin(index)


def _common(members: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    known = [some for some in members if some is not None]
    return frozenset.intersection(*known) if known else None


def _raise_if_failed(future: Any) -> None:
    if future.status in ("lost", "pending", "finished"):
        return
    if future.status != "error":
        raise RunError(f"the Dask scheduler is gone, or has given up a task ({future.status})")
    error = future.exception()
    if isinstance(error, GeosegError):
        raise error
    if type(error).__name__ == "KilledWorker":
        raise RunError(f"workers died again and again over the same block ({error}); is memory too small?")
    raise RunError(f"a Dask worker failed: {type(error).__name__}: {error}") from error


def _fetch(future: Any) -> BlockResult | None:
    """Give what a task returned; None where that was lost with its worker, and Dask has it done again."""
    _raise_if_failed(future)
    if future.status != "finished":
        return None
    try:
        result: BlockResult = future.result(timeout=_FETCH)
    except TimeoutError:
        return None
    return result


def _for_workers(spec: RunSpec) -> RunSpec:
    """Make a spec as light as it can be, for processes that run in another folder."""
    runs_torch = not backend_kind(spec.settings.backend).formats
    model = spec.model if runs_torch else replace(spec.model, weights=b"")
    settings = replace(spec.settings, refine=None)
    _ = spec.renderer.pixel_sizes  # measured here, once, and sent along
    return replace(spec, scene=_by_absolute_paths(spec.scene), model=model, settings=settings)


def _by_absolute_paths(scene: Scene) -> Scene:
    def absolute(file: SceneFile) -> SceneFile:
        path = file.source.path
        there = os.path.abspath(path) if os.path.exists(path) else path
        return replace(file, source=replace(file.source, path=there))

    return replace(scene, stacks=tuple(tuple(map(absolute, files)) for files in scene.stacks))
