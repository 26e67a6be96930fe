"""Injected faults, fuzzing and soak: one short round of each, and that their judges see what must not be."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "workflows" / "reliability"))

from faults import OLD, FaultError, check_cut, check_said
from fuzz import _result, mutate
from soak import grown

FOLDER = Path(__file__).parents[2] / "workflows" / "reliability"
BEFORE = {"scene.tif": b"scene"}
REFUSED = "geoseg: error: scene.tif: is damaged"


@pytest.mark.longer
@pytest.mark.parametrize(
    "command",
    [
        "faults.py --rounds 1 --seed 1",
        "fuzz.py --minutes 2 --count 590 --seed 1 --keep {keep}",
        "soak.py --predicts 40",
    ],
    ids=["faults", "fuzz", "soak"],
)
def test_short_round(command, tmp_path):
    words = command.format(keep=tmp_path / "findings").split()
    words = [sys.executable, FOLDER / words[0], *words[1:]]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("code", "said", "after", "result"),
    [
        (0, "", {"out.tif": b"map"}, "done"),
        (2, REFUSED, {}, "refused"),
        (1, REFUSED, {"out.tif.geoseg-work/lock": b""}, "failed"),
        (None, "", {}, "hang"),
        (-11, "", {}, "crash"),
        (1, "Traceback (most recent call last)", {}, "traceback"),
        (1, "geoseg: failed: KeyError: 'x'", {}, "traceback"),
        (0, "", {"scene.tif": b"other"}, "touched"),
        (2, REFUSED, {"scene.tif": b"longer than before"}, "touched"),
        (0, "", {".out.12.ab.part.tif": b""}, "left behind"),
        (0, "", {"fields.gfs": b""}, "left behind"),
        (1, REFUSED, {"out.tif": b"half"}, "left behind"),
        (2, "", {}, "no reason"),
    ],
)
def test_the_fuzzer_sees(code, said, after, result):
    assert _result(code, said, BEFORE, BEFORE | after) == result


def test_mutants_differ_and_can_be_made_again():
    data = bytes(range(256)) * 8
    mutants = {mutate(data, random.Random(seed), text=False) for seed in range(50)}
    assert len(mutants) > 45
    assert mutate(data, random.Random(7), text=False) == mutate(data, random.Random(7), text=False)
    assert mutate(b'{"a": 1.5, "b": [2]}', random.Random(1), text=True) != b'{"a": 1.5, "b": [2]}'


@pytest.fixture
def place(tmp_path):
    return SimpleNamespace(
        folder=tmp_path, whole={"map.tif": b"map", "sure.tif": b"sure"}, said=tmp_path / "said"
    )


@pytest.mark.parametrize(
    ("files", "had_old", "words"),
    [
        ({"map.tif": b"ma"}, False, "not what a whole run writes"),
        ({"map.tif": OLD}, False, "not what a whole run writes"),
        ({".map.1.aa.part.tif": b"m"}, False, "left behind"),
        ({"map.tif": OLD, "sure.tif": OLD, "run.json": OLD}, True, "an old output is gone"),
    ],
)
def test_faults_are_seen(place, files, had_old, words):
    for name, data in files.items():
        (place.folder / name).write_bytes(data)
    with pytest.raises(FaultError, match=words):
        check_cut(place, had_old=had_old)


def test_what_may_be_left_of_a_cut_run(place):
    (place.folder / "map.tif.geoseg-work").mkdir()
    (place.folder / "sure.tif").write_bytes(b"sure")  # a kill between two renames
    assert check_cut(place, had_old=False) == "cut short, blocks kept"


@pytest.mark.parametrize(("code", "said"), [(1, "Traceback"), (3, REFUSED), (1, ""), (None, REFUSED)])
def test_ends_without_a_reason_are_seen(place, code, said):
    place.said.write_text(said)
    with pytest.raises(FaultError):
        check_said(place, code, (0, 1, 2))


def test_growth_is_seen():
    assert grown([100, 100, 101, 99, 100, 101, 100, 100, 101, 100]) < 0.02
    assert grown([100, 101, 102, 103, 104, 105, 106, 107, 108, 109]) > 0.05
