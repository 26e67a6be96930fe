"""A run writes outputs, its work folder, the cache and temporary files, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.labelled_scenes import make_files
from tests.training.training_runs import RECIPE

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


COMMANDS = {
    "predict": "predict scene.tif -o OUT/m.tif --model MODEL --force --polygons OUT/p.gpkg --report OUT/r.json",
    "polygonize": "polygonize map.tif -o OUT/m.fgb --simplify 1px --sieve 2px --refined OUT/m.tif --report OUT/r.json",
    "evaluate": "evaluate map.tif --labels scene_labels.tif --report OUT/m.html",
    "evaluate a model": "evaluate MODEL --scene scene.tif --labels scene_labels.tif --report OUT/m.json --force",
    "sample": "evaluate map.tif --draw-sample 9 -o OUT/m.gpkg",
    "inspect": "inspect scene.tif --model MODEL",
    "check": "train recipe.toml --check --report OUT/m.json",
    "train": "train recipe.toml -o OUT/m --force",
}
"""What it is -> a command; its main output begins with OUT/m."""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("what", COMMANDS)
def test_a_run_writes_nothing_elsewhere(what, tmp_path, tiny_model):
    places = {name: tmp_path / name for name in ("out", "cache", "temporary", "home", "here")}
    for place in places.values():
        place.mkdir()
    make_files(places["here"])
    shutil.copy(places["here"] / "scene_labels.tif", places["here"] / "map.tif")
    recipe = RECIPE.replace("epochs = 4", "epochs = 1")
    (places["here"] / "recipe.toml").write_text(recipe)
    log, out = tmp_path / "log", places["out"]
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
    ]
    words = COMMANDS[what].replace("OUT", str(out)).replace("MODEL", str(tiny_model)).split()
    done = subprocess.run(
        [*trace, str(log), sys.executable, "-B", "-m", "geoseg", *words],
        cwd=places["here"], capture_output=True, text=True, check=False,
        env=os.environ | {
            "HOME": str(places["home"]), "XDG_CACHE_HOME": str(places["cache"]),
            "TMPDIR": str(places["temporary"]), "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    )  # fmt: skip
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("this system lets nobody trace processes")
    assert done.returncode == 0 or what == "inspect", done.stderr
    paths = set(written(log.read_text(), places["here"]))
    is_read_right = any(path.startswith(f"{out}{os.sep}m") for path in paths)
    assert is_read_right or what == "inspect"
    allowed = tuple(f"{places[name]}{os.sep}" for name in ("out", "cache", "temporary")) + _DEVICES
    own = {str(places[name]) for name in ("out", "cache", "temporary")}
    assert sorted(path for path in paths - own if not path.startswith(allowed)) == []
