"""The books of a run on many workers: nothing is joined too early, and everything comes out, in row order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.execute.block_store import ResumeState
from geoseg.execute.dask.schedule import Schedule
from geoseg.grid import Grid
from geoseg.inference.stitching import BlockGraph


def simulate(schedule, graph, state, slots, choose):
    """Run a schedule on workers that finish in any order; returns what was computed, joined and taken."""
    computed, joined, taken = [], [], list(schedule.take())
    running = [("join", index) for index in schedule.ready()]
    assert {index for _, index in running} <= state.pending
    silent = set(state.without_margins)
    while not schedule.is_done:
        while (
            sum(kind == "compute" for kind, _ in running) < slots and (index := schedule.begin()) is not None
        ):
            running.append(("compute", index))
        assert running, "work is left, and nobody has anything to do"
        kind, index = running.pop(choose(len(running)))
        if kind == "compute":
            computed.append(index)
            gives = choose(2) == 1
            silent |= set() if gives else {index}
            if not graph.received(index):
                schedule.finished(index)
            for ready in schedule.computed(index, gives=gives):
                there = set(computed) | ((state.finished | state.pending) - state.recompute)
                sources = {place.source for place in graph.received(ready)}
                assert {ready, *sources} <= there
                assert set(schedule.sources(ready)) == sources - silent
                running.append(("join", ready))
        else:
            joined.append(index)
            schedule.finished(index)
        taken += schedule.take()
    return computed, joined, taken


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(1, 9), st.data())
def test_any_order_of_completion(rows, cols, slots, ahead, data):
    graph = BlockGraph(Grid((rows * 12 + 4, cols * 12 + 4), 16, 4).blocks(12))
    finished = data.draw(st.sets(st.sampled_from(list(graph.blocks))))
    again = data.draw(st.sets(st.sampled_from(sorted(finished)))) if finished else set()
    others = sorted(set(graph.blocks) - finished - {(0, 0)})  # that one waits for nobody
    parts = data.draw(st.sets(st.sampled_from(others))) if others else set()
    state = ResumeState(frozenset(finished), frozenset(), frozenset(again), frozenset(parts))
    schedule = Schedule(graph, state, ahead)
    computed, joined, taken = simulate(
        schedule, graph, state, slots, lambda n: data.draw(st.integers(0, n - 1))
    )
    assert taken == list(graph.blocks)
    assert len(set(computed)) == len(computed), "twice"
    left = set(graph.blocks) - finished - parts
    assert left <= set(computed) <= left | again
    assert len(set(joined)) == len(joined)
    assert not set(joined) & finished
    assert parts <= set(joined)


def test_no_block_is_begun_far_ahead_of_what_was_taken():
    graph = BlockGraph(Grid((124, 124), 16, 4).blocks(12))
    schedule = Schedule(graph, ResumeState(), ahead=7)
    begun = [schedule.begin() for _ in range(20)]
    assert begun[:7] == list(graph.blocks)[:7]
    assert begun[7:] == [None] * 13
    schedule.computed((0, 0), gives=True)
    schedule.finished((0, 0))
    assert list(schedule.take()) == [(0, 0)]
    assert schedule.begin() == list(graph.blocks)[7]
    assert schedule.begin() is None


def test_the_books_of_ten_thousand_blocks_take_little_time():
    from time import process_time

    graph = BlockGraph(Grid((1204, 1204), 16, 4).blocks(12))
    since = process_time()
    _, joined, taken = simulate(Schedule(graph, ResumeState(), 1600), graph, ResumeState(), 400, lambda _n: 0)
    assert len(taken) == 10_000
    assert len(joined) == 9_999
    assert process_time() - since < 10, "some hundred microseconds a block"
