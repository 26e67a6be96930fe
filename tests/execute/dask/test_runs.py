"""Runs on Dask workers: the bytes of a run in one process, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from distributed import LocalCluster

import geoseg
from geoseg.errors import RunError, SettingsError
from geoseg.execute.dask import cluster, driver, pool, worker
from geoseg.system.memory import peak_memory
from tests.conftest import make_scene
from tests.execute.cut_runs import WORK, CutError, cut_short, predict, rasters
from tests.saying import Saying


@pytest.fixture(scope="module")
def scheduler():
    """The address of a cluster that is there already: two processes, of one thread and of two."""
    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0", memory_limit=0
    ) as workers:
        yield workers.scheduler_address


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_model):
    """A scene and what a run in this process makes of it."""
    folder = tmp_path_factory.mktemp("whole")
    scene = make_scene(folder / "scene.tif", (290, 240))
    return scene, predict(scene, tiny_model, folder / "out", polygons=folder / "out" / "f.fgb")


def same(folder, whole):
    out = whole[1].outputs["classes"].parent
    assert rasters(folder) == rasters(out)
    assert (folder / "f.fgb").read_bytes() == (out / "f.fgb").read_bytes()


@pytest.mark.parametrize("options", [{"block_size": 50}, {"block_size": 130}, {"block_size": 1000}])
def test_a_cluster_makes_the_same_bytes(whole, tiny_model, tmp_path, scheduler, options):
    result = predict(whole[0], tiny_model, tmp_path, dask=scheduler, polygons=tmp_path / "f.fgb", **options)
    same(tmp_path, whole)
    report, reference = result.report, whole[1].report
    for key in ("classes", "chips", "chips_skipped", "pixels_valid"):
        assert report[key] == reference[key], key
    assert report["seconds"]["forward"] > 0, "workers tell how long they were busy"
    peaks = [worker["peak_memory_bytes"] for worker in report["workers"]]
    assert 1 <= len(peaks) <= 2
    assert min(peaks) > 50e6
    assert report["peak_memory_bytes"] <= peak_memory(), "workers of a cluster may be anywhere"
    assert not (tmp_path / WORK).exists()


def test_paths_may_be_relative_to_this_process(whole, tiny_model, tmp_path, scheduler, monkeypatch):
    monkeypatch.chdir(whole[0].parent)
    geoseg.predict(
        whole[0].name, os.path.relpath(tmp_path / "map.tif"), model=tiny_model, dask=scheduler, force=True
    )
    assert (tmp_path / "map.tif").read_bytes() == whole[1].outputs["classes"].read_bytes()


def test_a_killed_worker_costs_nothing_but_time(whole, tiny_model, tmp_path, monkeypatch):
    """Own workers, one of them killed with signal 9 as soon as the first block is finished."""
    killed, check_workers = [], pool.check_workers

    def watch(client, wanted, workers):
        found = check_workers(client, wanted, workers)
        if not killed:
            process = next(iter(client.run(os.getpid).values()))
            killed.append(process)
            threading.Thread(target=kill, args=(process,)).start()
        return found

    def kill(process):
        while not any((tmp_path / WORK / "blocks").glob("r*")):
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)

    monkeypatch.setattr(pool, "check_workers", watch)
    said = Saying()
    options = {"workers": 2, "block_size": 50, "polygons": tmp_path / "f.fgb"}
    before = peak_memory()
    report = predict(whole[0], tiny_model, tmp_path, progress=said, **options).report
    assert killed
    same(tmp_path, whole)
    assert {worker["name"] for worker in report["workers"]} <= {"0", "1"}, "one that came back is the same"
    peaks = [worker["peak_memory_bytes"] for worker in report["workers"]]
    assert min(peaks) > 50e6
    assert report["peak_memory_bytes"] - sum(peaks) <= peak_memory()
    assert report["peak_memory_bytes"] - sum(peaks) >= before, "this process is counted too"
    assert any("Dask dashboard: http://" in line for line in said.lines)


def settled(folder):
    """Wait until workers have ended what they were doing when the run ended."""
    before = None
    while before != (before := sorted(folder.glob("*/*"))):
        time.sleep(1.0)


def test_a_scheduler_that_dies(whole, tiny_model, tmp_path):
    """What is finished is kept, and the error is one line."""
    code = "from distributed import LocalCluster; import sys\nif __name__ == '__main__':\n" + (
        "    c = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=':0')\n"
        "    print(c.scheduler_address, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    address = process.stdout.readline().decode().strip()

    def kill():
        while not any((tmp_path / WORK / "blocks").glob("r*")):
            time.sleep(0.001)
        process.kill()

    threading.Thread(target=kill).start()
    try:
        with pytest.raises(RunError, match=r"scheduler .*blocks are kept in .*--resume") as caught:
            predict(whole[0], tiny_model, tmp_path, dask=address, block_size=50)
    finally:
        process.kill()
        process.wait()
    assert "\n" not in str(caught.value)


class TestResume:
    def cut_on_cluster(self, monkeypatch, after):
        finish = driver.DaskExecutor.finish

        def short(self):
            for number, block in enumerate(finish(self)):
                if number == after:
                    raise CutError
                yield block

        monkeypatch.setattr(driver.DaskExecutor, "finish", short)

    def test_begun_on_a_cluster_and_ended_here(self, whole, tiny_model, tmp_path, scheduler, monkeypatch):
        self.cut_on_cluster(monkeypatch, 7)
        more = {"block_size": 50, "polygons": tmp_path / "f.fgb"}
        with pytest.raises(CutError):
            predict(whole[0], tiny_model, tmp_path, dask=scheduler, **more)
        monkeypatch.undo()
        report = predict(whole[0], tiny_model, tmp_path, resume=True, **more).report
        assert report["blocks_resumed"] >= 7
        same(tmp_path, whole)

    def test_begun_here_and_ended_on_a_cluster(
        self, whole, tiny_model, tmp_path, scheduler, cut, monkeypatch
    ):
        more = {"polygons": tmp_path / "f.fgb"}
        cut_short(whole[0], tiny_model, tmp_path, cut, monkeypatch, 11, **more)
        report = predict(whole[0], tiny_model, tmp_path, resume=True, dask=scheduler, **more).report
        assert report["blocks_resumed"] >= 11
        assert report["chips"] - report["chips_resumed"] == report["blocks"] - report["blocks_resumed"]
        same(tmp_path, whole)

    @pytest.mark.parametrize("where", ["here", "dask"])
    def test_blocks_that_waited_for_neighbours_are_not_computed_again(
        self, whole, tiny_model, tmp_path, scheduler, monkeypatch, where
    ):
        begin, ignored = driver._Tasks.begin, []

        def seldom(self, index):
            if sum(index) < 3:
                begin(self, index)
            else:  # have it computed, but not completed
                self._result_of(index)
                ignored.append(index)
            if len(ignored) == 12:
                raise CutError

        more = {"block_size": 50, "polygons": tmp_path / "f.fgb"}
        with monkeypatch.context() as patch:
            patch.setattr(driver._Tasks, "begin", seldom)
            with pytest.raises(CutError):
                predict(whole[0], tiny_model, tmp_path, dask=scheduler, **more)
        settled(tmp_path / WORK)
        blocks = {path.stem for path in (tmp_path / WORK / "blocks").iterdir()}
        pending = {path.stem for path in (tmp_path / WORK / "pending").glob("r*")} - blocks
        assert len(pending) >= 5
        damaged = tmp_path / WORK / "pending" / f"{max(pending)}.pending"
        damaged.write_bytes(damaged.read_bytes()[:-1])
        lost = next(
            path
            for path in (tmp_path / WORK / "margins").iterdir()
            if path.stem.split("-of-")[1] in pending - {max(pending)}
            and path.stem.split("-of-")[0] not in blocks
        )
        lost.unlink()
        options = {"dask": scheduler} if where == "dask" else {}
        report = predict(whole[0], tiny_model, tmp_path, resume=True, **more, **options).report
        assert report["blocks_resumed"] == len(blocks) + len(pending) - 2
        assert report["chips"] - report["chips_resumed"] == report["blocks"] - report["blocks_resumed"]
        same(tmp_path, whole)

    def test_lost_margins_are_computed_again(self, whole, tiny_model, tmp_path, scheduler, cut, monkeypatch):
        more = {"polygons": tmp_path / "f.fgb"}
        cut_short(whole[0], tiny_model, tmp_path, cut, monkeypatch, 11, **more)
        for path in (tmp_path / WORK / "margins").iterdir():
            path.unlink()
        predict(whole[0], tiny_model, tmp_path, resume=True, dask=scheduler, **more)
        same(tmp_path, whole)

    def test_a_finished_map_needs_no_worker(self, whole, tiny_model, tmp_path, monkeypatch):
        def fail(*_args, **_kwargs):
            raise CutError

        more = {"polygons": tmp_path / "f.fgb", "block_size": 50}
        with monkeypatch.context() as patch:
            patch.setattr("geoseg.execute.run.publish", fail)
            with pytest.raises(CutError):
                predict(whole[0], tiny_model, tmp_path, **more)
        predict(whole[0], tiny_model, tmp_path, resume=True, dask="tcp://127.0.0.1:1", **more)
        same(tmp_path, whole)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"workers": 2, "dask": "tcp://here:1"}, "give one of the two"),
            ({"workers": 0}, "--workers must be at least 1"),
            ({"dask": "here"}, r"--dask here.*tcp://"),
            ({"workers": 2, "concurrency": 3}, "--concurrency"),
        ],
    )
    def test_flags(self, whole, tiny_model, tmp_path, options, words):
        with pytest.raises(SettingsError, match=words):
            predict(whole[0], tiny_model, tmp_path, **options)
        assert list(tmp_path.iterdir()) == []

    def test_no_scheduler_there(self, whole, tiny_model, tmp_path, monkeypatch):
        monkeypatch.setattr(cluster, "_PATIENCE", 1.0)
        with pytest.raises(SettingsError, match=r"--dask tcp://127.0.0.1:1: no scheduler answers there"):
            predict(whole[0], tiny_model, tmp_path, dask="tcp://127.0.0.1:1")
        assert list(tmp_path.iterdir()) == []

    def test_workers_that_cannot_take_part(self, whole, tiny_model, tmp_path, scheduler, monkeypatch):
        monkeypatch.setattr(worker, "__version__", "0.0.1")
        said = Saying()
        with pytest.raises(SettingsError, match="no Dask worker can take part"):
            predict(whole[0], tiny_model, tmp_path, dask=scheduler, progress=said)
        warnings = [line for line in said.lines if "is not used" in line]
        assert len(warnings) == 2
        assert "it has geoseg" in warnings[0]
        assert "not 0.0.1; install the same" in warnings[0]
        assert list(tmp_path.iterdir()) == []

    def test_workers_that_see_another_folder(self, whole, tiny_model, tmp_path, scheduler, monkeypatch):
        require = driver.require

        def elsewhere(*args):
            wanted = require(*args)
            (tmp_path / WORK / "token").write_text("of another run")
            return wanted

        monkeypatch.setattr(driver, "require", elsewhere)
        said = Saying()
        with pytest.raises(SettingsError, match="no Dask worker"):
            predict(whole[0], tiny_model, tmp_path, dask=scheduler, progress=said)
        assert any("another folder" in line for line in said.lines)

    def test_a_task_that_fails_is_one_error(self, tiny_model, tmp_path, scheduler):
        scene = make_scene(tmp_path / "scene.tif", (290, 240), compress="deflate", blockysize=16, tiled=False)
        data = bytearray(scene.read_bytes())
        data[-4000:-2000] = bytes(2000)
        scene.write_bytes(data)
        with pytest.raises(RunError, match=r"rows .* cannot be read: the file is damaged") as caught:
            predict(scene, tiny_model, tmp_path / "out", dask=scheduler, block_size=50)
        assert "\n" not in str(caught.value)
