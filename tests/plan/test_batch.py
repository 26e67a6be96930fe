"""A GPU that is too small for a batch: half of it, said and recorded; on a CPU nothing is tried."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from geoseg.errors import RunError
from geoseg.plan import batch
from geoseg.plan.settings import Settings
from geoseg.plan.workers import Workers

HERE = Workers()


@dataclass(frozen=True)
class Job:
    settings: Settings
    warnings: tuple = ("one",)
    workers: Workers = HERE
    model: object = None


@dataclass
class Gpu:
    """Has memory for so many chips."""

    room: int
    tried: list = field(default_factory=list)

    def __call__(self, _model, settings):
        gpu = self

        class Backend:
            def probabilities(self, chips):
                assert chips.shape == (settings.batch_size, 2, 64, 64)
                assert chips.dtype == np.float32
                gpu.tried.append(len(chips))
                if len(chips) > gpu.room:
                    error = RunError("cuda:0 ran out of memory at 8 chips")
                    raise error from RuntimeError("CUDA out of memory")

        return Backend()


def job(**changes):
    usual = Settings(
        bands=(1, 2),
        chip_size=64,
        overlap=8,
        batch_size=8,
        backend="torch",
        device="cuda:0",
        precision="bf16",
        tta="none",
        temperature=1.0,
        block_size=128,
        forwards=2,
    )
    return Job(replace(usual, **changes))


@pytest.mark.parametrize(("room", "batch_size"), [(9, 8), (8, 8), (7, 4), (3, 2), (1, 1)])
def test_it_is_halved_until_it_fits(monkeypatch, room, batch_size):
    gpu = Gpu(room)
    monkeypatch.setattr(batch, "make_backend", gpu)
    settled = batch.settle_batch(job())
    assert settled.settings == replace(job().settings, batch_size=batch_size)
    assert gpu.tried[-1] == batch_size
    if batch_size == 8:
        assert settled.warnings == ("one",)
    else:
        assert f"--batch-size {batch_size} instead" in settled.warnings[1]


def test_one_chip_too_many_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(batch, "make_backend", Gpu(0))
    with pytest.raises(RunError, match="one chip of 64 pixels"):
        batch.settle_batch(job())


def test_other_errors_are_what_they_are(monkeypatch):
    def broken(*_):
        raise ValueError("no such layer")

    monkeypatch.setattr(batch, "make_backend", broken)
    with pytest.raises(ValueError, match="no such layer"):
        batch.settle_batch(job())


def test_nothing_is_tried_on_a_cpu_or_for_others(monkeypatch):
    gpu = Gpu(0)
    monkeypatch.setattr(batch, "make_backend", gpu)
    for asked in (job(device="cpu"), replace(job(), workers=Workers(2, on_gpu=True))):
        assert batch.settle_batch(asked) is asked
    assert gpu.tried == []
