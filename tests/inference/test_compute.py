"""Computing blocks: all overlaps, every thread ends, and less runs at once where memory runs out."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from geoseg.errors import RunError, is_out_of_memory
from geoseg.grid import Grid
from geoseg.inference.compute import BlockComputer, Ingredients, Throttle
from geoseg.inference.reading import BlockReaders, Normalisation
from tests.inference.stitched import Stitcher
from tests.inference.test_stitching import FakeBackend, identity, make_scene

GRID = Grid((96, 96), 16, 4)
UNIT = Normalisation(np.zeros(2, np.float32), np.ones(2, np.float32))


class Source:
    """A random scene; every reading goes through a function that is given first."""

    def __init__(self, before):
        self.scene, self.before = make_scene(GRID.shape), before

    def read_rows(self, window):
        self.before(window)
        return self.scene.read_rows(window)


def computer(backend, concurrency=None, before=lambda _window: None, strip_rows=8):
    return BlockComputer(
        Ingredients(Source(before), backend, GRID, UNIT, 2, strip_rows=strip_rows), concurrency
    )


def blocks(size=16):
    return list(GRID.blocks(size))


@pytest.mark.parametrize("batch", [1, 3])
def test_chips_are_counted_not_batches(batch):
    with computer(FakeBackend(identity, batch)) as made:
        (block,) = blocks(1000)
        tally = made.compute(block).tally
    rows, cols = GRID.counts
    assert (tally.chips, tally.chips_skipped) == (rows * cols, 0)


def test_the_first_chips_run_while_the_last_rows_are_being_read():
    ran = threading.Event()

    def wait(window):
        assert window.row < 48 or ran.wait(20), "no chip ran before all rows were there"

    def run(chip):
        ran.set()
        return identity(chip)

    with computer(FakeBackend(run), before=wait) as made:
        assert len(list(made.run(blocks(1000)))) == 1


@pytest.mark.parametrize(("device", "begun"), [("cpu", 3), ("cuda:0", 6)])
def test_so_many_blocks_are_begun_when_the_first_is_handed_out(device, begun):
    taken = []
    every = (taken.append(block) or block for block in blocks())
    with computer(FakeBackend(identity, device=device)) as made:
        running = made.run(every)
        for number, _ in zip(range(3), running, strict=False):
            assert len(taken) == begun + number
        assert len(list(running)) == len(blocks()) - 3


def test_pixels_of_two_blocks_are_there_when_one_is_handed_out(monkeypatch):
    begin, pixels = BlockReaders.begin, []

    def watch(readers, block):
        reading = begin(readers, block)
        pixels.append(weakref.ref(reading.pixels))
        return reading

    def there():
        return sum(pixel() is not None for pixel in pixels)

    monkeypatch.setattr(BlockReaders, "begin", watch)
    with computer(FakeBackend(identity)) as made:
        for _ in made.run(blocks()):
            end = time.monotonic() + 5  # a thread lets go of what it ran a moment after it is done
            while there() > 2 and time.monotonic() < end:
                time.sleep(0.001)
            assert there() <= 2, "that whose inferences run, and that which is read"


@pytest.mark.parametrize(
    ("concurrency", "device", "readers"), [(1, "cpu", 2), (7, "cpu", 2), (8, "cpu", 4), (1, "cuda:0", 4)]
)
def test_so_many_strips_are_read_at_once(concurrency, device, readers):
    lock, together, reading, most = threading.Lock(), threading.Barrier(readers), 0, 0

    def count(window):
        nonlocal reading, most
        with lock:
            reading += 1
            most = max(most, reading)
        if window.row < 8 * readers:
            together.wait(20)
        with lock:
            reading -= 1

    with computer(FakeBackend(identity, device=device), concurrency, before=count) as made:
        assert len(list(made.run(blocks(1000)))) == 1
    assert most == readers


class Prepared(FakeBackend):
    """Remembers which threads were prepared."""

    def prepare_thread(self):
        self.__dict__.setdefault("threads", set()).add(threading.get_ident())


def test_every_thread_is_prepared_before_its_first_forward():
    ran, both = set(), threading.Barrier(2)

    def run(chip):
        if threading.get_ident() not in ran:
            assert threading.get_ident() in backend.threads
            ran.add(threading.get_ident())
            both.wait(20)
        return identity(chip)

    backend = Prepared(run)
    with computer(backend, 2) as made:
        list(made.run(blocks(1000)))
    assert len(ran) == 2


def test_what_has_not_begun_when_it_ends_never_will():
    before, ran = set(threading.enumerate()), []
    began, submitted, go = threading.Event(), threading.Event(), threading.Event()

    def wait(chip):
        ran.append(chip)
        began.set()
        assert go.wait(20)
        return identity(chip)

    def every():
        for number, block in enumerate(blocks(48)):
            if number == 2:
                submitted.set()  # all inferences of the first block
            yield block

    def run():
        with suppress(CancelledError, RuntimeError):
            next(made.run(every()))

    made = computer(FakeBackend(wait))
    running = threading.Thread(target=run)
    running.start()
    assert began.wait(20)
    assert submitted.wait(20)
    closing = threading.Thread(target=made.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive(), "a forward is running"
    go.set()
    closing.join(20)
    assert not closing.is_alive()
    running.join(20)
    assert len(ran) == 1
    assert set(threading.enumerate()) <= before


def test_no_thread_is_left():
    before = set(threading.enumerate())
    with computer(FakeBackend(identity), 2) as made:
        assert len(list(made.run(blocks()))) == len(blocks())
        assert len(set(threading.enumerate()) - before) >= 3
    assert set(threading.enumerate()) <= before


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
    with pytest.raises(RunError, match="memory ran out with one inference in flight"):
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


class TightBackend:
    """Gives the first band back, as long as there is room."""

    name, device, precision, batch_size, concurrency = "test", "cpu", "fp32", 1, 4

    def __init__(self, room):
        self.room = Room(room)

    def prepare_thread(self):
        pass

    def probabilities(self, chips):
        self.room()
        return np.concatenate([chips, 1 - chips], axis=1)


class Zeros:
    def read_rows(self, window):
        rows = np.arange(window.row, window.row_stop)[:, None]
        cols = np.arange(window.col, window.col_stop)
        values = ((rows * 7 + cols * 3) % 11 / 11).astype(np.float32)[None]
        yield slice(0, window.height), values, np.ones(window.shape, bool)


def stitched(room):
    grid = Grid((90, 110), 32, 8)
    normalisation = Normalisation(np.zeros(1, np.float32), np.ones(1, np.float32))
    stitcher = Stitcher(Ingredients(Zeros(), TightBackend(room), grid, normalisation, 2))
    blocks = list(stitcher.run(grid.blocks(64), 4))
    sums = [block.decide(block.block.core, with_sums=True).sums for block in blocks]
    return sums, sum(block.tally.retried for block in blocks)


def test_a_run_that_is_short_of_memory_gives_the_same_sums():
    (plenty, none), (little, retried) = stitched(9), stitched(1)
    assert none == 0
    assert retried > 0
    assert all(np.array_equal(one, other) for one, other in zip(plenty, little, strict=True))
