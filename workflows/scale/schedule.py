"""A run on a cluster, simulated event by event: how ``geoseg predict --workers`` hands out blocks.

    python workflows/scale/schedule.py [--workers 200]

Every block is two tasks. *compute* runs its chips through the network; *join* adds the margins of its left,
upper and upper left neighbour and writes the finished block, so it waits for four computes. Blocks are
submitted in row order, a bounded number ahead of the last one that the main process has assembled, and run in
that order. A worker that dies loses its current task only; finished work is in the store. The next free
worker repeats that task, and another worker replaces the lost one after a while.

The steps of the scheduler are counted: one for each task that it receives, makes ready, starts, sees finished
or lost, and one for each dependency that is fulfilled.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

Task = tuple[int, bool]  # number of the block in row order, whether it is the join
COMPUTE, JOIN = False, True
BLOCKS = (1250, 2500, 5000, 10_000, 20_000)


@dataclass(frozen=True)
class Cluster:
    """What the blocks are computed on.

    Attributes:
        workers: how many, each doing one task at a time.
        compute_seconds: seconds of a block's inferences, on average.
        join_seconds: adding margins, deciding, writing.
        spread: standard deviation of both, as a share.
        ahead: blocks submitted ahead of the assembly, for each worker.
        failure_seconds: how long a worker lives on average; infinite for ever.
        restart_seconds: until another one takes the place of a lost one.
    """

    workers: int = 200
    compute_seconds: float = 60.0
    join_seconds: float = 2.0
    spread: float = 0.2
    ahead: int = 3
    failure_seconds: float = math.inf
    restart_seconds: float = 90.0


@dataclass(frozen=True)
class Outcome:
    """What a run took.

    Attributes:
        blocks: of the run.
        seconds: from the first task to the last.
        ideal: seconds if all workers had been busy all the time and nothing lost.
        steps: of the scheduler.
        tasks_held: tasks that the scheduler knew at once, at most.
        margins_held: margins that lay in the store at once, at most.
        finished_held: finished blocks that waited for earlier ones, at most.
        lost_workers: how many died.
        lost_tasks: how many tasks had to be begun again.
        runs: how often tasks were begun in all.
    """

    blocks: int
    seconds: float
    ideal: float
    steps: int
    tasks_held: int
    margins_held: int
    finished_held: int
    lost_workers: int
    lost_tasks: int
    runs: int


def simulate(rows: int, cols: int, cluster: Cluster, seed: int = 0) -> Outcome:
    """Run ``rows`` x ``cols`` blocks to the end."""
    return _Run(rows, cols, cluster, random.Random(seed)).outcome()


@dataclass
class _Run:
    """The state of a simulated run; block ``row * cols + col`` is the one at (row, col)."""

    rows: int
    cols: int
    cluster: Cluster
    dice: random.Random
    now: float = 0.0
    steps: int = 0
    submitted: int = 0
    assembled: int = 0
    work: float = 0.0
    runs: int = 0
    lost_workers: int = 0
    lost_tasks: int = 0
    waits: dict[int, int] = field(default_factory=dict)  # submitted join -> computes it still waits for
    computed: set[int] = field(default_factory=set)  # until the takers of its margins are joined
    joined: set[int] = field(default_factory=set)  # until the main process has assembled it
    ready: list[Task] = field(default_factory=list)
    free: deque[int] = field(default_factory=deque)
    running: dict[int, tuple[Task, int]] = field(default_factory=dict)  # worker -> task, its event
    events: list[tuple[float, int, str, int]] = field(default_factory=list)
    number: int = 0
    known: int = 0
    most: dict[str, int] = field(default_factory=lambda: {"tasks": 0, "margins": 0, "finished": 0})

    def outcome(self) -> Outcome:
        """Go from event to event until every block is assembled."""
        total = self.rows * self.cols
        for worker in range(self.cluster.workers):
            self._arrive(worker)
        self._submit()
        while self.assembled < total:
            self._start()
            self.now, number, what, worker = heapq.heappop(self.events)
            if what == "arrive":
                self._arrive(worker)
            elif what == "die":
                self._die(worker)
            elif self.running.get(worker, (None, -1))[1] == number:
                self._finish(worker)
        return Outcome(
            total,
            self.now,
            self.work / self.cluster.workers,
            self.steps,
            self.most["tasks"],
            self.most["margins"],
            self.most["finished"],
            self.lost_workers,
            self.lost_tasks,
            self.runs,
        )

    def _later(self, seconds: float, what: str, worker: int) -> int:
        self.number += 1
        heapq.heappush(self.events, (self.now + seconds, self.number, what, worker))
        return self.number

    def _arrive(self, worker: int) -> None:
        self.free.append(worker)
        if math.isfinite(self.cluster.failure_seconds):
            self._later(self.dice.expovariate(1 / self.cluster.failure_seconds), "die", worker)

    def _die(self, worker: int) -> None:
        """What it was doing is ready again; everything it has finished lies in the store."""
        self.lost_workers += 1
        if worker in self.running:
            self.lost_tasks += 1
            self.steps += 1
            heapq.heappush(self.ready, self.running.pop(worker)[0])
        else:
            self.free.remove(worker)
        self._later(self.cluster.restart_seconds, "arrive", worker)

    def _submit(self) -> None:
        """Take in the next blocks, as far as the window allows."""
        window = self.cluster.ahead * self.cluster.workers
        while self.submitted < min(self.rows * self.cols, self.assembled + window):
            block = self.submitted
            self.submitted += 1
            needed = [block, *self._before(block)]
            self.waits[block] = sum(other not in self.computed for other in needed)
            heapq.heappush(self.ready, (block, COMPUTE))
            self.known += 2
            self.steps += 3  # two tasks taken in, one of them ready
        self._note("tasks", self.known)

    def _start(self) -> None:
        while self.free and self.ready:
            task, worker = heapq.heappop(self.ready), self.free.popleft()
            mean = self.cluster.join_seconds if task[1] else self.cluster.compute_seconds
            seconds = max(0.1 * mean, self.dice.gauss(mean, self.cluster.spread * mean))
            self.running[worker] = (task, self._later(seconds, "finish", worker))
            self.steps += 1
            self.runs += 1

    def _finish(self, worker: int) -> None:
        (block, is_join), _ = self.running.pop(worker)
        self.free.append(worker)
        self.steps += 1
        self.work += self.cluster.join_seconds if is_join else self.cluster.compute_seconds
        if not is_join:
            self.computed.add(block)
            for taker in (block, *self._after(block)):
                if taker in self.waits:
                    self.steps += 1
                    self.waits[taker] -= 1
                    if self.waits[taker] == 0:
                        heapq.heappush(self.ready, (taker, JOIN))
                        self.steps += 1
            self._note("margins", 3 * len(self.computed))
            return
        del self.waits[block]
        self.joined.add(block)
        self._note("finished", len(self.joined))
        for giver in (block, *self._before(block)):  # whose margins may all be taken now
            if all(self._is_joined(taker) for taker in (giver, *self._after(giver))):
                self.computed.discard(giver)
        while self.assembled in self.joined:
            self.joined.discard(self.assembled)
            self.assembled += 1
            self.known -= 2
        self._submit()

    def _is_joined(self, block: int) -> bool:
        return block < self.assembled or block in self.joined

    def _before(self, block: int) -> list[int]:
        """Left, upper and upper left neighbour, as far as there are any."""
        row, col = divmod(block, self.cols)
        left, up = col > 0, row > 0
        steps = ((left, 1), (up, self.cols), (left and up, self.cols + 1))
        return [block - step for there, step in steps if there]

    def _after(self, block: int) -> list[int]:
        """Right, lower and lower right neighbour, as far as there are any."""
        row, col = divmod(block, self.cols)
        right, down = col < self.cols - 1, row < self.rows - 1
        steps = ((right, 1), (down, self.cols), (right and down, self.cols + 1))
        return [block + step for there, step in steps if there]

    def _note(self, what: str, count: int) -> None:
        self.most[what] = max(self.most[what], count)


def shape_of(blocks: int) -> tuple[int, int]:
    """A scene of about this many blocks, nearly square: rows and columns whose product it is."""
    rows = next(rows for rows in range(math.isqrt(blocks), 0, -1) if blocks % rows == 0)
    return rows, blocks // rows


def main() -> None:
    """Print the table of docs/scale.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--failure-hours", type=float, default=2.0)
    given = parser.parse_args()
    titles = (
        "blocks",
        "steps a block",
        "tasks held",
        "margins held",
        "lost workers",
        "lost tasks",
        "of ideal",
    )
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for blocks in BLOCKS:
        cluster = Cluster(given.workers, failure_seconds=3600 * given.failure_hours)
        run = simulate(*shape_of(blocks), cluster)
        print(
            f"| {blocks:,} | {run.steps / blocks:.2f} | {run.tasks_held:,} | {run.margins_held:,} | "
            f"{run.lost_workers} | {run.lost_tasks} | {run.ideal / run.seconds:.1%} |"
        )


if __name__ == "__main__":
    main()
