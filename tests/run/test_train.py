"""``geoseg train``: from a recipe to a package that predicts, interrupted or not."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import shutil

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from safetensors.numpy import load_file

from geoseg.cli.train import train as command
from geoseg.errors import InputError, OutputError, RunError, SettingsError
from geoseg.models import load_card, load_model
from geoseg.run import train as verb
from geoseg.run.train import train
from geoseg.training.recipe import load_recipe
from tests.conftest import SAMPLES as SAMPLE_TILES
from tests.training.ground_of import make_files

RECIPE = """
scenes = "scene.tif"
labels = "scene_labels.tif"
[classes]
2 = "corn"
5 = "grass"
7 = "water"
[split]
block_size = "40px"
folds = 3
buffer = "4px"
[chips]
size = 32
batch_size = 8
per_epoch = 32
workers = 0
[model]
architecture = "unet-classic"
options = { depth = 2, width = 8 }
chip_size = 64
overlap = 16
[run]
epochs = 4
precision = "fp32"
rate = 0.01
"""


@pytest.fixture
def recipe(tmp_path):
    make_files(tmp_path)

    def write(text=RECIPE, name="crops.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


class Interrupting:
    """Progress that interrupts the run after some batches, as Ctrl-C does."""

    def __init__(self, after):
        self.left, self.said = after, []

    def stage(self, *_):
        return contextlib.nullcontext(self)

    def advance(self, _done):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def say(self, message):
        self.said.append(message)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    make_files(folder)
    text = RECIPE.replace("epochs = 4", "epochs = 12").replace("[model]", '[model]\nprecision = "fp16"')
    (folder / "crops.toml").write_text(text)
    progress = Interrupting(10**9)
    return train(folder / "crops.toml", folder / "model", progress=progress), folder, progress


def test_it_learns(trained):
    result, _, _ = trained
    assert result.metrics["miou"] > 0.7  # three classes that two bands tell apart
    assert result.metrics["accuracy"] > 0.8
    assert result.history[-1].train_loss < result.history[0].train_loss / 2


def test_the_package_says_what_it_is(trained):
    result, folder, _ = trained
    card = load_card(result.model)
    assert card.name == "crops"
    assert card.band_names == ("red", "nir")
    assert [c.id for c in card.classes] == [2, 5, 7]
    assert "validation fold 0" in card.metrics["split"]
    assert "the epoch was chosen and the temperature was fitted on the same ground" in card.metrics["split"]
    assert 1 <= card.metrics["epoch"] <= card.metrics["epochs"] == 12
    assert set(card.metrics["iou"]) == {"corn", "grass", "water"}
    assert card.value_scale == pytest.approx(0.0001)
    assert card.gsd == pytest.approx(10, rel=0.01)
    assert set(card.temperatures) == {"none"}
    stored = load_file(result.model / "model.safetensors")
    assert {array.dtype for array in stored.values() if array.ndim == 4} == {np.dtype(np.float16)}
    assert "scene" in card.trained_on
    assert not (folder / "model.geoseg-work").exists()
    assert "nothing" not in str(load_model(result.model).hash)


def test_split_recipe_history_and_logs_lie_beside_the_model(trained):
    result, folder, _ = trained
    details = result.model / "training"
    names = {path.name for path in details.iterdir()}
    assert {
        "recipe.toml",
        "split.json",
        "split.gpkg",
        "history.csv",
        "curves.png",
        "logs",
        "last.safetensors",
        "evaluation.json",
        "evaluation.html",
        "fingerprint.txt",
    } == names
    assert not list(result.model.rglob("*.ckpt"))
    assert (details / "recipe.toml").read_text() == (folder / "crops.toml").read_text()
    rows = list(csv.DictReader((details / "history.csv").open()))
    assert len(rows) == 12
    assert all(0 <= float(row["waiting"]) <= 1 for row in rows)
    assert json.loads((details / "split.json").read_text())["labelled_pixels"]["train"]["corn"] > 0
    assert any(path.name.startswith("events.out") for path in (details / "logs").iterdir())


def test_the_card_says_what_predict_gives_on_the_validation_ground(trained, tmp_path):
    """The same figures as mapping the whole scene and evaluating the blocks that were held out."""
    from geoseg.run.evaluate import evaluate
    from geoseg.run.predict import predict

    result, folder, _ = trained
    split = geopandas.read_file(result.model / "training" / "split.gpkg")
    split[split["role"] == "validation"].to_file(tmp_path / "held.gpkg")
    sure = tmp_path / "sure.tif"
    predict(folder / "scene.tif", tmp_path / "map.tif", model=result.model, confidence=sure, backend="torch")
    expected = evaluate(
        tmp_path / "map.tif", folder / "scene_labels.tif", confidence=sure, aoi=tmp_path / "held.gpkg"
    ).report
    written = json.loads((result.model / "training" / "evaluation.json").read_text())
    for key in ("summary", "classes", "confusion", "boundary", "calibration", "bootstrap"):
        if key != "classes":
            assert written[key] == expected[key], key
    scores = ("id", "iou", "iou_interval", "precision", "recall", "f1", "labelled_pixels")
    for mine, other in zip(written["classes"], expected["classes"], strict=True):
        assert [mine[key] for key in scores] == [other[key] for key in scores]
    metrics = load_card(result.model).metrics
    for key in ("accuracy", "accuracy_interval", "miou", "miou_interval", "ece", "ece_interval", "fwiou"):
        assert metrics[key] == expected["summary"][key]
    assert metrics["iou"] == {row["name"]: row["iou"] for row in written["classes"]}
    assert metrics["pixels"] == expected["pixels"]["compared"]
    assert written["map"]["model_hash"] == load_model(result.model).hash
    page = (result.model / "training" / "evaluation.html").read_text()
    assert "Validation fold 0: 4 of 12 spatial blocks" in page
    assert "<figcaption>Image" in page


def test_the_user_is_told_how_it_goes(trained):
    said = trained[2].said
    assert any("labelled pixels train" in line and "buffer of 4 pixels" in line for line in said)
    assert sum("waiting for chips" in line for line in said) == 12


def test_the_package_predicts(trained, tmp_path):
    from geoseg.run.predict import predict

    result, folder, _ = trained
    predict(folder / "scene.tif", tmp_path / "map.tif", model=result.model, precision="fp32")
    with rasterio.open(tmp_path / "map.tif") as classes, rasterio.open(folder / "scene_labels.tif") as labels:
        predicted, truth = classes.read(1), labels.read(1)
    known = (truth > 0) & (predicted != 255)
    assert (predicted == truth)[known].mean() > 0.8


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


@pytest.mark.parametrize(("average", "workers", "after"), [("ema", 0, 5), ("swa", 1, 7)])
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


def test_a_frozen_encoder_stays_as_it_is(recipe, tmp_path):
    text = RECIPE.replace("epochs = 4", "epochs = 1\naverage = 'none'") + "[transfer]\nfreeze_epochs = 1\n"
    start = train(recipe(), tmp_path / "start").model
    result = train(recipe(text + f'start_from = "{start}"\n', "tuned.toml"), tmp_path / "tuned")
    before, after = load_model(start).network, load_model(result.model).network
    for name, value in before.down.state_dict().items():
        np.testing.assert_array_equal(value, after.down.state_dict()[name])
    assert not np.array_equal(before.head.weight.detach(), after.head.weight.detach())


def test_a_loss_that_is_not_finite_ends_the_run(recipe, tmp_path, monkeypatch):
    import torch

    from geoseg.training import assemble

    class Broken(torch.nn.Module):
        def forward(self, logits, _labels):
            return logits.sum() * float("nan")

    monkeypatch.setattr(assemble, "build_loss", lambda *_: Broken())
    with pytest.raises(RunError, match=r"loss of epoch 1 is no longer finite: lower \[run\] rate"):
        train(recipe(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_last_weights_can_be_kept(recipe, tmp_path):
    """They are the last averages, not the best; the card does not claim that the epoch was chosen."""
    rates = RECIPE.replace("rate = 0.01", "rate = 0.05").replace("per_epoch = 32", "per_epoch = 8")
    rates += 'average = "none"\ncalibrate = []\n'
    kept = {
        keep: train(recipe(rates + f'keep = "{keep}"\n', f"{keep}.toml"), tmp_path / keep)
        for keep in ("best", "last")
    }
    history = kept["last"].history
    assert max(entry.miou for entry in history) > history[-1].miou  # else this shows nothing
    last = {name: load_file(one.model / "model.safetensors") for name, one in kept.items()}
    end = load_file(kept["last"].model / "training" / "last.safetensors")
    assert all(np.array_equal(last["last"][name], end[name]) for name in end)
    assert not all(np.array_equal(last["best"][name], end[name]) for name in end)
    assert kept["last"].metrics["epoch"] == 4
    assert "expect a little less" not in kept["last"].metrics["split"]
    assert "the epoch was chosen on the same ground" in kept["best"].metrics["split"]
    assert load_card(kept["last"].model).temperatures == {}


def test_all_ground_can_train(recipe, tmp_path):
    text = RECIPE.replace('block_size = "40px"\nfolds = 3\nbuffer = "4px"', 'method = "none"')
    text += 'calibrate = ["none", "d4"]\n'
    with pytest.raises(KeyboardInterrupt):
        train(recipe(text), tmp_path / "model", progress=Interrupting(6))
    result = train(recipe(text), tmp_path / "model", resume=True)
    whole = train(recipe(text), tmp_path / "whole")
    assert (result.model / "model.safetensors").read_bytes() == (
        whole.model / "model.safetensors"
    ).read_bytes()
    assert [entry.epoch for entry in result.history] == [0, 1, 2, 3]
    assert all(math.isnan(entry.miou) for entry in result.history)
    assert result.history[-1].train_loss < result.history[0].train_loss
    card = load_card(result.model)
    assert (card.metrics, card.temperatures) == ({}, {})
    content = json.loads((result.model / "training" / "split.json").read_text())
    assert content["labelled_pixels"]["train"] == content["labelled_pixels"]["all"]
    for wrong in ('[schedule]\nname = "plateau"\n', "stop_after = 3\n"):
        with pytest.raises(SettingsError, match="nothing validates"):
            train(recipe(text + wrong), tmp_path / "wrong")


def test_early_stopping(recipe, tmp_path):
    text = RECIPE.replace("epochs = 4", "epochs = 30\nstop_after = 1").replace("rate = 0.01", "rate = 1e-9")
    assert len(train(recipe(text), tmp_path / "model").history) < 30


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
    with pytest.raises(OutputError, match="begun with other settings"):
        train(changed, tmp_path / "model", resume=True)
    make_files(tmp_path, seed=9)
    with pytest.raises(OutputError, match="files"):
        train(recipe(), tmp_path / "model", resume=True)


def test_a_cross_validation_is_another_run(recipe):
    loaded = load_recipe(recipe())
    assert verb.fingerprint(loaded) != verb.fingerprint(loaded, cross_validate=True)
    assert verb.fingerprint(loaded) == verb.fingerprint(loaded)


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


class TestCommand:
    def run(self, *arguments):
        return CliRunner().invoke(command, [str(argument) for argument in arguments])

    def test_the_example_is_printed(self, tmp_path):
        from geoseg.training.recipe import load_recipe

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


def test_two_scenes_one_validates(tmp_path):
    make_files(tmp_path, name="one")
    make_files(tmp_path, seed=4, name="two")
    text = RECIPE.replace('"scene.tif"', '["one.tif", "two.tif"]')
    text = text.replace('"scene_labels.tif"', '["one_labels.tif", "two_labels.tif"]')
    split = '[split]\nmethod = "scenes"\nvalidation_scenes = ["two"]\n'
    text = text.replace('[split]\nblock_size = "40px"\nfolds = 3\nbuffer = "4px"\n', split)
    (tmp_path / "r.toml").write_text(text.replace("epochs = 4", "epochs = 1"))
    result = train(tmp_path / "r.toml", tmp_path / "model")
    assert "1 of 2 scenes" in result.metrics["split"]
    shutil.rmtree(result.model)


def test_several_processes_train_together(recipe, tmp_path):
    """The path that several GPUs take, with two processes on a CPU."""
    text = RECIPE.replace("epochs = 4", 'epochs = 2\ndevices = 2\ndevice = "cpu"')
    result = train(recipe(text), tmp_path / "model")
    assert [entry.epoch for entry in result.history] == [0, 1]
    assert [entry.step for entry in result.history] == [2, 4]  # 32 chips: two steps of two batches of eight
    assert load_model(result.model).hash
    table = np.array(list(csv.reader((result.model / "training" / "history.csv").open()))[1:], float)
    assert np.isfinite(table).all()


SAMPLES = """
scenes = "{folder}/farmland.tif"
labels = "{folder}/farmland_labels.tif"
[classes]
1 = "corn"
2 = "soybeans"
3 = "wheat and small grains"
4 = "dry beans"
5 = "other crops"
6 = "grass, hay and pasture"
7 = "forest and shrub"
8 = "water and wetland"
9 = "developed and barren"
"""


def test_a_shortened_smallest_recipe_learns_the_sample_tiles(recipe, tmp_path):
    """The smallest recipe itself takes minutes; a tenth of it already maps a tile it has not seen."""
    from geoseg.assess.scores import score
    from geoseg.run.predict import predict

    shorter = "[model]\noptions = { depth = 3, width = 16 }\n[run]\nepochs = 6\nrate = 0.005\n"
    result = train(recipe(SAMPLES.format(folder=SAMPLE_TILES.as_posix()) + shorter), tmp_path / "model")
    predict(SAMPLE_TILES / "heldout.tif", tmp_path / "map.tif", model=result.model)
    with rasterio.open(tmp_path / "map.tif") as classes:
        predicted = classes.read(1)
    with rasterio.open(SAMPLE_TILES / "heldout_labels.tif") as labels:
        truth = labels.read(1)
    known = (truth > 0) & (predicted != 255)
    matrix = np.zeros((9, 9))
    np.add.at(matrix, (truth[known] - 1, predicted[known] - 1), 1)
    assert score(matrix).miou > 0.5
