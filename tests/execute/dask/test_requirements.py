"""Whether a worker can take part in a run, and what it says if not."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import rasterio

from geoseg.execute.dask import pool
from geoseg.execute.dask.pool import (
    Requirements,
    WorkerStatus,
    check_this_worker,
    check_workers,
    require,
)
from geoseg.execute.dask.worker import SpecAddress, write_spec
from geoseg.execute.spec import RunSpec


@pytest.fixture
def wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "has_bf16", lambda _device: False)
    monkeypatch.setattr(pool, "keep_memory", lambda: True)
    spec = RunSpec(SimpleNamespace(stacks=()), None, None, None, None, None, ())
    return require(write_spec(spec, tmp_path), "torch", "cpu", "fp32")


def worker(**resources):
    return SimpleNamespace(state=SimpleNamespace(total_resources=resources, nthreads=3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "0.0.1"}, r"it has torch .*, not 0\.0\.1"),
        ({"runtime": "no-such-package", "version": "1"}, r"it has no-such-package \(none\), not 1"),
        ({"token": "other"}, "another folder"),
        ({"device": "cuda:0"}, "does not offer the resource GPU"),
        ({"precision": "bf16"}, "does not compute in bf16"),
        (
            {"address": SpecAddress("/nowhere/at/all", "x")},
            "does not see the work folder /nowhere/at/all",
        ),
    ],
)
def test_a_worker_says_why_it_cannot_take_part(wanted, change, words):
    found = check_this_worker(replace(wanted, **change), worker())
    assert re.search(words, found.reason)


def test_a_worker_that_can_take_part(wanted):
    assert check_this_worker(wanted, worker()) == WorkerStatus(None, 3)
    on_gpu = replace(wanted, device="cuda:0")
    assert check_this_worker(on_gpu, worker(GPU=2.0)) == WorkerStatus(None, 2)


def test_a_folder_that_cannot_be_written_in(wanted, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.touch", fail)
    assert "it cannot read and write in" in check_this_worker(wanted, worker()).reason


def test_a_scene_that_a_worker_cannot_open(wanted, monkeypatch):
    def fail():
        raise rasterio.errors.RasterioIOError("no such\nfile")

    layer = SimpleNamespace(source=SimpleNamespace(open=fail))
    monkeypatch.setattr(pool, "read_spec", lambda _: SimpleNamespace(scene=SimpleNamespace(stacks=[[layer]])))
    assert check_this_worker(wanted, worker()).reason == "it cannot open the scene (no such file)"


def test_a_worker_that_cannot_answer(wanted):
    client = SimpleNamespace(
        run=lambda *_args, **_options: {"a": WorkerStatus(None, 1), "b": ImportError("x\ny")}
    )
    assert check_workers(client, wanted, ["a", "b"]) == {
        "a": WorkerStatus(None, 1),
        "b": WorkerStatus("geoseg cannot run there (x y)", 0),
    }


def test_requirements_can_be_sent():
    wanted = Requirements(SpecAddress("a", "b"), "c", "torch", "1", "cpu", "fp32")
    assert pickle.loads(pickle.dumps(wanted)) == wanted
