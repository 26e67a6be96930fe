"""Who computes: choices of workers, and GPUs as far as they can be shown without any."""

from __future__ import annotations

import os

import pytest

from geoseg.errors import SettingsError
from geoseg.execute.dask import cluster
from geoseg.inference.backends.choose import resolve_backend
from geoseg.plan import workers
from geoseg.plan.settings import ComputeOptions
from geoseg.plan.workers import Workers, choose_workers


@pytest.mark.parametrize(
    ("asked", "device", "gpus", "blocks", "expected"),
    [
        ({}, "cpu", 0, 99, Workers()),
        ({"workers": 3}, "cpu", 0, 99, Workers(3)),
        ({"dask": "tcp://a:1"}, "cpu", 0, 99, Workers(0, "tcp://a:1")),
        ({}, "cuda:0", 1, 99, Workers(0, on_gpu=True, gpus=1)),
        ({"device": "cuda"}, "cuda:0", 4, 99, Workers(4, on_gpu=True, gpus=4)),
        ({"device": "auto"}, "cuda:0", 4, 99, Workers(4, on_gpu=True, gpus=4)),
        ({"device": "cuda"}, "cuda:0", 4, 7, Workers(0, on_gpu=True, gpus=4)),
        ({"device": "cuda:2"}, "cuda:2", 4, 99, Workers(0, on_gpu=True, gpus=4)),
        ({"device": "cuda", "workers": 2}, "cuda:0", 4, 99, Workers(2, on_gpu=True, gpus=4)),
        ({"device": "cuda", "dask": "tcp://a:1"}, "cuda:0", 4, 99, Workers(0, "tcp://a:1", on_gpu=True)),
    ],
)
def test_several_gpus_get_a_worker_each(monkeypatch, asked, device, gpus, blocks, expected):
    monkeypatch.setattr(workers, "_count_gpus", lambda: gpus)
    chosen = choose_workers(ComputeOptions(**asked), device, blocks)
    assert chosen == expected
    assert chosen.are_elsewhere == bool(expected.count or expected.address)


def test_every_worker_that_is_started_sees_one_gpu():
    four = Workers(4, on_gpu=True, gpus=2)
    assert [cluster._gpu_of(number, four) for number in range(4)] == [
        {"CUDA_VISIBLE_DEVICES": text} for text in "0101"
    ]
    assert cluster._gpu_of(0, Workers(4)) == {}


def test_a_gpu_of_the_cluster_need_not_be_here():
    assert resolve_backend("auto", "cuda", "auto", elsewhere=True) == ("torch", "cuda:0", "bf16")
    assert resolve_backend("auto", "cuda", "fp32", elsewhere=True) == ("torch", "cuda:0", "fp32")
    with pytest.raises(SettingsError, match="cuda"):
        resolve_backend("openvino", "cuda", "fp32", elsewhere=True)


def test_the_environment_of_this_process_stays_as_it_was():
    before = dict(os.environ)
    with cluster._same_environment_afterwards():
        os.environ["OMP_NUM_THREADS"] = "17"
        os.environ["GEOSEG_TEST"] = "1"
    assert dict(os.environ) == before
