"""The command line as a user meets it: help, results on stdout, one clear line and an exit code for mistakes."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import rasterio

import geoseg as geoseg_api
from geoseg.cli import cli, run
from geoseg.cli.console import _pass_over_undecodable
from geoseg.models import sources
from tests.conftest import make_scene
from tests.doctor.bundles import CROPS, PICTURES, farmland, put_card


def geoseg(*arguments, cwd=None):
    """Run the real command in a process of its own."""
    command = [sys.executable, "-m", "geoseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize(
    "verb", [[], *[[name] for name in cli.commands], ["models", "list"], ["models", "show"]]
)
def test_every_verb_explains_itself(verb, capsys):
    assert run([*verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: geoseg" in shown
    assert len(shown.splitlines()) > 4


@pytest.mark.parametrize(
    ("verb", "needed"), [("predict", ["a"]), ("polygonize", ["a", "-o", "b.gpkg"]), ("inspect", ["a"])]
)
def test_options_are_the_python_arguments_with_the_same_defaults(verb, needed):
    arguments = inspect.signature(getattr(geoseg_api, verb)).parameters
    options = cli.commands[verb].make_context(verb, list(needed)).params
    assert set(options) - {"quiet", "json"} == set(arguments) - {"progress"}
    for name in set(options) - {"quiet", "json", "scene", "class_map", "output"}:
        assert options[name] == arguments[name].default, name


def test_help_imports_nothing_heavy():
    code = "import sys; from geoseg.cli import run; run(['--help']); print([m for m in ('torch', 'geopandas', 'rasterio', 'dask', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.e2e
@pytest.mark.slow
def test_predict_names_the_map_after_the_scene(scene, tiny_model, tmp_path):
    done = geoseg(
        "predict", scene, "--model", tiny_model, "--force", "--confidence", "conf.tif", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["scene_classes.tif", "conf.tif"]
    with rasterio.open(tmp_path / "scene_classes.tif") as raster:
        assert raster.nodata == 255
    assert "Mpx" in done.stderr


@pytest.mark.e2e
def test_quiet_says_nothing_but_results(scene, tiny_model, tmp_path):
    done = geoseg("predict", scene, "--model", tiny_model, "--force", "--quiet", "-o", "m.tif", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "m.tif\n", "")


@pytest.mark.e2e
def test_a_dry_run_prints_only_the_plan(scene, tiny_model, tmp_path):
    done = geoseg("predict", scene, "--model", tiny_model, "--force", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "chips of 64" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene.tif"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict"], "SCENE"),
        (["predict", "missing.tif"], "missing.tif"),
        (["predict", "scene.tif", "--model", "no-such-model"], "no-such-model"),
        (["predict", "scene.tif", "--chip-size", "many"], "'many' is neither a number of pixels nor auto"),
        (["predict", "scene.tif", "--no-such-flag"], "--no-such-flag"),
        (["predict", "text.tif"], "text.tif"),
        (["inspect", "missing.tif"], "missing.tif"),
        (["polygonize", "missing.tif", "-o", "x.gpkg"], "missing.tif"),
        (["models", "show", "no-such-model"], "no-such-model"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_mistakes_get_one_clear_line_and_exit_code_2(arguments, words, scene, monkeypatch, capsys):
    monkeypatch.chdir(scene.parent)
    (scene.parent / "text.tif").write_text("not a raster")
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert sorted(path.name for path in scene.parent.iterdir()) == ["scene.tif", "text.tif"]


def test_a_bug_is_one_line_unless_debugging(monkeypatch, scene, capsys):
    def fail(*_args, **_kwargs):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("geoseg.verbs.inspect.inspect", fail)
    assert run(["inspect", str(scene)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ZeroDivisionError):
        run(["inspect", str(scene), "--debug"])


def test_debugging_shows_an_error_that_the_console_would_pass_over(monkeypatch, scene):
    def fail(*_args, **_kwargs):
        raise UnicodeDecodeError("utf-8", b"\x80", 0, 1, "of ours")

    monkeypatch.setattr("geoseg.verbs.inspect.inspect", fail)
    monkeypatch.setattr(sys, "excepthook", _pass_over_undecodable)
    with pytest.raises(UnicodeDecodeError):
        run(["inspect", str(scene), "--debug"])
    assert sys.excepthook is sys.__excepthook__


def test_an_interrupt_exits_with_130(monkeypatch, scene, tmp_path, tiny_model, capsys):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("geoseg.execute.run.publish", interrupt)
    monkeypatch.chdir(tmp_path)
    assert run(["predict", str(scene), "--model", str(tiny_model), "--force"]) == 130
    assert "interrupted; 1 of 1 blocks are kept" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene.tif", "scene_classes.tif.geoseg-work"]


def test_inspect_says_what_to_do(tmp_path, tiny_model):
    good = geoseg("inspect", make_scene(tmp_path / "good.tif", holes=False), "--model", tiny_model)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "fits tiny" in good.stdout
    bad = make_scene(tmp_path / "bad.tif", holes=False)
    with rasterio.open(bad, "r+") as raster:
        raster.scales = (1.0, 1.0)
    refused = geoseg("inspect", bad, "--model", tiny_model)
    assert refused.returncode == 2
    assert "--scale" in refused.stdout


def test_models_are_listed_and_shown(capsys):
    assert run(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in sources.bundled_models():
        assert [line for line in lines if line.startswith(f"{name} ")]
        assert run(["models", "show", name]) == 0
        assert capsys.readouterr().out.startswith(f"{name} ")
    assert run(["models", "show", "dakota-crops"]) == 0
    shown = capsys.readouterr().out
    assert "North Dakota and around: 45 to 50 N, 96 to 101 W" in shown
    assert "August and September" in shown


def test_predict_without_a_model_that_fits_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources, "BUNDLED", tmp_path / "bundled")
    put_card(tmp_path / "bundled", CROPS)
    put_card(tmp_path / "bundled", PICTURES)
    path = farmland(tmp_path / "a.tif", scales=None)
    assert run(["predict", str(path), "-o", str(tmp_path / "map.tif")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no bundled model fits: " in said
    for words in ("crops reads reflectance", "pictures reads 8-bit pictures", "--model", "geoseg train"):
        assert words in said
    assert run(["inspect", str(path)]) == 2
    assert "fits no bundled model" in capsys.readouterr().out


def test_a_stage_that_got_further_than_planned_has_no_time_left(capsys):
    from geoseg.cli.progress import LineProgress

    with LineProgress().stage("refining", 15.6, "Mpx") as bar:
        bar.advance(15.6 + 1e-9)
    assert capsys.readouterr().err.endswith(", 0 s left\n")


def test_a_chip_needs_a_pixel_before_anything_is_converted(tiny_model, tmp_path, capsys):
    command = ["predict", make_scene(tmp_path / "a.tif"), "--model", tiny_model, "--chip-size", "0"]
    assert run([*map(str, command), "--force", "-o", str(tmp_path / "m.tif")]) == 2
    assert capsys.readouterr().err.splitlines() == ["geoseg: error: --chip-size must be at least 1, not 0"]
