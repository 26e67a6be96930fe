"""The logger ``geoseg``: what a library user and a user of the command line see of it."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

import geoseg
from geoseg.cli import run
from tests.conftest import make_scene

LOGGER = logging.getLogger("geoseg")


@pytest.fixture
def command(scene, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ["predict", str(scene), "--model", str(tiny_model), "--force", "--backend", "torch"]


def test_a_library_user_sees_what_was_chosen_and_written(tmp_path, tiny_model, caplog):
    path = make_scene(tmp_path / "a.tif")
    with caplog.at_level(logging.DEBUG, logger="geoseg"):
        result = geoseg.predict(path, tmp_path / "map.tif", model=tiny_model, force=True, backend="torch")
    said = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name.startswith("geoseg")
    ]
    assert ("INFO", result.plan.summary()) in said
    assert any(level == "DEBUG" and "torch" in text and "fp32" in text for level, text in said)
    assert ("DEBUG", f"wrote {tmp_path / 'map.tif'}") in said


def test_warnings_are_records_of_that_level(tmp_path, tiny_model, caplog):
    path = make_scene(tmp_path / "a.tif", crs=None)
    geoseg.predict(path, tmp_path / "map.tif", model=tiny_model, force=True, backend="torch")
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings
    assert not any(record.getMessage().startswith("warning") for record in warnings)


@pytest.mark.e2e
def test_python_is_silent_without_a_logger(tmp_path, tiny_model):
    path = make_scene(tmp_path / "a.tif", crs=None)
    code = f"import geoseg; geoseg.predict({str(path)!r}, {str(tmp_path / 'm.tif')!r}, model={str(tiny_model)!r}, force=True, backend='torch')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_command_line_shows_info_and_warnings(command, capsys):
    assert run(command) == 0
    said = capsys.readouterr().err
    assert "chips of 64" in said
    assert "debug: " not in said
    assert LOGGER.level == logging.NOTSET
    assert [type(handler) for handler in LOGGER.handlers] == [logging.NullHandler]


def test_warnings_are_shown_as_such(tmp_path, tiny_model, monkeypatch, capsys):
    path = make_scene(tmp_path / "b.tif", crs=None)
    monkeypatch.chdir(tmp_path)
    assert run(["predict", str(path), "--model", str(tiny_model), "--force", "--backend", "torch"]) == 0
    assert any(line.startswith("warning: ") for line in capsys.readouterr().err.splitlines())


def test_debug_shows_more(command, capsys):
    assert run([*command, "--debug"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert any(line.startswith("debug: geoseg.") and "scene_classes.tif" in line for line in said)


def test_debug_by_variable_raises(command, monkeypatch):
    monkeypatch.setenv("GEOSEG_DEBUG", "1")
    with pytest.raises(geoseg.InputError):
        run([*command[:3], "no-such-model"])


def test_quiet_shows_nothing(command, capsys):
    assert run([*command, "--quiet"]) == 0
    assert capsys.readouterr() == ("scene_classes.tif\n", "")
