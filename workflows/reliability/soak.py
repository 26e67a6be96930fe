"""Predict again and again in one process: memory stays, and no file or thread is left open.

``python workflows/reliability/soak.py`` runs 200 predicts with all outputs, after some that warm up.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GDAL_CACHEMAX": "64"}

import psutil
from inputs import make_model, make_scene

import geoseg

LIMIT = 0.05
"""Share by which memory may grow."""


def grown(memory: Sequence[float]) -> float:
    """By which share memory grew: the median of the last fifth to that of the first."""
    fifth = max(1, len(memory) // 5)
    return median(memory[-fifth:]) / median(memory[:fifth]) - 1


def soak(predicts: int, warm_up: int, folder: Path) -> dict[str, object]:
    """Predict; returns what was measured."""
    scene, model = make_scene(folder / "scene.tif", (200, 180)), make_model(folder / "model")
    process, memory = psutil.Process(), []
    files, threads, before = -1, -1, None
    for number in range(warm_up + predicts):
        geoseg.predict(
            scene,
            folder / "map.tif",
            model=model,
            confidence=folder / "sure.tif",
            polygons=folder / "fields.gpkg",
            report=folder / "run.json",
            block_size=100,
            overwrite=True,
            force=True,
        )
        data = (folder / "map.tif").read_bytes()
        if before not in (None, data):
            sys.exit(f"predict {number} gave other bytes")
        before = data
        gc.collect()
        if number == warm_up:
            files, threads = process.num_fds(), threading.active_count()
        if number >= warm_up:
            memory.append(process.memory_info().rss)
    return {
        "predicts": predicts,
        "memory_mb": [round(memory[0] / 1e6), round(memory[-1] / 1e6)],
        "grown": round(grown(memory), 4),
        "files": [files, process.num_fds()],
        "threads": [threads, threading.active_count()],
    }


def main() -> int:
    """Soak, print what was measured, and exit with 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--predicts", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--json", type=Path, help="Write what was measured here.")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        found = soak(options.predicts, options.warm_up, Path(scratch))
    print(json.dumps(found), f"{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    (files, files_now), (threads, threads_now) = found["files"], found["threads"]
    return 1 if found["grown"] > LIMIT or files_now > files or threads_now > threads else 0


if __name__ == "__main__":
    sys.exit(main())
