"""The world models' workflow: folds by place, views, what the network reads, points, and figures."""

from __future__ import annotations

import importlib
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.models.transforms import Transform, transform

FOLDER = Path(__file__).parents[2] / "workflows" / "world"


@pytest.fixture(scope="module")
def world():
    """The workflow's scripts, by name."""
    sys.path.insert(0, str(FOLDER))
    names = ("ground", "views", "train", "measure", "teacher", "package")
    # Scripts of other folders have such names too.
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(FOLDER))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(others)


def patches(world, labels, place):
    labels = np.asarray(labels)
    values = np.random.default_rng(0).uniform(0, 0.5, (len(labels), 6, *labels.shape[1:])).astype("float32")
    place = np.asarray(place)
    return world["ground"].Patches(values, labels, place, world["ground"].folds_by_place(place, 2))


def test_no_place_lies_in_two_folds_and_large_ones_always_train(world):
    place = np.repeat(np.arange(12), (60, 45, *[3] * 10))
    fold = world["ground"].folds_by_place(place, 5)
    assert (fold[place < 2] == -1).all()
    assert all(len(set(fold[place == each])) == 1 for each in range(12))
    assert np.bincount(fold[place >= 2]).tolist() == [6] * 5


@pytest.mark.parametrize("number", range(8))
def test_orientations_are_undone(world, number):
    values = torch.arange(2 * 5 * 5).view(2, 5, 5)
    assert torch.equal(world["views"].unorient(world["views"].orient(values, number), number), values)


def test_eight_orientations_differ(world):
    values = torch.arange(9).view(3, 3)
    assert len({tuple(world["views"].orient(values, n).ravel().tolist()) for n in range(8)}) == 8


def test_a_view_keeps_pixels_and_labels_together(world):
    views, rng = world["views"], np.random.default_rng(5)
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 9, (32, 32)))
    values = labels.float().expand(6, -1, -1) / 10
    still = views.ViewSettings(nearer=0, gain=0, band_gain=0, haze=0, top_of_atmosphere=0, noise=0)
    whole = views.View(values, torch.ones(32, 32, dtype=torch.bool), labels, values)
    for _ in range(20):
        view = views.draw_view(whole, still, rng, 16)
        assert view.labels.shape == (16, 16)
        assert torch.allclose(view.values, view.labels.float() / 10)
        assert torch.equal(view.soft, view.values)


def test_an_enlarged_view_shows_a_part(world):
    views = world["views"]
    labels = torch.zeros(32, 32, dtype=torch.int64)
    labels[:, 16:] = 4
    whole = views.View(torch.zeros(6, 32, 32), labels > -1, labels, None)
    view = views.cut(whole, 8, 16, np.random.default_rng(0))
    assert view.values.shape == (6, 16, 16)
    assert set(view.labels.unique().tolist()) <= {0, 4}


def test_the_network_reads_what_the_package_says(world):
    """The logarithm in training and the transform in the package are one function."""
    values = np.linspace(-0.1, 1.6, 300, dtype="float32").reshape(1, 10, 30)
    trained = world["train"].logarithm(torch.from_numpy(values)).numpy()
    packaged = values.copy()
    transform(packaged, ((Transform("log", world["train"].LOG),),))
    assert np.allclose(trained, packaged, atol=1e-6)


def test_targets_mix_labels_with_the_teacher_only_where_there_are_labels(world):
    train, ground = world["train"], world["ground"]
    labels = np.full((2, 64, 64), 3)
    labels[:, :, 32:] = ground.NO_LABEL
    some = patches(world, labels, [0, 1])
    soft = np.zeros((2, 9, 64, 64), np.float16)
    soft[:, 0] = 1
    recipe = train.Recipe(batch=2, dakota=0, smoothing=0)
    norm = train.Norm.of(some, np.arange(2), 6)
    chips, targets, weights = next(iter(train.Batches(some, np.arange(2), soft, None, norm, recipe)))
    assert chips.shape == (2, 6, 64, 64)
    assert torch.allclose(targets.sum(1), torch.ones(2, 64, 64), atol=1e-3)
    cropland, alone = targets[:, 3] > 0.45, targets[:, 0] > 0.99
    assert cropland.any()
    assert alone.any()
    assert (cropland | alone).all()
    assert (weights[alone] == recipe.unlabelled).all()


