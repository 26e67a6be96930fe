"""Temperatures: what is blended again is what a run blends, and what is found makes its confidence honest."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import shapely

from geoseg.classes import IGNORE
from geoseg.grid import WEIGHT_ONE, Window
from geoseg.inference.sums import SUM_ONE
from geoseg.labels.labels import open_labels
from geoseg.models import load_model
from geoseg.scene import open_scene
from geoseg.training.ground.folds import Region
from geoseg.training.ground.labelled_scene import LabelledScene, count_labels
from geoseg.training.held_out import sample as logits_module
from geoseg.training.held_out.maps import held_out_settings
from geoseg.training.held_out.sample import draw_sample
from geoseg.training.held_out.temperature import (
    ChipLogits,
    LogitSample,
    fit_temperature,
    join,
    miscalibration,
)
from geoseg.verbs.predict import predict
from tests.conftest import save_tiny
from tests.training.labelled_scenes import CLASSES, make_files

REGIONS = (
    Region(0, 0, Window(10, 20, 60, 90), shapely.Polygon([(20, 10), (110, 10), (20, 70)])),
    Region(0, 1, Window(90, 0, 50, 130)),
)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held-out")
    scene_path, label_path = make_files(folder)
    scene = open_scene(scene_path).select([1, 2], invalid_where="all")
    ground = LabelledScene(scene, open_labels(label_path, scene, CLASSES), (2, 5, 7))
    return folder, ground, count_labels(ground), load_model(save_tiny(folder / "tiny"))


def draw(held_out, regions=REGIONS, tta="none", share=1.0):
    _, ground, cells, model = held_out
    return draw_sample(model, (ground,), (cells,), regions, tta, device="cpu", seed=3, share=share)


def mapped(held_out, tmp_path, temperature, tta):
    """Probabilities of the whole scene by a package that was calibrated so."""
    import rasterio

    folder, *_ = held_out
    model = save_tiny(tmp_path / "calibrated", temperatures={tta: temperature})
    predict(
        folder / "scene.tif",
        tmp_path / "c.tif",
        model=model,
        probabilities=tmp_path / "p.tif",
        tta=tta,
        device="cpu",
        backend="torch",
        force=True,
    )
    with rasterio.open(tmp_path / "p.tif") as raster:
        return raster.read()


def wanted(held_out, regions=REGIONS):
    """Pixels that can be drawn: labelled, valid and in a region."""
    _, ground, _, _ = held_out
    whole = Window.from_shape(ground.shape)
    inside = np.any([region.mask(whole) for region in regions], axis=0)
    labels = ground.read_labels(whole)
    return inside & (labels != IGNORE) & ground.image.read(whole)[1], labels


@pytest.mark.parametrize(("tta", "temperature"), [("none", 1.0), ("none", 2.5), ("d4", 0.6)])
def test_what_is_blended_again_is_what_predict_gives(held_out, tmp_path, tta, temperature):
    sample = draw(held_out, tta=tta)
    chosen, labels = wanted(held_out)
    by_region = [mask_of(held_out, region) & chosen for region in REGIONS]
    shown = mapped(held_out, tmp_path, temperature, tta)
    expected = np.concatenate([shown[:, mask] for mask in by_region], axis=1)
    np.testing.assert_array_equal(sample.labels, np.concatenate([labels[mask] for mask in by_region]))
    sums = sample.blend(temperature).astype(np.int64)
    np.testing.assert_array_equal((2 * 250 * sums + SUM_ONE) // (2 * SUM_ONE), expected)
    assert Counter(np.bincount(np.concatenate([s.pixels for s in sample.logits])).tolist())[2] > 100


def mask_of(held_out, region):
    return region.mask(Window.from_shape(held_out[1].shape))


def test_weights_of_every_pixel_sum_to_one(held_out):
    sample = draw(held_out)
    weights = np.zeros(sample.labels.size, np.int64)
    for share in sample.logits:
        weights[share.pixels] += share.weights
    assert (weights == WEIGHT_ONE).all()


def test_a_sample_is_bounded(held_out, monkeypatch):
    whole = draw(held_out)
    monkeypatch.setattr(logits_module, "MOST_PIXELS", 900)
    few = draw(held_out)
    assert 700 < few.labels.size < 1100 < whole.labels.size
    assert 300 < draw(held_out, share=0.5).labels.size < 600
    np.testing.assert_array_equal(few.labels, draw(held_out).labels)
    monkeypatch.setattr(logits_module, "MOST_BYTES", 3 * 4 * 4 * 100)
    assert 50 < draw(held_out).labels.size < 150
    assert draw(held_out, tta="d4").labels.size < 40  # eight views of each
    assert np.bincount(few.labels, minlength=3).min() > 50


def test_few_inferences_see_whole_tiles_spread_over_all_ground(held_out, monkeypatch):
    monkeypatch.setattr(logits_module, "TILE", 40)
    monkeypatch.setattr(logits_module, "MOST_INFERENCES", 12)
    seen = []
    _, _, _, model = held_out
    count = model.network.register_forward_hook(lambda *_: seen.append(1))
    sample = draw(held_out)
    count.remove()
    assert 4 < len(seen) <= 12
    weights = np.zeros(sample.labels.size, np.int64)
    for share in sample.logits:
        weights[share.pixels] += share.weights
    assert (weights == WEIGHT_ONE).all()  # no chip of a piece is missing
    assert 300 < sample.labels.size < wanted(held_out)[0].sum()
    monkeypatch.setattr(logits_module, "MOST_INFERENCES", 1)
    one = draw(held_out)
    assert 0 < one.labels.size < sample.labels.size  # one piece at least
    monkeypatch.setattr(logits_module, "MOST_INFERENCES", 12)
    np.testing.assert_array_equal(draw(held_out, tta="d4").labels, one.labels)  # eight views a chip


def one_chip(logits, labels):
    pixels = np.arange(labels.size)
    share = ChipLogits(pixels, np.full(labels.size, WEIGHT_ONE, np.int32), logits.astype(np.float32)[None])
    return LogitSample(labels.astype(np.uint8), len(logits), (share,))


def honest(seed=0, pixels=20000, classes=5):
    """Logits and labels that were drawn with their probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (classes, pixels))
    shares = np.exp(logits) / np.exp(logits).sum(axis=0)
    return logits, (rng.random(pixels) > shares.cumsum(axis=0)).sum(axis=0).clip(0, classes - 1)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(true):
    logits, labels = honest()
    assert fit_temperature(one_chip(logits * true, labels)) == pytest.approx(true, rel=0.05)


