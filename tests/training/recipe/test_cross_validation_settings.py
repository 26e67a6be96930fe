"""Cross-validation: recipes and folds that it refuses, and the command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from geoseg.cli.train import train as command
from geoseg.errors import SettingsError
from geoseg.models import load_card
from geoseg.verbs.train import train
from tests.training.labelled_scenes import make_files
from tests.training.training_runs import SHORT


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('[schedule]\nname = "plateau"\n', 'so [schedule] name = "plateau" cannot work'),
        ("stop_after = 3\n", "so [run] stop_after cannot work"),
        ('block_size = "65px"', 'method is "none"'),
        ("folds = 2", "validation_scenes names one"),
    ],
)
def test_recipes_that_cannot_be_cross_validated(tmp_path, more, words):
    make_files(tmp_path)
    other = {"block_size": 'method = "none"', "folds =": 'method = "scenes"\nvalidation_scenes = ["scene"]\n'}
    key = next((key for key in other if more.startswith(key)), None)
    (tmp_path / "r.toml").write_text(SHORT.replace(more, other[key]) if key else SHORT + more)
    with pytest.raises(SettingsError, match=r"--cross-validate") as caught:
        train(tmp_path / "r.toml", tmp_path / "model", cross_validate=True)
    assert words in str(caught.value)
    assert not (tmp_path / "model.geoseg-work").exists()


def test_folds_that_are_not_there(tmp_path):
    make_files(tmp_path)
    (tmp_path / "r.toml").write_text(SHORT)
    arguments = [str(tmp_path / "r.toml"), "-o", str(tmp_path / "m"), "--quiet"]
    for more, words in (
        (["--cross-validate", "--folds", "0,7"], "--folds 7: the folds are 0, 1"),
        (["--folds", "0"], "--folds is for --cross-validate"),
    ):
        done = CliRunner().invoke(command, [*arguments, *more])
        assert words in str(done.exception)
    done = CliRunner().invoke(command, [*arguments, "--cross-validate", "--folds", "a"])
    assert done.exit_code == 2
    assert '"a" is not the number of a fold' in done.output
    assert not (tmp_path / "m.geoseg-work").exists()


def test_on_the_command_line(tmp_path):
    make_files(tmp_path, (70, 64))
    (tmp_path / "r.toml").write_text(SHORT.replace('"65px"', '"35px"').replace("epochs = 2", "epochs = 1"))
    arguments = [str(tmp_path / "r.toml"), "-o", str(tmp_path / "m"), "--quiet", "--cross-validate"]
    done = CliRunner().invoke(command, [*arguments, "--folds", "1"])
    assert done.stdout.strip() == str(tmp_path / "m.geoseg-work"), done.output
    done = CliRunner().invoke(command, [*arguments, "--folds", "0", "--resume"])
    assert done.stdout.strip() == str(tmp_path / "m"), done.output
    assert "2-fold cross-validation" in load_card(tmp_path / "m").metrics["split"]
