"""``geoseg env``: it says what works, says what does not, and never fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

import geoseg
from geoseg._version import __version__
from geoseg.cli import run
from geoseg.inference.backends import onnx_
from geoseg.verbs import env as verb

PARTS = (
    "geoseg",
    "python",
    "system",
    "cache",
    "packages",
    "backends",
    "devices",
    "gdal",
    "proj",
    "drivers",
    "variables",
    "models",
)


def in_a_process(*arguments, **variables):
    """Run the real command, so that libraries meet the variables when they are loaded."""
    return subprocess.run(
        [sys.executable, "-m", "geoseg", "env", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )


BROKEN = {  # backend: its package, what the package does when it is imported, what is said of it
    "torch": ("torch", "raise SystemExit(3)", "SystemExit: 3"),
    "openvino": ("openvino", "raise ImportError('libfoo.so.7 is missing')", "libfoo.so.7 is missing"),
    "onnx": ("onnxruntime", "import os; os._exit(11)", "ended Python with code 11"),
}


@pytest.fixture
def broken(tmp_path):
    """Make broken packages that are found before the real ones; gives the path to put into PYTHONPATH."""
    for name, code, _ in BROKEN.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(code)
    return os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))


@pytest.fixture(scope="module")
def found():
    return geoseg.env()


def test_it_is_plain_json(found):
    content = json.loads(json.dumps(found.to_json()))
    assert tuple(content) == (*PARTS, "problems")
    assert content["geoseg"]["version"] == __version__
    assert content["packages"]["numpy"]
    assert content["system"]["memory_bytes"] >= content["system"]["memory_free_bytes"] > 0
    assert content["models"]["dakota-crops"]["version"]


def test_what_the_tests_run_with_works(found):
    content = found.to_json()
    assert content["problems"] == []
    for backend in ("torch", "openvino", "onnx"):
        assert content["backends"][backend]["works"], content["backends"][backend]
    assert content["devices"]["cpu"]["works"]
    assert content["devices"]["cuda"]["works"] or content["devices"]["cuda"]["problem"]
    assert content["proj"]["rasterio"]["works"]
    assert content["proj"]["pyproj"]["works"]
    assert content["drivers"]["rasterio"]["GTiff"] == "there"
    assert content["drivers"]["pyogrio"]["GPKG"] == "reads and writes"


def test_the_text_has_every_part(found):
    lines = found.text().splitlines()
    for part in PARTS:
        assert part in lines
    assert lines[-2:] == ["problems", "  none"]
    assert any(line.split()[:2] == ["torch", "works,"] for line in lines)


def test_stdout_is_json_and_nothing_else(monkeypatch, capsys, found):
    monkeypatch.setattr(verb, "env", lambda: found)
    assert run(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found.to_json()
    assert run(["env"]) == 0
    assert capsys.readouterr().out == found.text() + "\n"


def test_broken_backends_are_said(broken):
    done = in_a_process(PYTHONPATH=broken)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    for backend, (_, _, words) in BROKEN.items():
        (line,) = (line for line in lines if line.split()[:4] == [backend, "does", "not", "work;"])
        assert words in line
        assert any(line.startswith(f"  backend {backend}: ") for line in lines)


def test_a_backend_that_is_not_installed_is_no_problem_but_says_how_to_get_it(monkeypatch):
    devices = {"cpu_bf16": False, "cuda": {"works": True}, "mps": {"works": True}}
    monkeypatch.setattr(verb, "_probe_in_process", lambda _name: {"works": True, "devices": devices})
    monkeypatch.setattr(onnx_, "KIND", replace(onnx_.KIND, package="no_such_package"))
    found = verb.env()
    assert found.content["backends"]["onnx"] == {
        "works": False,
        "installed": False,
        "problem": "no_such_package is not installed",
        "fix": 'pip install "geoseg[onnx]"',
    }
    assert found.problems == ()


def test_data_of_another_programs_proj_and_gdal_is_set_aside_and_named(broken, tmp_path):
    foreign = str(tmp_path)
    done = in_a_process("--json", PROJ_DATA=foreign, PROJ_LIB=foreign, GDAL_DATA=foreign, PYTHONPATH=broken)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    problems = "\n".join(content["problems"])
    for name in ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        assert f"{name}={tmp_path} is set: it is of another program" in problems
    assert all(about["works"] for about in content["proj"].values())
    assert all(about["data"]["works"] for about in content["gdal"].values())


def test_broken_parts_do_not_hide_the_others(monkeypatch):
    def fail(*_args):
        raise OSError("no such thing")

    for name in ("_system", "_cache", "_gdal", "_drivers", "_models", "_probe_in_process"):
        monkeypatch.setattr(verb, name, fail)
    found = verb.env()
    assert found.content["python"]["version"]
    text = found.text()
    assert text.count("OSError: no such thing") > 6
    assert "torch does not work" in text


def test_no_secret_is_shown(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("GDAL_HTTP_USERPWD", "me:hush")
    monkeypatch.setenv("GDAL_HTTP_PROXY", "http://me:hush@proxy:80")
    monkeypatch.setenv("GEOSEG_PREDICT_DASK", "tcp://host:8786")
    monkeypatch.setenv("UNRELATED", "hush")
    shown = verb._variables()
    assert "hush" not in "".join(shown.values())
    assert shown["GDAL_HTTP_PROXY"] == "http://***@proxy:80"
    assert shown["GEOSEG_PREDICT_DASK"] == "tcp://host:8786"
    assert "AWS_SECRET_ACCESS_KEY" in shown
    assert "UNRELATED" not in shown
