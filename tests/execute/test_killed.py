"""kill -9 of a run, at many moments: ``--resume`` ends with the same bytes and computes no finished block again."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest

import geoseg
from tests.conftest import make_scene

SCRIPT = """
import os, signal, sys

import geoseg
import geoseg.execute.work_folder

folder, scene, model, moment, workers = sys.argv[1:]
replace, rename, calls = os.replace, os.rename, []

def dies(moves):
    def move(source, target):
        calls.extend([target] * str(target).startswith(folder))
        if str(len(calls)) == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        moves(source, target)
    return move

os.replace, os.rename = dies(replace), dies(rename)
geoseg.predict(
    scene, f"{folder}/map.tif", model=model, confidence=f"{folder}/sure.tif", polygons=f"{folder}/f.fgb",
    report=f"{folder}/run.json", force=True, block_size=100, resume=True, workers=int(workers) or None,
)
print(len(calls))
"""


def start(folder, scene, model, moment="never", workers=0):
    """Predict in a process that kills itself right before it gives a file its name for the nth time."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, (folder, scene, model, moment, workers))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def resume(folder, scene, model):
    """Go on in this process: whatever a run needs of the killed one lies in the folder."""
    outputs = {"confidence": folder / "sure.tif", "polygons": folder / "f.fgb", "report": folder / "run.json"}
    geoseg.predict(scene, folder / "map.tif", model=model, **outputs, force=True, block_size=100, resume=True)


def outputs(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def blocks_in(folder):
    return len(list(folder.glob("map.tif.geoseg-work/blocks/r*")))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_model):
    """A scene, what an uninterrupted run makes of it, and how many files it gives a name."""
    folder = tmp_path_factory.mktemp("whole")
    scene = make_scene(folder / "scene.tif", (290, 240))
    done = start(folder / "out", scene, tiny_model)
    out, err = done.communicate()
    assert done.returncode == 0, err
    return scene, outputs(folder / "out"), int(out)


# A file is renamed for the folder, for every block and margin, for every output, and for the folder again.
@pytest.mark.parametrize("share", [0, 0.35, 0.6, 0.8, 0.9, 1])
def test_killed_before_a_file_gets_its_name(whole, tiny_model, tmp_path, share):
    scene, reference, files = whole
    moment = max(1, round(share * files))
    killed = start(tmp_path, scene, tiny_model, moment)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    finished = blocks_in(tmp_path)
    resume(tmp_path, scene, tiny_model)
    assert outputs(tmp_path) == reference
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["blocks_resumed"] == finished
    assert finished or share < 0.2, "late moments leave finished blocks"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_any_time(whole, tiny_model, tmp_path, workers):
    scene, reference, _ = whole
    rng = random.Random()
    for _ in range(2 - workers // 2):
        killed = start(tmp_path, scene, tiny_model, workers=workers)
        deadline = time.monotonic() + 60
        while blocks_in(tmp_path) == 0 and killed.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.15))
        killed.kill()
        killed.communicate()
    resume(tmp_path, scene, tiny_model)
    assert outputs(tmp_path) == reference
