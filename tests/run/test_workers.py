"""Who computes: choices of workers, and GPUs as far as they can be shown without any."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from geoseg.errors import SettingsError
from geoseg.inference.choose import resolve_backend
from geoseg.run import cluster, dask_run, workers
from geoseg.run.bench import Address
from geoseg.run.cluster import Found, Requirements, introduce
from geoseg.run.settings import AskedSettings
from geoseg.run.workers import Workers, choose_workers


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
    chosen = choose_workers(AskedSettings(**asked), device, blocks)
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


@dataclass
class FakeClient:
    """Says what workers say, and remembers what was submitted."""

    found: dict
    status: str = "running"
    submitted: list = field(default_factory=list)

    def nthreads(self):
        return dict.fromkeys(self.found, 1)

    def run(self, *_args, **_options):
        return self.found

    def submit(self, function, *_arguments, **options):
        self.submitted.append((function.__name__, options))
        return FakeFuture()


class FakeFuture:
    def add_done_callback(self, done):
        pass


class Saying(list):
    def say(self, message):
        self.append(message)


@pytest.fixture
def crew(tmp_path):
    def make(device, **found):
        settings = SimpleNamespace(device=device, backend="torch")
        said = Saying()
        client = FakeClient(found)
        address = Address(str(tmp_path), "digest")
        return dask_run._Crew(client, address, SimpleNamespace(settings=settings), said), client, said

    return make


def test_only_computing_asks_for_a_gpu(crew):
    made, client, _ = crew("cuda:0", a=Found(None, 2))
    made.compute((0, 0))
    made.join((0, 1), [(0, 0)])
    assert [(name, options["resources"]) for name, options in client.submitted] == [
        ("compute_block", {"GPU": 1}),
        ("join_block", None),
    ]
    assert client.submitted[1][1]["priority"] > client.submitted[0][1]["priority"]
    assert made.slots == 3, "two at once, and one in waiting"


def test_workers_that_cannot_take_part_get_no_task(crew):
    made, client, said = crew(
        "cpu", good=Found(None, 1), bad=Found("it lacks something", 4), broken=OSError()
    )
    made.compute((0, 0))
    assert client.submitted[0][1]["workers"] == ["good"]
    assert made.slots == 2
    assert sorted(line.split()[3] for line in said) == ["bad", "broken"]
    client.found["late"] = Found(None, 1)
    made._look()
    assert made.slots == 4


def test_no_worker_that_can_take_part_is_an_error(crew):
    with pytest.raises(SettingsError, match="no Dask worker can take part"):
        crew("cpu", bad=Found("it lacks something", 4))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"version": "0.0.1"}, r"it has torch .*, not 0\.0\.1"),
        ({"runtime": "no-such-package", "version": "1"}, r"it has no-such-package \(none\), not 1"),
        ({"token": "other"}, "another folder"),
        ({"device": "cuda:0"}, "does not offer the resource GPU"),
        ({"precision": "bf16"}, "does not compute in bf16"),
        ({"address": Address("/nowhere/at/all", "x")}, "does not see the work folder /nowhere/at/all"),
    ],
)
def test_a_worker_says_why_it_cannot_take_part(tmp_path, monkeypatch, change, words):
    from geoseg.run.bench import Order, post

    settings = SimpleNamespace(
        device=change.pop("device", "cpu"), backend="torch", precision=change.pop("precision", "fp32")
    )
    monkeypatch.setattr(cluster, "has_bf16", lambda _device: False)
    monkeypatch.setattr(cluster, "keep_memory", lambda: True)
    order = Order(cluster_version(), SimpleNamespace(stacks=()), None, None, None, None, None, ())
    wanted = cluster.require(post(order, tmp_path), settings)
    worker = SimpleNamespace(state=SimpleNamespace(total_resources={}, nthreads=3))
    found = introduce(replace(wanted, **change), worker)
    if words is None:
        assert found == Found(None, 3)
    else:
        import re

        assert re.search(words, found.unfit)


def test_an_order_that_was_changed_is_not_opened(tmp_path):
    from geoseg.errors import RunError
    from geoseg.run.bench import Order, fetch, post

    address = post(Order("1", None, None, None, None, None, None, ()), tmp_path)
    path = tmp_path / "order"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="is not the order of this run"):
        fetch(address)


def test_the_environment_of_this_process_stays_as_it_was():
    before = dict(os.environ)
    with cluster._same_environment_afterwards():
        os.environ["OMP_NUM_THREADS"] = "17"
        os.environ["GEOSEG_TEST"] = "1"
    assert dict(os.environ) == before


def cluster_version():
    from geoseg._version import __version__

    return __version__


def test_requirements_can_be_sent():
    import pickle

    wanted = Requirements(Address("a", "b"), "c", "torch", "1", None)
    assert pickle.loads(pickle.dumps(wanted)) == wanted