def test_it_is_the_blended_confidence_that_becomes_honest():
    """Two chips that disagree at random: each is overconfident, their mean much less so."""
    logits, labels = honest()
    rng = np.random.default_rng(1)
    each = [(logits + rng.normal(0, 2, logits.shape)).astype(np.float32)[None] for _ in range(2)]
    pixels, half = np.arange(labels.size), np.full(labels.size, WEIGHT_ONE // 2, np.int32)
    blended = LogitSample(labels.astype(np.uint8), 5, tuple(ChipLogits(pixels, half, one) for one in each))
    alone = fit_temperature(one_chip(each[0][0], labels))
    together = fit_temperature(blended)
    assert together < 0.9 * alone
    assert miscalibration(blended.blend(together), blended.labels) < 0.02
    assert miscalibration(blended.blend(alone), blended.labels) > 0.04


def test_samples_of_several_folds_are_fitted_together():
    """Half of the pixels too sure, half not sure enough."""
    logits, labels = honest()
    parts = [one_chip(logits * 2, labels), one_chip(logits / 2, labels)]
    both = join(parts)
    assert both.labels.size == 2 * labels.size
    np.testing.assert_array_equal(both.blend(1.5), np.concatenate([p.blend(1.5) for p in parts], axis=1))
    assert fit_temperature(parts[1]) < fit_temperature(both) < fit_temperature(parts[0])


def test_without_pixels_it_is_one():
    assert fit_temperature(LogitSample(np.zeros(0, np.uint8), 3, ())) == 1.0
    assert fit_temperature(join([LogitSample(np.zeros(0, np.uint8), 3, ())] * 2)) == 1.0


def test_what_is_always_right_stays_in_bounds():
    labels = np.arange(300) % 3
    assert 0.1 <= fit_temperature(one_chip(np.eye(3)[labels].T * 20, labels)) <= 10


def test_miscalibration_by_hand():
    """Four pixels 90 percent sure, two of them right; one pixel 60 percent sure and right."""
    sums = (np.array([[0.9] * 4 + [0.6], [0.1] * 4 + [0.4]]) * SUM_ONE).astype(np.int32)
    labels = np.array([0, 0, 1, 1, 0], np.uint8)
    assert miscalibration(sums, labels) == pytest.approx(np.sqrt((4 * 0.4**2 + 0.4**2) / 5), abs=1e-6)


def test_settings_are_those_of_predict(held_out):
    model = held_out[3]
    settings = held_out_settings(model, "cpu", "d4")
    assert (settings.chip_size, settings.overlap, settings.tta) == (64, 16, "d4")
