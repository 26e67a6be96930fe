"""A GPU that is too small for a batch: half of it, said and recorded; on a CPU nothing is tried."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from geoseg.errors import RunError
from geoseg.plan import prepare, settings
from geoseg.plan.prepare import PredictRequest
from geoseg.plan.settings import ComputeOptions, Settings
from geoseg.plan.workers import Workers
from geoseg.progress import Silent


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


def usual(**changes):
    settings = Settings(
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
        concurrency=2,
    )
    return replace(settings, **changes)


@pytest.mark.parametrize(("room", "batch_size"), [(9, 8), (8, 8), (7, 4), (3, 2), (1, 1)])
def test_it_is_halved_until_it_fits(monkeypatch, room, batch_size):
    gpu = Gpu(room)
    monkeypatch.setattr(settings, "make_backend", gpu)
    assert settings.fit_batch_to_device(None, usual()) == usual(batch_size=batch_size)
    assert gpu.tried[-1] == batch_size


def test_one_chip_too_many_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(settings, "make_backend", Gpu(0))
    with pytest.raises(RunError, match="one chip of 64 pixels"):
        settings.fit_batch_to_device(None, usual())


def test_other_errors_are_what_they_are(monkeypatch):
    def broken(*_):
        raise ValueError("no such layer")

    monkeypatch.setattr(settings, "make_backend", broken)
    with pytest.raises(ValueError, match="no such layer"):
        settings.fit_batch_to_device(None, usual())


def test_nothing_is_tried_on_a_cpu(scene, tiny_model, tmp_path, monkeypatch):
    gpu = Gpu(0)
    monkeypatch.setattr(settings, "make_backend", gpu)
    compute = ComputeOptions(backend="torch", device="cpu")
    request = PredictRequest(
        scene=scene, output=tmp_path / "m.tif", model=tiny_model, force=True, compute=compute
    )
    assert prepare.prepare(request, Silent()).settings.device == "cpu"
    assert gpu.tried == []


@pytest.mark.parametrize("workers", [None, 2])
def test_the_halved_batch_is_a_warning_and_workers_try_themselves(
    scene, tiny_model, tmp_path, monkeypatch, workers
):
    """The device is a GPU in name only: nothing is computed, the run is only prepared."""
    monkeypatch.setattr(prepare, "resolve_settings", lambda *_, **__: usual(chip_size=64, overlap=16))
    monkeypatch.setattr(prepare, "choose_workers", lambda *_: Workers(workers or 0, on_gpu=True))
    monkeypatch.setattr(settings, "make_backend", Gpu(3))
    request = PredictRequest(
        scene=scene,
        output=tmp_path / "m.tif",
        model=tiny_model,
        force=True,
        compute=ComputeOptions(workers=workers),
    )
    prepared = prepare.prepare(request, Silent())
    if workers:
        assert prepared.settings.batch_size == 8
    else:
        assert prepared.settings.batch_size == 2
        assert "--batch-size 2 instead" in prepared.warnings[-1]
