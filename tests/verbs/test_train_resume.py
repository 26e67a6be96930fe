"""``geoseg train --resume``: an interrupted run ends the same, a finished one is left alone."""

from __future__ import annotations

import pytest

from geoseg.errors import OutputError
from geoseg.models import load_model
from geoseg.training.recipe.recipe import load_recipe
from geoseg.verbs import train as verb
from geoseg.verbs.train import train
from tests.training.labelled_scenes import make_files
from tests.training.training_runs import RECIPE, Interrupting

RESUMED = """
[split]
block_size = "40px"
folds = 3
[chips]
size = 32
batch_size = 8
per_epoch = 24
workers = {workers}
[model]
architecture = "fpn"
encoder = "resnet18"
options = {{ encoder_depth = 3, decoder_pyramid_channels = 32, decoder_segmentation_channels = 32 }}
[augment]
rotation = true
noise = true
[loss]
terms = ["cross_entropy", "dice"]
learned = true
[transfer]
freeze_epochs = 1
[schedule]
name = "plateau"
patience = 0
[run]
epochs = 3
precision = "fp32"
average = "{average}"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("average", "workers", "after"), [("ema", 0, 5), pytest.param("swa", 1, 7, marks=pytest.mark.longer)]
)
def test_an_interrupted_run_resumed_gives_the_same_weights(recipe, tmp_path, average, workers, after):
    """With dropout, augmentation, frozen epochs, learnt loss weights, averaged weights and a plateau schedule."""
    head = RECIPE.partition("[split]")[0]
    path = recipe(head + RESUMED.format(average=average, workers=workers))
    whole = train(path, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(path, tmp_path / "parts", progress=Interrupting(after))
    assert not (tmp_path / "parts").exists()
    with pytest.raises(OutputError, match=r"--resume continues it"):
        train(path, tmp_path / "parts")
    progress = Interrupting(10**9)
    parts = train(path, tmp_path / "parts", resume=True, progress=progress)
    assert sum("epoch " in line for line in progress.said) < 3  # it did not begin again
    for name in ("model.safetensors", "training/last.safetensors"):
        assert (whole.model / name).read_bytes() == (parts.model / name).read_bytes()
    kept = [(entry.miou, entry.train_loss, entry.rate) for entry in whole.history]
    assert kept == [(entry.miou, entry.train_loss, entry.rate) for entry in parts.history]
    assert load_model(whole.model).hash == load_model(parts.model).hash


def test_the_number_of_workers_changes_nothing(recipe, tmp_path):
    first = train(recipe(RECIPE.replace("epochs = 4", "epochs = 1")), tmp_path / "first")
    other = recipe(
        RECIPE.replace("epochs = 4", "epochs = 1").replace("workers = 0", "workers = 2"), "other.toml"
    )
    second = train(other, tmp_path / "second")
    assert (first.model / "model.safetensors").read_bytes() == (
        second.model / "model.safetensors"
    ).read_bytes()


def test_a_finished_run_is_not_repeated(recipe, tmp_path):
    path = recipe(RECIPE.replace("epochs = 4", "epochs = 1"))
    result = train(path, tmp_path / "model")
    before = (result.model / "model.safetensors").stat().st_mtime_ns
    again = train(path, tmp_path / "model", resume=True)
    assert again.metrics == result.metrics
    assert (result.model / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="--overwrite"):
        train(path, tmp_path / "model")
    changed = recipe(RECIPE.replace("epochs = 4", "epochs = 2"))
    with pytest.raises(OutputError, match="--overwrite"):
        train(changed, tmp_path / "model", resume=True)
    assert len(train(changed, tmp_path / "model", overwrite=True).history) == 2


def test_resuming_with_other_settings_is_refused(recipe, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path / "model", progress=Interrupting(6))
    changed = recipe(RECIPE.replace("rate = 0.01", "rate = 0.02"))
    with pytest.raises(OutputError, match=r"begun with other \[run\];"):
        train(changed, tmp_path / "model", resume=True)
    make_files(tmp_path, seed=9)
    with pytest.raises(OutputError, match=r"begun with other scene_labels\.tif, scene\.tif;"):
        train(recipe(), tmp_path / "model", resume=True)


def test_a_cross_validation_is_another_run(recipe):
    loaded = load_recipe(recipe())
    assert verb.fingerprint(loaded) != verb.fingerprint(loaded, cross_validate=True)
    assert verb.fingerprint(loaded) == verb.fingerprint(loaded)


def test_a_folder_that_is_no_package_is_not_replaced(recipe, tmp_path):
    path = recipe()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("mine")
    for overwrite in (True, False):
        with pytest.raises(OutputError, match="is no model package, so it is not replaced"):
            train(path, tmp_path / "data", overwrite=overwrite)
    assert (tmp_path / "data" / "notes.txt").read_text() == "mine"
