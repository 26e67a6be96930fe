"""Workers that take part in a run: who gets tasks, and what happens when nobody is left."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field

import pytest
from distributed import LocalCluster

from geoseg.errors import RunError, SettingsError
from geoseg.execute.dask import cluster, pool
from geoseg.execute.dask.pool import Requirements, WorkerPool, WorkerStatus
from geoseg.execute.dask.worker import SpecAddress
from tests.conftest import make_scene
from tests.execute.cut_runs import WORK, predict, rasters
from tests.saying import Saying


@dataclass
class FakeClient:
    """Says what workers say, and remembers what was submitted and who was asked."""

    found: dict
    status: str = "running"
    submitted: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    def nthreads(self):
        return dict.fromkeys(self.found, 1)

    def run(self, *_args, workers, **_options):
        self.asked.append(set(workers))
        return {worker: self.found[worker] for worker in workers}

    def submit(self, function, *_arguments, **options):
        self.submitted.append((function, options))

    def give(self, made):
        made.submit("compute")
        return self.submitted[-1][1]["workers"]


@pytest.fixture
def pool_of():
    def make(device="cpu", *, are_ours=False, **found):
        wanted = Requirements(SpecAddress("folder", "digest"), "token", "torch", "2", device, "fp32")
        said, client = Saying(), FakeClient(found)
        return WorkerPool(client, wanted, are_ours=are_ours, progress=said), client, said

    return make


def fit(threads=1):
    return WorkerStatus(None, threads)


def unfit(reason="it lacks something"):
    return WorkerStatus(reason, 4)


def test_only_computing_asks_for_a_gpu(pool_of):
    for device, resources in (("cuda:0", {"GPU": 1}), ("cpu", None)):
        made, client, _ = pool_of(device, a=fit(2))
        made.submit("compute", on_gpu=True)
        made.submit("complete", priority=1)
        assert [(name, options["resources"]) for name, options in client.submitted] == [
            ("compute", resources),
            ("complete", None),
        ]
        assert client.submitted[1][1]["priority"] > client.submitted[0][1]["priority"]
        assert made.slots == 3, "two at once, and one in waiting"


def test_workers_that_cannot_take_part_get_no_task(pool_of):
    made, client, said = pool_of(good=fit(), bad=unfit(), broken=OSError())
    assert client.give(made) == ["good"]
    assert made.slots == 2
    assert sorted(line.split()[3] for line in said.lines) == ["bad", "broken"]
    client.found |= {"late": fit(), "later": unfit()}
    made.watch(is_quiet=True)
    assert client.give(made) == ["good", "late"]
    assert made.slots == 4
    assert "good" not in client.asked[1], "it has said that it can"
    made.watch(is_quiet=True)
    assert len(client.asked) == 2
    assert len(said.lines) == 3, "each is named once"


def test_no_worker_that_can_take_part_is_an_error(pool_of):
    with pytest.raises(SettingsError, match="no Dask worker can take part"):
        pool_of(bad=unfit())


def test_a_worker_of_ours_that_was_started_again_goes_on_at_once(pool_of):
    made, client, _ = pool_of(are_ours=True, good=fit())
    assert made.members is None
    assert client.give(made) is None
    client.found["bad"] = unfit()
    made.watch(is_quiet=True)
    assert client.give(made) == ["good"]


def test_a_busy_cluster_is_looked_at_now_and_then(pool_of, monkeypatch):
    made, client, _ = pool_of(a=fit())
    client.found["b"] = fit()
    made.watch(is_quiet=False)
    assert made.members == {"a"}
    monkeypatch.setattr(pool, "_NEW_WORKERS", -1.0)
    made.watch(is_quiet=False)
    assert made.members == {"a", "b"}


def test_a_connection_that_is_lost(pool_of):
    made, client, _ = pool_of(a=fit())
    client.status = "closed"
    with pytest.raises(RunError, match="connection to the Dask scheduler was lost"):
        made.watch(is_quiet=True)


def test_those_who_could_not_are_asked_again_while_nobody_can(pool_of, monkeypatch):
    made, client, said = pool_of(a=fit(), b=unfit("it does not see the folder"))
    del client.found["a"]
    assert not made.watch(is_quiet=True)
    assert made.slots == 0
    client.found["b"] = fit()
    assert not made.watch(is_quiet=True)
    monkeypatch.setattr(pool, "_NEW_WORKERS", -1.0)
    assert made.watch(is_quiet=True)
    assert client.give(made) == ["b"]
    assert [line.split()[0] for line in said.lines] == ["warning:", "warning:", "going"]


def test_nobody_comes(pool_of, monkeypatch):
    made, client, _ = pool_of(a=fit())
    client.found.clear()
    assert not made.watch(is_quiet=True)
    monkeypatch.setattr(pool, "_PATIENCE", -1.0)
    with pytest.raises(RunError, match="no Dask worker that can take part has joined"):
        made.watch(is_quiet=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("scene") / "scene.tif", (290, 240))


class TestNobodyIsLeft:
    """Two real workers, of which one may not take part; the other is killed when a block is finished."""

    @pytest.fixture
    def two(self):
        options = {"dashboard_address": ":0", "memory_limit": 0, "silence_logs": 50}
        with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **options) as workers:
            yield workers.scheduler_address

    @pytest.fixture
    def refusing(self, monkeypatch, tmp_path):
        """Refuse the second worker, and the first one again when it comes back unless it may."""
        check_workers, seen = pool.check_workers, []

        def refuse(may_come_back):
            def watch(client, wanted, workers):
                found = check_workers(client, wanted, workers)
                if not seen:
                    seen.extend(sorted(found))
                    process = client.run(os.getpid, workers=[seen[0]])[seen[0]]
                    threading.Thread(target=kill, args=(process, tmp_path)).start()
                barred = seen[1:] if may_come_back else set(found) - {seen[0]}
                return {
                    worker: unfit("no") if worker in barred else answer for worker, answer in found.items()
                }

            monkeypatch.setattr(pool, "check_workers", watch)

        return refuse

    @pytest.mark.slow
    def test_the_run_ends_and_can_be_resumed(self, scene, tiny_model, tmp_path, two, refusing, monkeypatch):
        monkeypatch.setattr(pool, "_PATIENCE", 2.0)
        refusing(may_come_back=False)
        said = Saying()
        words = r"no Dask worker that can take part has joined for 2 s; \d+ of 30 blocks are kept .*--resume"
        with pytest.raises(RunError, match=words):
            predict(scene, tiny_model, tmp_path, dask=two, block_size=50, progress=said)
        assert len([line for line in said.lines if "is left; waiting 2 s" in line]) == 1
        assert [path.name for path in tmp_path.iterdir()] == [WORK]
        assert predict(scene, tiny_model, tmp_path, resume=True).report["blocks_resumed"] > 0
        predict(scene, tiny_model, tmp_path / "whole")
        assert rasters(tmp_path) == rasters(tmp_path / "whole")

    def test_the_run_goes_on_when_one_joins(self, scene, tiny_model, tmp_path, two, refusing):
        refusing(may_come_back=True)
        report = predict(scene, tiny_model, tmp_path, dask=two, block_size=50).report
        assert report["blocks"] == 30
        assert report["blocks_resumed"] == 0
        predict(scene, tiny_model, tmp_path / "whole")
        assert rasters(tmp_path) == rasters(tmp_path / "whole")

    def test_nobody_was_there_to_begin_with(self, scene, tiny_model, tmp_path, monkeypatch):
        monkeypatch.setattr(cluster, "_PATIENCE", 1.0)
        with (
            LocalCluster(n_workers=0, dashboard_address=":0") as empty,
            pytest.raises(SettingsError, match=r"--dask tcp://.*: no worker came within 1 s"),
        ):
            predict(scene, tiny_model, tmp_path, dask=empty.scheduler_address)
        assert list(tmp_path.iterdir()) == []


def kill(process, folder):
    while not any((folder / WORK / "blocks").glob("r*")):
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
