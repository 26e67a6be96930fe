"""What a worker does with files, and what of geoseg it imports for it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from geoseg.errors import RunError
from geoseg.execute.block_store import BlockStore
from geoseg.execute.dask import driver, worker
from geoseg.execute.dask.worker import BlockResult, BlockWorker, read_spec, write_spec
from geoseg.execute.spec import RunSpec
from geoseg.inference.stitching import BlockGraph
from tests.conftest import make_scene
from tests.execute.cut_runs import CutError, predict

MOST_MODULES = 65
"""Of geoseg: 61 today, and 161 before workers were told apart from who starts them."""
NOTHING_OF = ("polygons", "refine", "doctor", "assess", "labels", "training", "verbs", "cli", "maps.writer")


@pytest.fixture
def address(tiny_model, tmp_path, monkeypatch):
    """Where a run of 30 blocks has left its spec."""
    addresses, write = [], driver.write_spec
    monkeypatch.setattr(driver, "write_spec", lambda spec, _: addresses.append(write(spec, tmp_path)))
    monkeypatch.setattr(driver, "open_cluster", lambda *_: (_ for _ in ()).throw(CutError))
    scene = make_scene(tmp_path / "scene.tif", (290, 240), tiled=True, blockxsize=768, blockysize=768)
    with rasterio.open(scene, "r+") as raster:  # nothing to be mapped in the whole first block
        raster.write(np.full((2, 70, 70), -9999, np.int16), window=((0, 70), (0, 70)))
    with pytest.raises(CutError):
        predict(scene, tiny_model, tmp_path / "out", workers=1, block_size=50, backend="torch")
    BlockStore(tmp_path).make()
    return addresses[0]


@pytest.fixture
def block_worker(address):
    made = BlockWorker(address, 1)
    yield made
    made.close()


def test_workers_read_as_many_rows_at_once_as_one_process(address):
    """Whole tiles of the scene's files, so that no tile is decoded twice."""
    assert read_spec(address).scene.strip_rows == 768
    assert read_spec(address).ingredients().strip_rows == 768


def test_a_worker_imports_what_it_computes_with(address):
    code = """
import json, pickle, sys
from geoseg.execute.dask import pool, worker
made = worker.BlockWorker(worker.SpecAddress(*sys.argv[1:]), 1)
first, second = made.compute((0, 2)), made.compute((0, 3))
made.complete(second, [first])
made.close()
print(json.dumps(sorted(name for name in sys.modules if name.startswith("geoseg"))))
"""
    command = [sys.executable, "-c", code, address.folder, address.digest]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout)
    assert "geoseg.inference.backends.torch_" in modules
    others = [f"geoseg.{name}" for name in NOTHING_OF]
    assert [name for name in modules if name.startswith(tuple(others))] == []
    assert len(modules) <= MOST_MODULES, modules


class TestAgain:
    """Tasks that are done again, because what they returned was lost with a worker."""

    @pytest.fixture
    def computed(self, block_worker):
        indices = [(1, 1), (1, 2), (2, 1), (2, 2)]
        return {index: block_worker.compute(index) for index in indices}

    @pytest.fixture
    def idle(self, block_worker, monkeypatch):
        """The same worker, that computes nothing any more."""
        monkeypatch.setattr(BlockWorker, "computer", None)
        return block_worker

    def test_nothing_is_computed_twice(self, computed, idle):
        assert {index: idle.compute(index) for index in computed} == computed
        assert all(result.has_margins for result in computed.values())

    def test_a_block_without_chips(self, block_worker, monkeypatch):
        first = block_worker.compute((0, 0))
        assert first == BlockResult((0, 0), is_finished=True, has_margins=False)
        monkeypatch.setattr(BlockWorker, "computer", None)
        assert block_worker.compute((0, 0)) == first

    def test_a_finished_block_stays_as_it_is(self, computed, idle, tmp_path):
        *sources, last = computed.values()
        idle.complete(last, sources)
        path = tmp_path / "blocks" / "r2c2.block"
        before = path.read_bytes(), path.stat().st_mtime_ns
        assert not list((tmp_path / "margins").glob("r2c2-of-*")), "nobody needs them any more"
        idle.complete(last, sources)
        assert idle.compute((2, 2)).is_finished
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before

    @pytest.mark.parametrize("lost", ["pending/r2c2.pending", "margins/r3c3-of-r2c2.margin"])
    def test_what_was_damaged_is_computed_again(self, computed, block_worker, tmp_path, lost):
        path = tmp_path / lost
        path.write_bytes(path.read_bytes()[:-100])
        assert block_worker.compute((2, 2)) == computed[2, 2]
        assert set(np.load(path)) > {"values"}

    def test_what_is_lost_while_it_is_needed_ends_the_run(self, computed, idle, tmp_path, monkeypatch):
        monkeypatch.setattr(worker, "wait_for", lambda look: look())
        (tmp_path / "margins" / "r2c2-of-r1c1.margin").unlink()
        *sources, last = computed.values()
        with pytest.raises(RunError, match=r"what block \(2, 2\) is made of was damaged; --resume"):
            idle.complete(last, sources)

    def test_another_worker_was_faster(self, computed, idle, tmp_path, monkeypatch):
        """One that was taken for lost completes the block while this one looks for margins that are gone."""
        *sources, last = computed.values()

        def look_late(look):
            if not BlockStore(tmp_path).has_finished((2, 2)):
                monkeypatch.setattr(worker, "wait_for", lambda look: look())
                idle.complete(last, sources)
            return look()

        monkeypatch.setattr(worker, "wait_for", look_late)
        idle.complete(last, sources)
        assert BlockStore(tmp_path).finished((2, 2)) is not None


def test_margins_of_finished_neighbours_are_not_left_behind(block_worker, tmp_path):
    graph = BlockGraph(block_worker.spec.blocks)
    results = {}
    for row in range(2):
        for col in range(2):
            results[row, col] = block_worker.compute((row, col))
            sources = [results[place.source] for place in graph.received((row, col))]
            block_worker.complete(results[row, col], sources)
    (tmp_path / "blocks" / "r0c1.block").unlink()
    block_worker.compute((0, 1))
    assert not (tmp_path / "margins" / "r1c1-of-r0c1.margin").exists()


def test_a_spec_that_was_changed_is_not_opened(tmp_path):
    address = write_spec(RunSpec(None, None, None, None, None, None, ()), tmp_path)
    path = tmp_path / "spec"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="is not the spec of this run"):
        read_spec(address)


def test_a_spec_of_another_version_is_not_unpickled(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "__version__", "0.0.1")
    address = write_spec(RunSpec(None, None, None, None, None, None, ()), tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(worker, "pickle", SimpleNamespace())
    with pytest.raises(RunError, match=r"it has geoseg .*, not 0\.0\.1; install the same everywhere"):
        read_spec(address)


def test_results_can_be_sent():
    result = BlockResult((1, 2), is_finished=True, has_margins=False, peaks={"a": 3})
    assert pickle.loads(pickle.dumps(result)) == result
    assert len(pickle.dumps(result)) < 300


def test_only_its_owner_reads_a_spec_and_it_goes_with_the_run(tmp_path):
    write_spec(RunSpec(None, None, None, None, None, None, ()), tmp_path)
    if os.name == "posix":
        assert (tmp_path / "spec").stat().st_mode & 0o077 == 0
    worker.remove_spec(tmp_path)
    assert not (tmp_path / "spec").exists()
