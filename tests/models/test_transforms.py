"""Input transforms: each formula, their order, and what they do not depend on."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ModelError
from geoseg.models.card import ModelBand, describe
from geoseg.models.mlm import card_from_item, item_from_card
from geoseg.models.model import model_hash
from geoseg.models.transforms import TRANSFORMS, Transform, parse_transforms, transform, transforms_of
from tests.conftest import tiny_card

VALUES = [-3.0, -0.5, 0.0, 1e-4, 0.3, 2.0, 1e4]
FORMULAS = {
    "scale=2.5": lambda x: 2.5 * x,
    "offset=-0.25": lambda x: x - 0.25,
    "log=50": lambda x: math.log(max(1 + 50 * x, 1e-6)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "power=2": lambda x: x * abs(x),
    "power=0.5": lambda x: math.copysign(math.sqrt(abs(x)), x),
    "scale=0.01,power=2,offset=1,log=1,sigmoid": lambda x: (
        1 / (1 + math.exp(-math.log(2 + 1e-4 * x * abs(x))))
    ),
}


def apply(text, values):
    array = np.array(values, np.float32).reshape(1, 1, -1)
    transform(array, [parse_transforms(text)])
    return array.ravel()


@pytest.mark.parametrize("text", FORMULAS)
def test_each_is_its_formula(text):
    wanted = [FORMULAS[text](x) for x in VALUES]
    np.testing.assert_allclose(apply(text, VALUES), wanted, rtol=2e-6, atol=1e-7)


def test_the_tests_know_every_kind():
    assert {part.partition("=")[0] for text in FORMULAS for part in text.split(",")} == set(TRANSFORMS)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", FORMULAS)
def test_nodata_stays_and_every_number_stays_a_number(text):
    found = apply(text, [np.nan, -3e4, -100.0, 0.0, 3e4])
    assert np.isnan(found[0])
    assert np.isfinite(found[1:]).all()


@pytest.mark.parametrize("text", FORMULAS)
def test_a_value_gives_the_same_bits_wherever_it_lies(text):
    whole = np.random.default_rng(1).normal(size=4099).astype(np.float32)
    wanted = apply(text, whole)
    for first, count in ((0, 1), (1, 3), (5, 17), (3, 1000)):
        assert np.array_equal(apply(text, whole[first : first + count]), wanted[first : first + count])


def test_bands_have_chains_of_their_own():
    values = np.ones((3, 2, 2), np.float32)
    transform(values, [parse_transforms("scale=2"), (), parse_transforms("offset=1,scale=3")])
    assert values[:, 0, 0].tolist() == [2, 1, 6]
    transform(values, ())
    assert values[:, 0, 0].tolist() == [2, 1, 6]


steps = st.one_of(
    st.just(Transform("sigmoid")),
    st.builds(Transform, st.just("offset"), st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-9)),
    st.builds(Transform, st.sampled_from(["scale", "log", "power"]), st.floats(1e-6, 1e6)),
)


@given(chain=st.lists(steps, min_size=1, max_size=4).map(tuple))
def test_a_package_keeps_them(validate, chain):
    bands = (ModelBand("red", 0, 1, 0, 1, chain), ModelBand("nir", 0.1, 2, 0, 1))
    card = tiny_card(bands=bands)
    item = json.loads(json.dumps(item_from_card(card)))
    assert item["properties"]["geoseg:format"] == 2
    assert card_from_item(item) == card
    validate(item)


def test_a_package_without_them_says_nothing_new():
    text = json.dumps(item_from_card(tiny_card()))
    assert "transforms" not in text
    assert '"geoseg:format": 1' in text


def test_they_are_part_of_the_hash():
    def digest(*texts):
        chains = [parse_transforms(text) for text in texts]
        bands = tuple(ModelBand(name, 0, 1, 0, 1, chain) for name, chain in zip("ab", chains, strict=True))
        return model_hash(tiny_card(bands=bands), {}, b"", ())

    one = digest("log=50,sigmoid", "sigmoid")
    assert one == digest("log=50,sigmoid", "sigmoid")
    others = [("sigmoid,log=50", "sigmoid"), ("log=51,sigmoid", "sigmoid"), ("log=50", "sigmoid")]
    assert len({one, *(digest(*texts) for texts in others)}) == 4


def test_the_card_shows_them():
    bands = [ModelBand(name, 0, 1, 0, 1, parse_transforms("log=50,sigmoid")) for name in ("red", "nir")]
    text = describe(tiny_card(bands=bands))
    assert "Transforms, before mean and std\n  all: log=50, sigmoid\n" in text
    text = describe(tiny_card(bands=[bands[0], ModelBand("nir", 0, 1, 0, 1)]))
    assert "\n  nir: as they are\n" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sqrt=2", 'no transform "sqrt"'),
        ("sigmod", 'did you mean "sigmoid"'),
        ("scale", "needs a number"),
        ("scale=nan", "out of range"),
        ("scale=1e39", "out of range"),
        ("scale=0", "out of range"),
        ("scale=x", '"x" in "scale=x" is no number'),
        ("log=-1", "greater than 0"),
        ("power=-2", "greater than 0"),
        ("sigmoid=3", "takes no value"),
        ("", "no transform"),
    ],
)
def test_what_is_none_is_refused(text, said):
    with pytest.raises(ModelError, match=said):
        parse_transforms(text)


@pytest.mark.parametrize(
    "items",
    [
        {"type": "log"},
        [3],
        [{"value": 3}],
        [{"type": "log", "value": 3, "base": 2}],
        [{"type": ["log"]}],
        [{"type": "log", "value": True}],
        [{"type": "log", "value": "3"}],
        [{"type": "log", "value": 10**400}],
    ],
)
def test_a_damaged_card_is_named(items):
    with pytest.raises(ModelError):
        transforms_of(items)
    item = item_from_card(tiny_card())
    item["properties"]["bands"][0]["geoseg:transforms"] = items
    with pytest.raises(ModelError, match=r"`properties.bands\[0\].geoseg:transforms`"):
        card_from_item(item)
