"""The workers of a Dask cluster that take part in a run, and the tasks they were given.

Workers come and go. Each is asked whether it can take part before it gets a task, and tasks whose workers are
all gone are given to others. Without anyone left the run waits for a while, since clusters start lost workers
again, and then ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from geoseg.errors import GeosegError, RunError, SettingsError
from geoseg.execute.dask.cluster import GPU, look_over, require
from geoseg.execute.dask.tasks import Done, compute_block, join_block
from geoseg.execute.dask.worker import BlockResult, SpecAddress
from geoseg.execute.spec import RunSpec
from geoseg.inference.stitching import Index
from geoseg.plan.workers import Workers
from geoseg.progress import Progress

_BEAT = 1.0
"""Seconds after which a quiet cluster is looked at."""
_NEW_WORKERS = 15.0
"""Seconds between two looks for workers that have joined a busy cluster."""
_FETCH = 5.0
"""Seconds after which a result, some bytes, is taken to be lost with its worker."""
_PATIENCE = 300.0
"""Seconds to wait for a worker that can take part when none is left; ``docs/cluster.md`` says so."""


@dataclass(frozen=True)
class _Task:
    """What a worker was asked to do.

    Attributes:
        function: Runs there.
        arguments: Of it.
        name: Unlike that of any other task of the run.
        priority: Larger ones come first.
        resources: What it needs of a worker, or None.
        workers: Who may do it; None for anyone.
        attempt: How often it was given before.
    """

    function: Any
    arguments: tuple[Any, ...]
    name: str
    priority: int = 0
    resources: dict[str, int] | None = None
    workers: frozenset[str] | None = None
    attempt: int = 0


class Crew:
    """The workers of a cluster that can take part.

    Args:
        client: A ``distributed.Client``.
        address: Where workers find the spec.
        spec: The run.
        workers: Which workers.
        progress: Told of workers that cannot take part, and when none is left.
        note_peak: Told the name of a worker and the bytes of memory it took at most, after every task.

    Raises:
        SettingsError: If nobody can take part.

    Attributes:
        slots: Blocks that are worth having in flight.
    """

    def __init__(
        self,
        client: Any,
        address: SpecAddress,
        spec: RunSpec,
        workers: Workers,
        progress: Progress,
        note_peak: Callable[[str, int], None],
    ) -> None:
        self._client, self._address, self._progress, self._note_peak = client, address, progress, note_peak
        self._wanted = require(address, spec.settings)
        self._resources = {GPU: 1} if spec.settings.device.startswith("cuda") else None
        self._are_ours = workers.count > 0
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._tasks: dict[Any, _Task] = {}
        self._known: set[str] = set()
        self._fit: set[str] = set()
        self._named: set[str] = set()
        self._alone_since: float | None = None
        self._asked = 0.0
        self.slots = 0
        self._look()
        if not self._fit:
            raise SettingsError("no Dask worker can take part in the run; see the warnings above")

    def compute(self, index: Index) -> None:
        """Have a block computed."""
        name = f"compute-{index[0]}-{index[1]}"
        self._give(_Task(compute_block, (self._address, index), name, resources=self._resources))

    def join(self, index: Index, sources: list[Index]) -> None:
        """Have a block joined, before any other is computed."""
        name = f"join-{index[0]}-{index[1]}"
        self._give(_Task(join_block, (self._address, index, sources), name, priority=1))

    def next_done(self) -> BlockResult | Index:
        """Wait for the next task; what came of it.

        Raises:
            RunError: If it failed, the scheduler is gone, or no worker is left and none comes.
        """
        while True:
            if monotonic() - self._looked > _NEW_WORKERS:
                self._look()
            try:
                future = self._done.get(timeout=_BEAT)
            except Empty:
                if self._client.status not in ("running", "connecting", "newly-created"):
                    raise RunError("the connection to the Dask scheduler was lost") from None
                self._look()
                continue
            if future not in self._tasks:  # it was given to others meanwhile
                continue
            done = _result_of(future)
            if done is None:
                future.add_done_callback(self._done.put)
            else:
                del self._tasks[future]
                self._note_peak(done.worker, done.peak)
                result: BlockResult | Index = done.result
                return result

    def _give(self, task: _Task) -> None:
        # Workers that geoseg started are all alike; among others one may join that cannot take part.
        anyone = self._are_ours and self._known == self._fit
        task = replace(task, workers=None if anyone else frozenset(self._fit))
        future = self._client.submit(
            task.function,
            *task.arguments,
            key=f"geoseg-{task.name}-{self._wanted.token}-{task.attempt}",
            priority=task.priority,
            resources=task.resources,
            workers=None if task.workers is None else sorted(task.workers),
            pure=False,
        )
        self._tasks[future] = task
        future.add_done_callback(self._done.put)

    def _look(self) -> None:
        """See who is there, and look over the workers when others are there than before."""
        self._looked = monotonic()
        is_stale = not self._fit and self._looked - self._asked > _NEW_WORKERS
        if is_stale or set(self._client.nthreads()) != self._known:
            self._look_over()
        self._wait_or_go_on()

    def _look_over(self) -> None:
        self._asked = monotonic()
        found = look_over(self._client, self._wanted)
        for worker, answer in found.items():
            if answer.unfit is not None and worker not in self._named:
                self._named.add(worker)
                self._progress.say(f"warning: Dask worker {worker} is not used: {answer.unfit}")
        fit = {worker: answer for worker, answer in found.items() if answer.unfit is None}
        self._known, self._fit = set(found), set(fit)
        self.slots = sum(min(answer.threads, 2) + 1 for answer in fit.values()) or self.slots

    def _wait_or_go_on(self) -> None:
        """Wait while nobody can take part, but not for ever; go on when somebody can."""
        if self._fit:
            if self._alone_since is not None:
                self._progress.say(f"going on with {len(self._fit)} Dask worker(s)")
                self._alone_since = None
            self._give_again()
        elif self._alone_since is None:
            self._alone_since = monotonic()
            if self._tasks:
                self._progress.say(
                    "warning: no Dask worker that can take part is left; waiting "
                    f"{_PATIENCE:.0f} s for one to join"
                )
        elif monotonic() - self._alone_since > _PATIENCE:
            raise RunError(f"no Dask worker that can take part has joined for {_PATIENCE:.0f} s")

    def _give_again(self) -> None:
        """Give tasks whose workers are all gone to those who are there; doing one twice does no harm."""
        for future, task in list(self._tasks.items()):
            if task.workers is not None and not task.workers & self._fit:
                del self._tasks[future]
                future.cancel()
                self._give(replace(task, attempt=task.attempt + 1))


def _result_of(future: Any) -> Done | None:
    """What a task returned; None where that was lost with the worker that had it, and must be done again."""
    if future.status in ("lost", "pending"):
        return None
    if future.status == "finished":
        try:
            done: Done = future.result(timeout=_FETCH)
        except TimeoutError:
            return None
        return done
    if future.status != "error":
        raise RunError(f"the Dask scheduler gave up a task ({future.status})")
    error = future.exception()
    if isinstance(error, GeosegError):
        raise error
    if type(error).__name__ == "KilledWorker":
        raise RunError(f"workers died again and again over the same block ({error}); is memory too small?")
    raise RunError(f"a Dask worker failed: {type(error).__name__}: {error}") from error