def test_points_become_squares_that_are_scored_in_their_middle(world):
    train = world["train"]
    points = world["ground"].Points(np.full((4, 2, 6), 0.2, "float32"), np.array([True, False, True, True]))
    norm = train.Norm(torch.zeros(6), torch.ones(6))
    drawn = train.PointChips([points], norm, train.Recipe())
    chips, crop = drawn.draw()
    assert chips.shape == (2, 6, 64, 64)
    assert crop.shape == (2, 64, 64)
    assert (crop.view(2, 4, 16, 4, 16).std(dim=(2, 4)) == 0).all()
    right = torch.where(crop[:, None] == 1, 9.0, -9.0) * (torch.arange(9) == 3).view(1, 9, 1, 1)
    assert drawn.loss(right, crop) < 0.01 < 5 < drawn.loss(-right, crop)


def test_the_odds_of_cropland_are_those_of_its_probability(world):
    logits = torch.randn(5, 9, 2, 2, generator=torch.Generator().manual_seed(0))
    chance = logits.softmax(1)[:, 3]
    assert torch.allclose(torch.sigmoid(world["train"].crop_log_odds(logits)), chance, atol=1e-6)


def test_figures_of_a_known_confusion(world):
    measure = world["measure"]
    truth = np.array([0, 0, 0, 2, 2, 3, -1])
    guess = np.array([0, 0, 2, 2, 2, 3, 5])
    found = measure.figures(measure.confusion(truth, guess))
    assert found["accuracy"] == pytest.approx(5 / 6)
    assert found["trees"] == pytest.approx(2 / 3)
    assert found["miou"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 6)
    assert "built-up" not in found


def test_intervals_come_from_places(world):
    measure = world["measure"]
    right, wrong = (
        measure.confusion(np.zeros(9, int), np.zeros(9, int)),
        measure.confusion(np.zeros(9, int), np.ones(9, int)),
    )
    value, low, high = measure.with_intervals({1: right, 2: wrong})["accuracy"]
    assert (value, low, high) == (0.5, 0, 1)


def test_calibration_error_of_known_confidence(world):
    sure = np.full((1, 2, 1, 10), 0.5, "float32")
    sure[:, 0], sure[:, 1] = 0.8, 0.2
    labels = np.array([0] * 6 + [1] * 4).reshape(1, 1, 10)
    assert world["measure"].calibration_error(sure, labels) == pytest.approx(0.2, abs=1e-6)


def test_a_class_that_is_left_out_loses_its_output_only(world):
    package, train = world["package"], world["train"]
    from geoseg.models.networks import build_network

    network = build_network("unet-classic", bands=6, classes=9, depth=1, width=[4, 4]).eval()
    run = type("Run", (), {"recipe": {"widths": (4, 4), "bands": 6}, "network": network})()
    kept = package.kept_classes([7])
    chips = torch.randn(1, 6, 8, 8)
    with torch.inference_mode():
        assert torch.equal(package.without_classes(run, kept)(chips), network(chips)[:, kept])
    assert kept == [0, 1, 2, 3, 4, 5, 7, 8]
    assert train.Recipe().bands == 6


def test_the_recipes_are_read(world):
    for name in ("recipe.toml", "rgbn.toml"):
        assert world["train"].read_recipe(FOLDER / name).steps > 0


def test_patches_of_large_places_are_drawn_less_often(world):
    train = world["train"]
    some = patches(world, np.zeros((10, 64, 64), int), [0] * 9 + [1])
    norm = train.Norm(torch.zeros(6), torch.ones(6))
    batches = train.Batches(some, np.arange(10), None, None, norm, train.Recipe(even=1.0))
    assert batches._chances()[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("bands", [6, 4])
def test_a_network_is_trained_saved_and_measured(world, tmp_path, bands):
    train, measure = world["train"], world["measure"]
    some = patches(world, np.random.default_rng(2).integers(-1, 9, (4, 32, 32)), [0, 1, 2, 3])
    recipe = train.Recipe(bands=bands, widths=(8, 8, 8), steps=2, batch=2, side=16, dakota=0)
    norm = train.Norm.of(some, np.arange(4), bands)
    points = world["ground"].Points(np.full((4, 2, 6), 0.2, "float32"), np.array([True, False, True, True]))
    batches = train.Batches(some, np.arange(4), None, None, norm, recipe)
    network = train.fit(recipe, batches, train.PointChips([points], norm, recipe), None)
    train.save(network, norm, tmp_path, {"fold": "0", "recipe": str(asdict(recipe))})
    run = measure.Run(tmp_path)
    values = torch.from_numpy(some.values)
    with torch.inference_mode():
        assert torch.allclose(run.logits(values), network(norm.apply(values)), atol=1e-5)
    assert run.fold == 0
    assert all(0 <= each <= 1 for each in measure.crop_auc(run, points))
