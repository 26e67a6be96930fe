"""Workers that take part in a run: who gets tasks, and what happens when nobody is left."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from distributed import LocalCluster

from geoseg.errors import RunError, SettingsError
from geoseg.execute import report
from geoseg.execute.dask import cluster
from geoseg.execute.dask import crew as crews
from geoseg.execute.dask.cluster import Found
from geoseg.execute.dask.tasks import Done
from geoseg.execute.dask.worker import Address, Outcome
from geoseg.plan.workers import Workers
from tests.conftest import make_scene
from tests.execute.cut_runs import WORK, predict, rasters
from tests.saying import Saying

CLUSTER = Workers(0, "tcp://a:1")


@dataclass
class FakeClient:
    """Says what workers say, and remembers what was submitted."""

    found: dict
    status: str = "running"
    submitted: list = field(default_factory=list)
    futures: list = field(default_factory=list)

    def nthreads(self):
        return dict.fromkeys(self.found, 1)

    def run(self, *_args, **_options):
        return self.found

    def submit(self, function, *_arguments, **options):
        self.submitted.append((function.__name__, options))
        self.futures.append(FakeFuture())
        return self.futures[-1]


class FakeFuture:
    """A task that is done when a test says so."""

    status = "pending"

    def add_done_callback(self, done):
        self.done = done

    def finish(self, result):
        self.status, self._result = "finished", result
        self.done(self)

    def result(self, timeout=None):
        if self._result is None:
            raise TimeoutError(timeout)
        return self._result

    def cancel(self):
        self.status = "cancelled"
        self.done(self)


def _finish_second(client):
    """Do the second task as soon as it is given."""
    until = time.monotonic() + 20
    while len(client.futures) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    client.futures[1].finish(Done(Outcome((0, 0), is_finished=True, gives=False), "second", None))


@pytest.fixture
def crew(tmp_path):
    def make(device, workers=CLUSTER, note_peak=dict, **found):
        job = SimpleNamespace(settings=SimpleNamespace(device=device, backend="torch"), workers=workers)
        said, client = Saying(), FakeClient(found)
        return crews.Crew(client, Address(str(tmp_path), "digest"), job, said, note_peak), client, said

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
    assert sorted(line.split()[3] for line in said.lines) == ["bad", "broken"]
    client.found["late"] = Found(None, 1)
    made._look()
    assert made.slots == 4


def test_no_worker_that_can_take_part_is_an_error(crew):
    with pytest.raises(SettingsError, match="no Dask worker can take part"):
        crew("cpu", bad=Found("it lacks something", 4))


class TestWhoGetsTasks:
    def test_workers_of_others_are_looked_over_before_they_get_any(self, crew):
        made, client, _ = crew("cpu", good=Found(None, 1))
        made.compute((0, 0))
        assert client.submitted[0][1]["workers"] == ["good"]
        made, client, _ = crew("cpu", workers=Workers(2), good=Found(None, 1))
        made.compute((0, 0))
        assert client.submitted[0][1]["workers"] is None, "one that is started again may go on at once"

    def test_tasks_of_lost_workers_are_given_to_others(self, crew):
        made, client, _ = crew("cpu", first=Found(None, 1), second=Found(None, 1))
        made.compute((0, 0))
        del client.found["first"]
        made._look()
        assert len(client.submitted) == 1, "Dask gives it to the second one"
        client.found = {"third": Found(None, 1)}
        made._look()
        assert [options["workers"] for _, options in client.submitted] == [["first", "second"], ["third"]]
        assert client.submitted[0][1]["key"] != client.submitted[1][1]["key"]
        client.futures[1].finish(Done(Outcome((0, 0), is_finished=True, gives=False), "third", None))
        assert made.next_done().index == (0, 0), "what was called off is not taken for a failure"

    @pytest.mark.parametrize("status", ["finished", "lost", "pending"])
    def test_a_result_that_was_lost_with_its_worker_is_waited_for_again(self, crew, status):
        made, client, _ = crew("cpu", first=Found(None, 1))
        made.compute((0, 0))
        lost, done = client.futures[0], Done(Outcome((0, 0), is_finished=True, gives=False), "first", None)
        lost.finish(None)
        lost.status = status

        def again(put):
            lost.status, lost._result = "finished", done
            put(lost)

        lost.add_done_callback = again  # as Dask does when it has been computed again
        assert made.next_done().index == (0, 0)

    def test_a_result_that_was_lost_with_the_last_of_its_workers_is_asked_of_others(self, crew, monkeypatch):
        monkeypatch.setattr(crews, "_NEW_WORKERS", 0.0)
        made, client, _ = crew("cpu", first=Found(None, 1))
        made.compute((0, 0))
        client.found = {"second": Found(None, 1)}
        client.futures[0].finish(None)
        others = threading.Thread(target=_finish_second, args=(client,))
        others.start()
        assert made.next_done().index == (0, 0)
        others.join(20)
        assert client.submitted[1][1]["workers"] == ["second"]

    def test_peaks_are_noted(self, crew):
        peaks = report.Progressed(1, 0)
        made, client, _ = crew("cpu", note_peak=peaks.note_peak, a=Found(None, 1))
        for number, (worker, peak) in enumerate([("a", 5), ("b", 7), ("a", 3), ("b", None)]):
            made.join((0, number), [])
            client.futures[-1].finish(Done((0, number), worker, peak))
            assert made.next_done() == (0, number)
        assert peaks.peaks == {"a": 5, "b": 7}

    def test_a_connection_that_is_lost(self, crew):
        made, client, _ = crew("cpu", a=Found(None, 1))
        made.compute((0, 0))
        client.status = "closed"
        with pytest.raises(RunError, match="connection to the Dask scheduler was lost"):
            made.next_done()

    def test_those_who_could_not_are_asked_again_while_nobody_can(self, crew, monkeypatch):
        made, client, said = crew("cpu", a=Found(None, 1), b=Found("it does not see the folder", 1))
        made.compute((0, 0))
        del client.found["a"]
        made._look()
        client.found["b"] = Found(None, 1)
        made._look()
        assert len(client.submitted) == 1
        monkeypatch.setattr(crews, "_NEW_WORKERS", -1.0)
        made._look()
        assert client.submitted[1][1]["workers"] == ["b"]
        assert [line.split()[0] for line in said.lines] == ["warning:", "warning:", "going"]


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
        look_over, seen = crews.look_over, []

        def refuse(may_come_back):
            def watch(client, wanted):
                found = look_over(client, wanted)
                if not seen:
                    seen.extend(sorted(found))
                    process = client.run(os.getpid, workers=[seen[0]])[seen[0]]
                    threading.Thread(target=kill, args=(process, tmp_path)).start()
                barred = seen[1:] if may_come_back else set(found) - {seen[0]}
                return {
                    worker: Found("no", 1) if worker in barred else answer for worker, answer in found.items()
                }

            monkeypatch.setattr(crews, "look_over", watch)

        return refuse

    def test_the_run_ends_and_can_be_resumed(self, scene, tiny_model, tmp_path, two, refusing, monkeypatch):
        monkeypatch.setattr(crews, "_PATIENCE", 2.0)
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
