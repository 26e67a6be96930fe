"""``geoseg train`` on the command line, and what it says about wrong input."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from geoseg.cli.train import train as command
from geoseg.errors import InputError, Interrupted, OutputError, SettingsError
from geoseg.progress import Silent
from geoseg.training.label_check.check import check_labels
from geoseg.training.label_check.findings import ON_NODATA, LabelFinding
from geoseg.training.recipe.recipe import load_recipe
from geoseg.verbs import train as verb
from geoseg.verbs.train import train
from tests.training.training_runs import RECIPE, Interrupting


def test_wrong_input_leaves_nothing_behind(recipe, tmp_path):
    path = recipe(RECIPE.replace('7 = "water"\n', ""))
    with pytest.raises(InputError, match="7"):
        train(path, tmp_path / "model")
    with pytest.raises(SettingsError, match="takes multiples of 4"):
        train(recipe(RECIPE.replace("size = 32", "size = 30")), tmp_path / "model")
    with pytest.raises(OutputError, match="no folder"):
        train(recipe(), tmp_path / "nowhere" / "model")
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "model.geoseg-work").exists()


def test_a_missing_package_is_one_clear_line(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "EXTRA", ("lightning", "no_such_package"))
    with pytest.raises(SettingsError, match=r"needs no_such_package: pip install 'geoseg\[train\]'"):
        train(recipe(), tmp_path / "model")


def write_mask(folder):
    """The labels as image editors write them, 255 for one class."""
    with rasterio.open(folder / "scene_labels.tif") as source:
        values, profile = source.read(1), source.profile
    with rasterio.open(folder / "scene_labels.tif", "w", **profile | {"nodata": None}) as target:
        target.write(np.where(values == 2, 255, 0).astype(np.uint8), 1)


BINARY = RECIPE.replace('2 = "corn"\n5 = "grass"\n7 = "water"', '0 = "other"\n1 = "corn"')


def test_it_refuses_what_check_stops_at(recipe, tmp_path):
    path = recipe(BINARY)
    write_mask(tmp_path)
    found = check_labels(path)
    assert not found.can_train
    assert any("255" in finding.message for finding in found.findings if finding.level == "stop")
    with pytest.raises(InputError, match=r"255.*--force"):
        train(path, tmp_path / "model")
    assert not (tmp_path / "model.geoseg-work").exists()


def test_a_finding_that_stops_is_raised_with_its_fix_whatever_is_forced(recipe):
    path = recipe()
    stop = LabelFinding("stop", "scene-values", "a.tif is 10,000 times as bright", "set its scale")
    found = replace(check_labels(path), findings=(stop,))
    with pytest.raises(InputError, match=rf"{path.name}: a.tif is 10,000 times as bright; set its scale"):
        found.settle(Silent(), force=True)


def test_it_repeats_the_warnings_of_check(recipe, tmp_path):
    path = recipe(RECIPE.replace("[classes]", '[classes]\n9 = "rice"').replace("epochs = 4", "epochs = 1"))
    told = Interrupting(1)
    with pytest.raises(Interrupted, match=r"geoseg-work keeps what was learnt; --resume continues"):
        train(path, tmp_path / "model", progress=told)
    warned = [finding for finding in check_labels(path).findings if finding.level == "warn"]
    assert warned
    *said, left_out = [line for line in told.said if line.startswith("warning")]
    others = [finding for finding in warned if finding.code != ON_NODATA]
    assert said == [f"warning: {finding.message}; {finding.fix}" for finding in others]
    assert "they lie on nodata of the scenes" in left_out
    checked = json.loads((tmp_path / "model.geoseg-work" / "check.json").read_text())
    assert [each["kind"] for each in checked["left_out"]] == ["pixels"]


class TestCommand:
    def run(self, *arguments):
        return CliRunner().invoke(command, [str(argument) for argument in arguments])

    def test_the_example_is_printed(self, tmp_path):

        done = self.run("--example")
        assert done.exit_code == 0
        (tmp_path / "r.toml").write_text(done.stdout)
        assert load_recipe(tmp_path / "r.toml").run.epochs > 0

    def test_without_a_recipe_it_says_how_to_get_one(self):
        done = self.run()
        assert done.exit_code == 2
        assert "--example" in done.output

    def test_it_trains_and_prints_the_package(self, recipe, tmp_path):
        done = self.run(recipe(RECIPE.replace("epochs = 4", "epochs = 1")), "-o", tmp_path / "m", "--quiet")
        assert done.exit_code == 0, done.output
        assert done.stdout.strip() == str(tmp_path / "m")

    def test_the_preview_shows_chips_and_labels(self, recipe, tmp_path):
        from PIL import Image

        done = self.run(recipe(), "--preview", tmp_path / "chips.png")
        assert done.exit_code == 0, done.output
        pixels = np.asarray(Image.open(tmp_path / "chips.png").convert("RGB")).reshape(-1, 3)
        colours = {tuple(colour) for colour in np.unique(pixels, axis=0)}
        assert {(0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9), (0x00, 0x9E, 0x73)} <= colours  # the classes' own
        assert not (tmp_path / "crops").exists()
        again = self.run(recipe(), "--preview", tmp_path / "chips.png")
        assert "--overwrite" in str(again.exception)
