"""Blocks are computed in threads: how far each step runs ahead of the next, and what is left when it ends."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import CancelledError
from contextlib import suppress

import numpy as np
import pytest

from geoseg.grid import Grid
from geoseg.inference.compute import BlockComputer, Ingredients
from geoseg.inference.normalise import Normalisation
from geoseg.inference.reading import BlockReaders
from tests.inference.test_stitcher import FakeBackend, identity, make_scene

GRID = Grid((96, 96), 16, 4)
UNIT = Normalisation(np.zeros(2, np.float32), np.ones(2, np.float32))


class Source:
    """A random scene; every reading goes through a function that is given first."""

    def __init__(self, before):
        self.scene, self.before = make_scene(GRID.shape), before

    def read(self, window):
        self.before(window)
        return self.scene.read(window)


def computer(backend, forwards=None, before=lambda _window: None, strip_rows=8):
    return BlockComputer(Ingredients(Source(before), backend, GRID, UNIT, 2, strip_rows=strip_rows), forwards)


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
            assert there() <= 2, "that whose forwards run, and that which is read"


@pytest.mark.parametrize(
    ("forwards", "device", "readers"), [(1, "cpu", 2), (7, "cpu", 2), (8, "cpu", 4), (1, "cuda:0", 4)]
)
def test_so_many_strips_are_read_at_once(forwards, device, readers):
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

    with computer(FakeBackend(identity, device=device), forwards, before=count) as made:
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
                submitted.set()  # all forwards of the first block
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
