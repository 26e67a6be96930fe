"""The API from several threads at once: the bytes of one run, and nothing of it left open."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psutil

import geoseg
from tests.conftest import make_scene

THREADS = 8


def test_eight_threads_at_once(tiny_model, tmp_path):
    scene = make_scene(tmp_path / "scene.tif", (90, 80))
    ready = threading.Barrier(THREADS)

    def predict(number, together=True):
        folder = tmp_path / str(number)
        folder.mkdir()
        if together:
            ready.wait()
        geoseg.predict(
            scene,
            folder / "map.tif",
            model=tiny_model,
            polygons=folder / "fields.fgb",
            force=True,
            backend="torch",
        )
        geoseg.polygonize(folder / "map.tif", folder / "again.fgb", sieve="3px")
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    alone = predict("alone", together=False)
    before = threading.active_count(), psutil.Process().num_fds()
    with ThreadPoolExecutor(THREADS) as threads:
        results = list(threads.map(predict, range(THREADS)))
    assert all(result == alone for result in results)
    assert threading.active_count() <= before[0]
    assert psutil.Process().num_fds() <= before[1]
