"""A backend that is made in the background: there at once, the same answers, errors where they can be seen."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geoseg.errors import ModelError
from geoseg.inference.backends.make import PendingBackend

FACTS = {"name": "test", "device": "cpu", "precision": "bf16", "batch_size": 3, "concurrency": 4}
CHIPS = np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2)


class Doubles:
    """Knows which threads were prepared for it."""

    def __init__(self):
        self.prepared = []

    def prepare_thread(self):
        self.prepared.append(threading.get_ident())

    def probabilities(self, chips):
        assert threading.get_ident() in self.prepared
        return chips * 2


def test_it_is_there_before_the_backend_is_made():
    begun, go_on, inner = threading.Event(), threading.Event(), Doubles()

    def make():
        begun.set()
        assert go_on.wait(20)
        return inner

    pending = PendingBackend(make, **FACTS)
    assert {name: getattr(pending, name) for name in FACTS} == FACTS
    assert begun.wait(20), "made without being asked for an answer"
    pending.prepare_thread()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(pending.probabilities, CHIPS)
        assert not answer.done()
        go_on.set()
        assert (answer.result(20) == CHIPS * 2).all()


def test_it_is_made_once_and_every_thread_is_prepared_once():
    made = []

    def make():
        made.append(Doubles())
        return made[-1]

    pending, together = PendingBackend(make, **FACTS), threading.Barrier(3)

    def work():
        together.wait(20)
        for _ in range(3):
            pending.probabilities(CHIPS)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (inner,) = made
    assert len(inner.prepared) == 3


def test_what_is_wrong_with_it_is_raised_by_every_forward():
    def make():
        raise ModelError("cannot run this network")

    pending = PendingBackend(make, **FACTS)
    with ThreadPoolExecutor(2, initializer=pending.prepare_thread) as pool:
        for answer in [pool.submit(pending.probabilities, CHIPS) for _ in range(3)]:
            with pytest.raises(ModelError, match="cannot run"):
                answer.result(20)
