"""A scene is a value: read from any thread and process, pickled, closed and read again."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from geoseg.grid import Window
from geoseg.raster import source
from geoseg.scene import open_scene
from tests.scene.rasters import ramp, write


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "a.tif", ramp(2, 300, 300), tiled=True, blockxsize=64, blockysize=64, nodata=5)


def checksum(scene, row=0):
    values, valid = scene.read(Window(row, 0, 100, 300))
    return float(np.nansum(values, dtype=np.float64)), int(valid.sum())


def test_eight_threads_read_the_same_as_one(path):
    scene = open_scene(path)
    rows = [row % 200 for row in range(0, 3200, 13)]
    expected = [checksum(scene, row) for row in rows]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda row: checksum(scene, row), rows)) == expected


def test_each_thread_has_its_own_handle(path):
    scene = open_scene(path)
    file = scene.stacks[0][0].source

    def handle(_):
        with source.borrow(file) as dataset:
            return id(dataset), dataset  # kept, so that no id is used twice

    mine = handle(0)
    assert handle(0)[0] == mine[0], "a handle stays open for the next read"
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        theirs = [one.submit(handle, 0).result(), other.submit(handle, 0).result()]
    assert len({mine[0], theirs[0][0], theirs[1][0]}) == 3


def test_a_spawned_process_reads_a_pickled_scene(path):
    scene = open_scene(path).select([2])
    expected = checksum(scene)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(checksum, scene).result(timeout=60) == expected


def test_a_pickled_scene_is_equal_and_small(path):
    scene = open_scene(path)
    checksum(scene)
    data = pickle.dumps(scene)
    assert pickle.loads(data) == scene
    assert len(data) < 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_opens_its_own_handle(path):
    scene = open_scene(path)
    expected = checksum(scene)
    with source.borrow(scene.stacks[0][0].source) as dataset:
        inherited = id(dataset)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        with source.borrow(scene.stacks[0][0].source) as dataset:
            fresh = id(dataset) != inherited
        os.write(write_end, b"1" if fresh and checksum(scene) == expected else b"0")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read_end, 1) == b"1"
    assert checksum(scene) == expected, "the parent's handle is untouched"


def test_close_closes_all_threads_handles_and_reading_opens_again(path):
    scene = open_scene(path)
    file = scene.stacks[0][0].source
    expected = checksum(scene)
    opened = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            pool.submit(lambda: opened.append(source._of_process().of_thread(file).dataset)).result()
        scene.close()
        assert opened
        assert all(dataset.closed for dataset in opened)
        assert pool.submit(checksum, scene).result() == expected
    assert checksum(scene) == expected


def test_closing_while_others_read_harms_nobody(tmp_path):
    """Each read decodes for some milliseconds with the interpreter let go, so that closing falls into it."""
    options = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    scene = open_scene(write(tmp_path / "a.tif", ramp(2, 1000, 1000), **options))
    whole = Window(0, 0, 1000, 1000)
    expected = float(scene.read(whole)[0].sum(dtype=np.float64))
    with ThreadPoolExecutor(3) as pool:
        reads = [pool.submit(lambda: float(scene.read(whole)[0].sum(dtype=np.float64))) for _ in range(30)]
        while not all(read.done() for read in reads):
            scene.close()
        assert {read.result() for read in reads} == {expected}


def test_a_thread_keeps_a_bounded_number_of_files_open(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_MOST_OPEN", 3)
    scenes = [open_scene(write(tmp_path / f"{i}.tif", ramp(1, 3, 3))) for i in range(6)]
    opened = []
    with ThreadPoolExecutor(1) as pool:
        for scene in scenes:
            file = scene.stacks[0][0].source
            opened.append(pool.submit(lambda f=file: source._of_process().of_thread(f).dataset).result())
        assert [dataset.closed for dataset in opened] == [True] * 3 + [False] * 3
        assert pool.submit(scenes[0].read, Window(0, 0, 3, 3)).result()[1].all()
