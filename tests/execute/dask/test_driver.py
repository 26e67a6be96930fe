"""What the driver asks of workers: nothing before its time, all in the end, and the blocks in row order."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import RunError
from geoseg.execute.block_store import ResumeState
from geoseg.execute.dask import driver
from geoseg.execute.dask.worker import BlockResult, compute_block
from geoseg.grid import Grid
from geoseg.inference.stitching import BlockGraph


class FakeFuture:
    """A task that is done when the pool says so."""

    def __init__(self, function, arguments, members):
        self.function, self.arguments, self.members = function, arguments, members
        self.status, self.value = "pending", None

    def add_done_callback(self, done):
        self.done = done

    def result(self, timeout=None):
        if self.value is None:
            raise TimeoutError(timeout)
        return self.value


class FakePool:
    """Workers that do one of the tasks that can be done, whenever they are looked at.

    With ``move`` other workers may take their place, and what the former were given is never done.
    """

    def __init__(self, graph, state, slots, choose, move=lambda: False):
        self.graph, self.slots, self._choose, self._move = graph, slots, choose, move
        self.members, self.tasks = frozenset({"first"}), []
        self.on_disk = state.finished | state.pending
        self.lost = state.recompute
        self.silent = {index for index in graph.blocks if index in state.without_margins}
        self.computed, self.completed = [], []

    def submit(self, function, _address, *arguments, priority=0, on_gpu=False):
        assert (function is compute_block) == on_gpu == (priority == 0)
        self.tasks.append(FakeFuture(function, arguments, self.members))
        return self.tasks[-1]

    def cancel(self, futures):
        self.tasks = [task for task in self.tasks if task not in futures]

    def watch(self, *, is_quiet):
        if not is_quiet:
            return True
        if self._move():
            self.members = frozenset({f"after {min(self.members)}"})
        ready = [
            task
            for task in self.tasks
            if task.members & self.members
            and all(value.status == "finished" for value in task.arguments if isinstance(value, FakeFuture))
        ]
        if ready:
            self._do(ready[self._choose(len(ready))])
        return True

    def _do(self, task):
        self.tasks.remove(task)
        values = [value.value if isinstance(value, FakeFuture) else value for value in task.arguments]
        task.value = self._compute(*values) if task.function is compute_block else self._complete(*values)
        task.status = "finished"
        task.done(task)

    def _compute(self, index):
        if index not in self.computed and index not in self.on_disk and self._choose(2):
            self.silent.add(index)
        self.computed.append(index)
        return BlockResult(index, not self.graph.received(index), index not in self.silent, {"w": 1})

    def _complete(self, computed, *sources):
        there = (self.on_disk - self.lost) | set(self.computed)
        assert {computed.index, *(source.index for source in sources)} <= there
        assert [source.index for source in sources] == [
            place.source for place in self.graph.received(computed.index)
        ]
        assert all(source.has_margins == (source.index not in self.silent) for source in sources)
        self.completed.append(computed.index)
        return BlockResult(computed.index, is_finished=True, has_margins=computed.has_margins, peaks={"w": 2})


def finish(graph, state, pool):
    peaks = []
    tasks = driver._Tasks(pool, None, graph, state, lambda worker, peak: peaks.append((worker, peak)))
    taken = list(driver._finish(list(graph.blocks), tasks))
    return taken, peaks


@pytest.fixture(autouse=True, scope="module")
def _no_waiting():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_BEAT", 0.0)
        yield


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.booleans(), st.data())
def test_any_order_of_completion(rows, cols, slots, moves, data):
    graph = BlockGraph(Grid((rows * 12 + 4, cols * 12 + 4), 16, 4).blocks(12))
    every = st.sampled_from(list(graph.blocks))
    finished = data.draw(st.sets(every))
    silent = data.draw(st.sets(st.sampled_from(sorted(finished)))) if finished else set()
    again = data.draw(st.sets(st.sampled_from(sorted(finished - silent)))) if finished - silent else set()
    again = {i for i in again if any(p.owner not in finished for p in graph.sent(i))}
    others = sorted(set(graph.blocks) - finished - {(0, 0)})  # that one waits for nobody
    pending = data.draw(st.sets(st.sampled_from(others))) if others else set()
    state = ResumeState(frozenset(finished), frozenset(silent), frozenset(again), frozenset(pending))
    moved = []

    def move():
        moves_now = moves and len(moved) < 3 and data.draw(st.integers(0, 9)) == 9
        moved.extend([True] * moves_now)
        return moves_now

    pool = FakePool(graph, state, slots, lambda n: data.draw(st.integers(0, n - 1)), move)
    taken, peaks = finish(graph, state, pool)
    assert taken == list(graph.blocks)
    left = set(graph.blocks) - finished
    assert left - pending <= set(pool.computed) <= (left - pending) | again
    assert set(pool.completed) == left
    assert set(peaks) <= {("w", 2)}
    if not moved:
        assert len(set(pool.computed)) == len(pool.computed), "twice"
        assert len(set(pool.completed)) == len(pool.completed)
        assert again <= set(pool.computed)


def test_no_block_is_begun_far_ahead_of_what_was_taken():
    graph = BlockGraph(Grid((124, 124), 16, 4).blocks(12))
    pool = FakePool(
        graph, ResumeState(), 2, lambda n: 1 if n > 1 else 0
    )  # all but the first one, while it can
    tasks = driver._Tasks(pool, None, graph, ResumeState(), lambda *_: None)
    blocks = driver._finish(list(graph.blocks), tasks)
    assert next(blocks) == (0, 0)
    ahead = driver._AHEAD * pool.slots
    order = list(graph.blocks)
    for taken, index in enumerate(blocks, start=1):
        assert index == order[taken]
        assert {order.index(done) for done in pool.computed} <= set(range(taken + ahead))
        assert len(tasks._running) <= pool.slots


def test_nobody_is_given_a_block_while_nobody_is_there():
    graph = BlockGraph(Grid((124, 124), 16, 4).blocks(12))
    pool = FakePool(graph, ResumeState(), 0, lambda _n: 0)
    tasks = driver._Tasks(pool, None, graph, ResumeState(), lambda *_: None)
    assert not tasks.has_room(0)


@pytest.mark.parametrize("status", ["finished", "lost"])
def test_a_result_that_was_lost_with_its_worker_is_waited_for(status):
    """Dask has the task done again; until then the future says that it is lost, or cannot give its result."""
    graph = BlockGraph(Grid((16, 16), 16, 4).blocks(16))

    class LosingPool(FakePool):
        looks = 0

        def watch(self, *, is_quiet):
            if not self.completed:
                super().watch(is_quiet=is_quiet)
                if self.completed:
                    completing.status, result = status, completing.value
                    completing.value, self.result = None, result
            elif is_quiet:
                self.looks += 1
                if self.looks == 3:
                    completing.status, completing.value = "finished", self.result
            return True

        def submit(self, *arguments, **options):
            nonlocal completing
            completing = super().submit(*arguments, **options)
            given.append(completing)
            return completing

    completing, given = None, []
    assert finish(graph, ResumeState(), LosingPool(graph, ResumeState(), 1, lambda _n: 0))[0] == [(0, 0)]
    assert len(given) == 2, "nothing was given twice"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RunError("rows 3 to 4 cannot be read"), "^rows 3 to 4 cannot be read$"),
        (type("KilledWorker", (Exception,), {})("four times"), "is memory too small"),
        (ValueError("x"), "a Dask worker failed: ValueError: x"),
        (None, r"has given up a task \(cancelled\)"),
    ],
)
def test_a_task_that_fails_ends_the_run(error, words):
    future = FakeFuture(None, (), None)
    future.status, future.exception = "error" if error else "cancelled", lambda: error
    with pytest.raises(RunError, match=words):
        driver._raise_if_failed(future)


def test_the_work_of_the_driver_grows_as_the_number_of_blocks():
    """Counted in calls of functions, which are the same on every machine."""

    class QuickPool(FakePool):
        def watch(self, *, is_quiet):
            while is_quiet and self.tasks:
                self._do(self.tasks[0])
            return True

        def _complete(self, computed, *_sources):
            self.completed.append(computed.index)
            return BlockResult(computed.index, is_finished=True, has_margins=computed.has_margins)

    def calls_per_block(side):
        graph = BlockGraph(Grid((side * 12 + 4, side * 12 + 4), 16, 4).blocks(12))
        pool = QuickPool(graph, ResumeState(), 40, lambda _n: 0)
        calls = Counter()
        sys.setprofile(lambda _frame, event, _argument: calls.update([event]))
        try:
            taken, _ = finish(graph, ResumeState(), pool)
        finally:
            sys.setprofile(None)
        assert len(taken) == len(pool.completed) == side**2
        return (calls["call"] + calls["c_call"]) / side**2

    assert calls_per_block(32) < 1.2 * calls_per_block(16)
