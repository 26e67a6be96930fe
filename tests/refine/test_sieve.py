"""The sieve's rule, case by case, and what always holds after it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.refine.patches import SETTLED, PatchGraph
from geoseg.refine.sieve import Sieve
from geoseg.refine.survey import PatchSize
from tests.refine import plain
from tests.refine.arrays import refine_array


def as_map(*rows):
    return np.array([[255 if char == "." else int(char) for char in row] for row in rows], np.uint8)


def sieve(classes, least, probabilities=None, bands=(), rows=None):
    return refine_array(classes, [Sieve(PatchSize(least), bands)], probabilities, rows)


CASES = {
    "the class with most sides": (2, ["11133", "11423", "11133"], ["11133", "11133", "11133"]),
    "of sides that tie the lowest class": (2, ["22111", "22911", "22111"], ["22111", "22111", "22111"]),
    "sides of two patches of a class add up": (2, ["1121", "3921", "1133"], None),
    "diagonals are no neighbours": (2, ["122", "212", "221"], ["222", "222", "222"]),
    "nodata is no neighbour": (3, ["11.", "1..", "..2"], ["11.", "1..", "..2"]),
    "an island of small patches becomes one": (50, ["..3.", ".122", "...."], ["..2.", ".222", "...."]),
    "of equal patches the highest class goes first": (2, ["12"], ["11"]),
    "the smallest goes first": (4, ["111223333"], ["111113333"]),
    "what has grown enough stays": (4, ["5555122233"], None),
    "the size itself is large enough": (3, ["111222"], ["111222"]),
}


@pytest.mark.parametrize(("least", "before", "after"), CASES.values(), ids=CASES)
def test_the_rule(least, before, after):
    before = as_map(*before)
    expected = plain.sieve(before, least) if after is None else as_map(*after)
    np.testing.assert_array_equal(sieve(before, least), expected)


def test_probability_is_asked_before_sides():
    classes = as_map("11111", "11233", "11111")
    probabilities = np.zeros((3, 3, 5), np.uint8)
    probabilities[2, 1, 2] = 9
    probabilities[0, 1, 2] = 8
    found = sieve(classes, 2, probabilities, (1, 2, 3))
    np.testing.assert_array_equal(found, as_map("11111", "11333", "11111"))


def test_probability_of_the_whole_patch_counts_and_unknown_counts_nothing():
    classes = as_map("11113", "12233", "11113")
    probabilities = np.zeros((2, 3, 5), np.uint8)
    probabilities[0, 1, 1:3] = 30, 40
    probabilities[1, 1, 1:3] = 255, 60
    assert sieve(classes, 3, probabilities, (1, 3))[1, 1] == 1
    probabilities[1, 1, 1] = 20
    assert sieve(classes, 3, probabilities, (1, 3))[1, 1] == 3


def test_the_likeliest_class_must_be_a_neighbour():
    classes = as_map("1111", "1211", "1113")
    probabilities = np.zeros((2, 3, 4), np.uint8)
    probabilities[1] = 250
    assert sieve(classes, 2, probabilities, (1, 3))[1, 1] == 1


@settings(max_examples=100, deadline=None)
@given(
    classes=hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=14),
        elements=st.sampled_from([0, 1, 2, 3, 254, 255]),
    ),
    least=st.integers(1, 30),
    rows=st.integers(1, 14),
)
def test_afterwards_small_patches_have_no_neighbours_and_nothing_is_left_to_do(classes, least, rows):
    sieved = sieve(classes, least, rows=rows)
    for patch in plain.patches(sieved):
        assert len(patch) >= least or not plain.neighbours(sieved, patch)
    np.testing.assert_array_equal(sieve(sieved, least, rows=rows), sieved)


def test_a_patch_across_many_strips_is_one():
    classes = np.full((40, 9), 1, np.uint8)
    classes[:, 4] = 2  # 40 pixels, one a strip
    classes[::2, 0] = 3
    np.testing.assert_array_equal(sieve(classes, 40, rows=1), np.where(classes == 3, 1, classes))
    assert (sieve(classes, 41, rows=1) == 1).all()


def test_what_is_decided_is_not_kept(monkeypatch):
    """The nodes that wait after a strip are few, however long the map."""
    waiting = []
    merge = Sieve._merge

    def watch(step, graph: PatchGraph):
        merge(step, graph)
        waiting.append(len(graph) - SETTLED)

    monkeypatch.setattr(Sieve, "_merge", watch)
    random = np.random.default_rng(0)
    classes = np.kron(random.integers(1, 4, (60, 6)), np.ones((10, 10), int)).astype(np.uint8)
    classes[random.random(classes.shape) < 0.3] = 4
    sieve(classes, 20, rows=20)
    assert len(waiting) == 30
    assert max(waiting[:-1]) < 60
    assert waiting[-1] == 0
