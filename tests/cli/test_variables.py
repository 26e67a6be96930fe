"""Options from the environment: which variable counts, and what a wrong value says."""

from __future__ import annotations

import click
import pytest

from geoseg.cli import cli, run
from geoseg.cli.command import SHARED

VERBS = {**cli.commands, **cli.commands["models"].commands}
TAKEN = {"GEOSEG_DATA", "GEOSEG_FIBOA_PYTHON"}
"""Variables of the tests."""


@pytest.fixture
def asked(monkeypatch):
    """What ``geoseg.predict`` is called with."""
    kept = {}

    def remember(scene, **options):
        kept.update(options, scene=scene)
        raise KeyboardInterrupt

    monkeypatch.setattr("geoseg.verbs.predict.predict", remember)
    return kept


def test_a_variable_sets_an_option(asked, monkeypatch):
    monkeypatch.setenv("GEOSEG_PREDICT_CHIP_SIZE", "auto")
    monkeypatch.setenv("GEOSEG_PREDICT_OPEN", "corn:3")
    monkeypatch.setenv("GEOSEG_PREDICT_OVERWRITE", "1")
    monkeypatch.setenv("GEOSEG_PREDICT_BANDS", "nir,3")
    monkeypatch.setenv("GEOSEG_MODEL", "of-everybody")
    monkeypatch.setenv("GEOSEG_DEVICE", "cpu")
    run(["predict", "a.tif"])
    assert asked["chip_size"] == "auto"
    assert asked["opening"] == "corn:3"
    assert asked["overwrite"] is True
    assert asked["bands"] == ["nir", 3]
    assert (asked["model"], asked["device"]) == ("of-everybody", "cpu")


def test_the_command_line_comes_before_a_verbs_variable_before_the_shared_one(asked, monkeypatch):
    monkeypatch.setenv("GEOSEG_MODEL", "shared")
    monkeypatch.setenv("GEOSEG_PREDICT_MODEL", "own")
    run(["predict", "a.tif"])
    assert asked["model"] == "own"
    run(["predict", "a.tif", "--model", "typed"])
    assert asked["model"] == "typed"


def test_an_empty_variable_is_none(asked, monkeypatch):
    monkeypatch.setenv("GEOSEG_MODEL", "")
    run(["predict", "a.tif"])
    assert asked["model"] is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GEOSEG_BACKEND", "tensorflow"),  # refused by the command line
        ("GEOSEG_PREDICT_BATCH_SIZE", "many"),
        ("GEOSEG_PREDICT_CHIP_SIZE", "many"),
        ("GEOSEG_QUIET", "perhaps"),
        ("GEOSEG_PREDICT_OVERLAP", "-3"),  # refused by the verb
        ("GEOSEG_MAX_MEMORY", "much"),
        ("GEOSEG_MODEL", "no-such-model"),
        ("GEOSEG_DEVICE", "abacus"),
    ],
)
def test_a_wrong_value_names_its_variable(variable, value, scene, tiny_model, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOSEG_PREDICT_MODEL", "" if variable == "GEOSEG_MODEL" else str(tiny_model))
    monkeypatch.setenv(variable, value)
    assert run(["predict", str(scene), "--force"]) == 2
    shown = capsys.readouterr()
    assert variable in shown.err.splitlines()[-1]
    assert shown.out == ""


def test_a_wrong_value_of_the_command_line_names_no_variable(scene, tiny_model, monkeypatch, capsys):
    monkeypatch.setenv("GEOSEG_MODEL", str(tiny_model))
    assert run(["predict", str(scene), "--force", "--max-memory", "much"]) == 2
    assert "GEOSEG_" not in capsys.readouterr().err


def test_no_two_options_share_a_variable_but_on_purpose():
    owners = {}
    for verb, command in VERBS.items():
        for option in command.params:
            for variable in option.envvar or () if isinstance(option, click.Option) else ():
                owners.setdefault(variable, set()).add((verb, option.name))
    assert not TAKEN & set(owners)
    for variable, found in owners.items():
        assert len(found) == 1 or {name for _, name in found} <= set(SHARED), variable
        assert len({name for _, name in found}) == 1, variable


def test_help_says_which_variables_there_are(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in SHARED:
        assert f"GEOSEG_{name.upper()}" in shown


def test_forwards_is_an_old_name_of_concurrency(asked, capsys):
    for words in (["--concurrency", "3"], ["--forwards", "3"], ["--forwards=3"]):
        asked.clear()
        run(["predict", "a.tif", *words])
        assert asked["concurrency"] == 3
    assert run(["predict", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--concurrency" in shown
    assert "--forwards" not in shown
