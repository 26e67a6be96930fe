from __future__ import annotations

import pickle

import numpy as np
import pytest

from geoseg.errors import ModelError
from geoseg.models import LandClass, ModelBand
from tests.conftest import tiny_card


def test_arrays_come_in_the_networks_order():
    card = tiny_card(bands=(ModelBand("nir", 0.3, 0.1, 0, 1), ModelBand("red", 0.1, 0.05, 0, 1)))
    np.testing.assert_array_equal(card.means, np.array([0.3, 0.1], np.float32))
    np.testing.assert_array_equal(card.stds, np.array([0.1, 0.05], np.float32))
    assert card.means.dtype == card.stds.dtype == np.float32
    assert card.band_names == ("nir", "red")
    np.testing.assert_array_equal(card.class_ids, np.array([2, 5, 7], np.uint8))
    assert card.class_ids.dtype == np.uint8


def test_a_card_can_be_pickled_and_owns_its_values():
    metrics = {"miou": 0.5, "per class": {"corn": (1, 2)}}
    card = tiny_card(metrics=metrics)
    metrics["miou"] = 0.9
    assert card.metrics == {"miou": 0.5, "per class": {"corn": [1, 2]}}
    assert pickle.loads(pickle.dumps(card)) == card


def test_numpy_numbers_become_plain_numbers():
    card = tiny_card(
        bands=(ModelBand("red", np.float32(0.5), np.float32(1), np.float64(0), np.float64(1)),) * 1,
        chip_size=np.int64(64),
    )
    assert type(card.bands[0].mean) is float
    assert type(card.chip_size) is int
    assert type(LandClass(np.uint8(3), "corn", "#FFAA00").id) is int


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: LandClass(255, "x", "#000000"), "255 -> 0"),
        (lambda: LandClass(1, "", "#000000"), "name of class 1"),
        (lambda: LandClass(1, "x", "red"), '"red"'),
        (lambda: ModelBand("red", 0.1, 0, 0, 1), 'band "red" has std 0'),
        (lambda: ModelBand("red", float("nan"), 1, 0, 1), 'mean of band "red"'),
        (lambda: ModelBand("red", "0.1", 1, 0, 1), 'mean of band "red"'),
        (lambda: ModelBand("red", 0.1, 1, 2, 1), "low 2 above high 1"),
        (lambda: tiny_card(bands=()), "no bands"),
        (lambda: tiny_card(bands=(ModelBand("red", 0, 1, 0, 1),) * 2), '"red"'),
        (lambda: tiny_card(classes=()), "no classes"),
        (
            lambda: tiny_card(classes=(LandClass(1, "a", "#000000"), LandClass(1, "b", "#000000"))),
            "a second 1 -> 0",
        ),
        (lambda: tiny_card(classes=(LandClass(2, "a", "#000000"), LandClass(1, "b", "#000000"))), r"[1, 2]"),
        (lambda: tiny_card(classes=(LandClass(1, "a", "#000000"), LandClass(2, "a", "#000000"))), '"a"'),
        (lambda: tiny_card(overlap=33), "more than half"),
        (lambda: tiny_card(overlap=-1), "`overlap`"),
        (lambda: tiny_card(chip_size=0, overlap=0), "`chip_size`"),
        (lambda: tiny_card(chip_size=64.5), "`chip_size`"),
        (lambda: tiny_card(gsd=0), "`gsd`"),
        (lambda: tiny_card(gsd=None, gsd_estimated=True), "there is no `gsd`"),
        (lambda: tiny_card(value_scale=0), "`value_scale`"),
        (lambda: tiny_card(invalid_where="some"), '"some"'),
        (lambda: tiny_card(temperatures={"none": 0}), '"none"'),
        (lambda: tiny_card(metrics={"miou": float("nan")}), "`metrics`"),
        (lambda: tiny_card(metrics={"miou": object()}), "`metrics`"),
        (lambda: tiny_card(name=" "), "`name`"),
        (lambda: tiny_card(trust=None), "`trust`"),
        (lambda: tiny_card(encoder=""), "`encoder`"),
    ],
)
def test_what_cannot_be_right_is_refused_in_one_line(build, words):
    with pytest.raises(ModelError) as caught:
        build()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
