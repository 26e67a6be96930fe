"""Memory that runs out: fewer forwards at once, the same answer, and an error only where nothing is left to give up."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geoseg.errors import RunError
from geoseg.grid import Grid
from geoseg.inference.compute import Ingredients
from geoseg.inference.normalise import Normalisation
from geoseg.inference.stitcher import Stitcher
from geoseg.inference.throttle import Throttle, is_out_of_memory


class Room:
    """Memory for so many at once."""

    def __init__(self, room, error=MemoryError):
        self.room, self.error = room, error
        self.active = self.most = 0
        self.lock = threading.Lock()

    def __call__(self):
        with self.lock:
            self.active += 1
            self.most = max(self.most, self.active)
            fails = self.active > self.room
        time.sleep(0.002)
        with self.lock:
            self.active -= 1
        if fails:
            raise self.error(
                "[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"
            )
        return "done"


@pytest.mark.parametrize("error", [MemoryError, RuntimeError])
def test_it_finds_out_how_many_there_is_room_for(error):
    throttle, room, retried = Throttle(6), Room(2, error), []
    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(throttle.run, room, lambda: retried.append(1)) for _ in range(60)]
        assert {one.result() for one in work} == {"done"}
    assert throttle.allowed == 2
    assert retried
    room.most = 0
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: throttle.run(room, retried.clear), range(30)))
    assert room.most == 2
    assert retried, "nothing was run again, now that it is known"


def test_several_that_fail_together_count_once():
    throttle, barrier, failed = Throttle(3), threading.Barrier(3), []

    def work():
        if len(failed) < 3:
            barrier.wait(5)
            failed.append(1)
            barrier.wait(5)
            raise MemoryError
        return "done"

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: throttle.run(work, lambda: None), range(3))) == ["done"] * 3
    assert throttle.allowed == 2


def test_alone_and_still_too_large_is_an_error_that_says_so():
    with pytest.raises(RunError, match="memory ran out with one forward in flight"):
        Throttle(1).run(Room(0), lambda: None)


def test_other_errors_are_not_tried_again():
    throttle, calls = Throttle(4), []

    def broken():
        calls.append(1)
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        throttle.run(broken, lambda: None)
    assert len(calls) == 1
    assert throttle.allowed == 4


def test_what_it_was_raised_from_counts():
    error = RunError("cuda:0: give a smaller --batch-size")
    assert not is_out_of_memory(error)
    error.__cause__ = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RunError("disk full"))


class Backend:
    """Gives the first band back, as long as there is room."""

    name, device, precision, batch_size, forwards = "test", "cpu", "fp32", 1, 4

    def __init__(self, room):
        self.room = Room(room)

    def prepare_thread(self):
        pass

    def probabilities(self, chips):
        self.room()
        return np.concatenate([chips, 1 - chips], axis=1)


class Source:
    def read(self, window):
        rows = np.arange(window.row, window.row_stop)[:, None]
        cols = np.arange(window.col, window.col_stop)
        return ((rows * 7 + cols * 3) % 11 / 11).astype(np.float32)[None], np.ones(window.shape, bool)


def stitched(room):
    grid = Grid((90, 110), 32, 8)
    normalisation = Normalisation(np.zeros(1, np.float32), np.ones(1, np.float32))
    stitcher = Stitcher(Ingredients(Source(), Backend(room), grid, normalisation, 2))
    blocks = list(stitcher.run(grid.blocks(64), 4))
    sums = [block.decide(block.block.core, with_sums=True).sums for block in blocks]
    return sums, sum(block.tally.retried for block in blocks)


def test_a_run_that_is_short_of_memory_gives_the_same_sums():
    (plenty, none), (little, retried) = stitched(9), stitched(1)
    assert none == 0
    assert retried > 0
    assert all(np.array_equal(one, other) for one, other in zip(plenty, little, strict=True))
