"""A run writes outputs, its work folder, the cache and temporary files, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import make_scene

_CALL = re.compile(
    r'\b(\w+)\((?:AT_FDCWD(?:<[^>]*>)?, )?"((?:[^"\\]|\\.)*)"(?:, (?:AT_FDCWD(?:<[^>]*>)?, )?"([^"]*)")?([^\n]*)'
)
_CHANGING = (
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "link",
    "symlink",
    "truncate",
    "creat",
    "mknod",
    "chmod",
    "chown",
    "utimensat",
)
_DEVICES = ("/dev/null", "/dev/tty", "/dev/shm/", "/proc/self/")


def written(log, folder):
    """Paths that a traced process opened for writing, made, renamed or removed."""
    for line in log.splitlines():
        call = _CALL.search(line)
        if call is None or " = -1 " in line:
            continue
        name, first, second, rest = call.groups()
        is_opened = name.startswith("open") and re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", rest)
        if is_opened or name.removesuffix("at").removesuffix("at2").startswith(_CHANGING):
            yield from (os.path.normpath(folder / path) for path in (first, second) if path)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_run_writes_nothing_elsewhere(tmp_path, tiny_model):
    places = {name: tmp_path / name for name in ("out", "cache", "temporary", "home", "here")}
    for place in places.values():
        place.mkdir()
    scene = make_scene(places["here"] / "scene.tif", shape=(60, 60))
    log = tmp_path / "log"
    trace = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-s",
        "4096",
        "-e",
        "trace=%file",
        "-e",
        "signal=none",
        "-o",
        str(log),
    ]
    out = places["out"]
    done = subprocess.run(
        [*trace, sys.executable, "-B", "-m", "geoseg", "predict", scene, "-o", out / "m.tif", "--model", tiny_model,
         "--force", "--polygons", out / "p.gpkg", "--report", out / "r.json"],
        cwd=places["here"], capture_output=True, text=True, check=False,
        env=os.environ | {
            "HOME": str(places["home"]), "XDG_CACHE_HOME": str(places["cache"]),
            "TMPDIR": str(places["temporary"]), "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    )  # fmt: skip
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("this system lets nobody trace processes")
    assert done.returncode == 0, done.stderr
    paths = set(written(log.read_text(), places["here"]))
    assert str(out / "m.tif") in paths  # the trace is read right
    allowed = tuple(f"{places[name]}{os.sep}" for name in ("out", "cache", "temporary")) + _DEVICES
    own = {str(places[name]) for name in ("out", "cache", "temporary")}
    assert sorted(path for path in paths - own if not path.startswith(allowed)) == []
