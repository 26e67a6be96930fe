"""The simulated schedule: all is done once, in an order that works, and what it takes grows with the blocks alone."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FILE = Path(__file__).parents[2] / "workflows" / "scale" / "schedule.py"


def load():
    spec = importlib.util.spec_from_file_location("scale_schedule", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


schedule = load()
Cluster, simulate = schedule.Cluster, schedule.simulate
FAILING = Cluster(200, failure_seconds=7200)


class Watched(schedule._Run):
    """Says when every task began and ended."""

    def __init__(self, *given):
        super().__init__(*given)
        self.began, self.ended = {}, {}

    def _start(self):
        before = set(self.running.values())
        super()._start()
        self.began |= {task: self.now for task, event in set(self.running.values()) - before}

    def _finish(self, worker):
        self.ended[self.running[worker][0]] = self.now
        super()._finish(worker)


def test_one_worker_does_one_thing_after_the_other():
    done = simulate(5, 7, Cluster(1, compute_seconds=10, join_seconds=2, spread=0))
    assert done.seconds == pytest.approx(35 * 12)
    assert done.runs == 70
    assert done.ideal == pytest.approx(done.seconds)


def test_workers_share_the_work():
    one, eight = (simulate(12, 12, Cluster(n, spread=0, ahead=6)) for n in (1, 8))
    assert 7 < one.seconds / eight.seconds <= 8


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 3),
    st.floats(80, 2000),
    st.integers(0, 99),
)
def test_every_block_is_joined_after_those_that_reach_into_it(rows, cols, workers, ahead, life, seed):
    cluster = Cluster(workers, ahead=ahead, failure_seconds=life)
    run = Watched(rows, cols, cluster, random.Random(seed))
    done = run.outcome()
    assert done.blocks == rows * cols == sum(is_join for _, is_join in run.ended)
    assert done.runs == 2 * done.blocks + done.lost_tasks
    assert done.tasks_held <= 2 * workers * ahead
    for block in range(rows * cols):
        row, col = divmod(block, cols)
        for other in ((r, c) for r in (row - 1, row) for c in (col - 1, col) if r >= 0 and c >= 0):
            assert run.ended[other[0] * cols + other[1], False] <= run.began[block, True]


def test_a_lost_worker_costs_what_it_was_doing():
    done, whole = simulate(50, 50, FAILING), simulate(50, 50, Cluster(200))
    assert done.lost_workers > 5
    assert 0 < done.lost_tasks <= done.lost_workers
    assert done.runs - whole.runs == done.lost_tasks


def test_without_a_bound_the_scheduler_would_hold_every_task():
    bounded, unbounded = (simulate(50, 50, Cluster(20, ahead=ahead)) for ahead in (3, 10_000))
    assert bounded.tasks_held == 2 * 20 * 3
    assert unbounded.tasks_held == 2 * 2500


def test_ten_thousand_blocks_on_two_hundred_workers_cost_no_more_each():
    runs = [simulate(*schedule.shape_of(blocks), FAILING) for blocks in schedule.BLOCKS]
    steps = [run.steps / run.blocks for run in runs]
    assert max(steps) / min(steps) < 1.02
    assert {run.tasks_held for run in runs} == {2 * 3 * 200}
    # margins lie in the store: those of the window, and of a row of blocks above it
    for run in runs:
        cols = run.blocks // schedule.shape_of(run.blocks)[0]
        assert run.margins_held <= 3 * (3 * 200 + cols + 1)
    lost = [run.ideal / run.seconds for run in runs]
    assert lost == sorted(lost)  # the tail weighs less the more there is to do
    assert lost[3] > 0.95
