"""``geoseg train``: from a recipe to a package that predicts."""

from __future__ import annotations

import csv
import json
import math
import shutil

import geopandas
import numpy as np
import pytest
import rasterio
from safetensors.numpy import load_file

from geoseg.errors import RunError, SettingsError
from geoseg.models import load_card, load_model
from geoseg.verbs.train import train
from tests.conftest import SAMPLES as SAMPLE_TILES
from tests.training.labelled_scenes import make_files
from tests.training.training_runs import RECIPE, Interrupting


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    make_files(folder)
    text = RECIPE.replace("epochs = 4", "epochs = 12").replace("[model]", '[model]\nprecision = "fp16"')
    (folder / "crops.toml").write_text(text)
    progress = Interrupting(10**9)
    return train(folder / "crops.toml", folder / "model", progress=progress), folder, progress


@pytest.mark.slow
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
    assert "the epoch was chosen and the temperature was fitted on the same fold" in card.metrics["split"]
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
        "check.json",
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
    from geoseg.verbs.evaluate import evaluate
    from geoseg.verbs.predict import predict

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
    from geoseg.verbs.predict import predict

    result, folder, _ = trained
    predict(folder / "scene.tif", tmp_path / "map.tif", model=result.model, backend="torch")
    with rasterio.open(tmp_path / "map.tif") as classes, rasterio.open(folder / "scene_labels.tif") as labels:
        predicted, truth = classes.read(1), labels.read(1)
    known = (truth > 0) & (predicted != 255)
    assert (predicted == truth)[known].mean() > 0.8


@pytest.mark.slow
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

    from geoseg.training.network import train_network

    class Broken(torch.nn.Module):
        def forward(self, logits, _labels):
            return logits.sum() * float("nan")

    monkeypatch.setattr(train_network, "build_loss", lambda *_: Broken())
    with pytest.raises(RunError, match=r"loss of epoch 1 is no longer finite: lower \[run\] rate"):
        train(recipe(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
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
    assert "expect slightly lower" not in kept["last"].metrics["split"]
    assert "the epoch was chosen on the same fold" in kept["best"].metrics["split"]
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


@pytest.mark.slow
@pytest.mark.longer
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


@pytest.mark.slow
def test_a_shortened_smallest_recipe_learns_the_sample_tiles(recipe, tmp_path):
    """The smallest recipe itself takes minutes; a part of it already maps a tile it has not seen."""
    from geoseg.assess.scores import score
    from geoseg.verbs.predict import predict

    shorter = "[model]\noptions = { depth = 3, width = 16 }\n[chips]\nbatch_size = 4\n"
    shorter += "[run]\nepochs = 2\nrate = 0.01\n"
    result = train(recipe(SAMPLES.format(folder=SAMPLE_TILES.as_posix()) + shorter), tmp_path / "model")
    predict(SAMPLE_TILES / "heldout.tif", tmp_path / "map.tif", model=result.model, backend="torch")
    with rasterio.open(tmp_path / "map.tif") as classes:
        predicted = classes.read(1)
    with rasterio.open(SAMPLE_TILES / "heldout_labels.tif") as labels:
        truth = labels.read(1)
    known = (truth > 0) & (predicted != 255)
    matrix = np.zeros((9, 9))
    np.add.at(matrix, (truth[known] - 1, predicted[known] - 1), 1)
    assert score(matrix).miou > 0.5
