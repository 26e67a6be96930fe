"""What every refine step promises, tested once for all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.refine.holes import FillHoles
from geoseg.refine.sieve import Sieve
from geoseg.refine.step import Step
from geoseg.refine.survey import PatchSize
from geoseg.refine.windows import Close, Open, Smooth
from tests.refine import plain
from tests.refine.arrays import refine_array

BANDS = (1, 2, 7)
"""Class 9 has no probability: maps of others may hold such classes."""
MAPS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([1, 1, 2, 2, 7, 9, 255]),
)


def areas(shape):
    """Pixels that grow from top to bottom, in whole numbers."""
    return np.broadcast_to(np.arange(10, 10 + shape[0], dtype=float)[:, None], shape)


@dataclass(frozen=True)
class Case:
    """A step, made for a map; the plain answer; and how far a new class may come from."""

    make: callable
    plain: callable
    reach: int | None = None


CASES = {
    "smooth 3": Case(lambda _: Smooth(3), lambda m, _: plain.smooth(m, 3), 1),
    "smooth 5": Case(lambda _: Smooth(5), lambda m, _: plain.smooth(m, 5), 2),
    "smooth 21": Case(lambda _: Smooth(21), lambda m, _: plain.smooth(m, 21), 10),
    "open 3": Case(lambda _: Open(1, 3), lambda m, _: plain.opening(m, 1, 3), 1),
    "open 5 by probability": Case(
        lambda _: Open(2, 5, BANDS), lambda m, p: plain.opening(m, 2, 5, probabilities=p, bands=BANDS), 2
    ),
    "close 3": Case(lambda _: Close(1, 3), lambda m, _: plain.closing(m, 1, 3), 1),
    "close 5": Case(lambda _: Close(7, 5), lambda m, _: plain.closing(m, 7, 5), 2),
    "fill holes": Case(lambda _: FillHoles(PatchSize(8)), lambda m, _: plain.fill_holes(m, 8)),
    "fill holes by area": Case(
        lambda shape: FillHoles(PatchSize(60, lambda row, rows: areas(shape)[row : row + rows])),
        lambda m, _: plain.fill_holes(m, 60, areas=areas(m.shape)),
    ),
    "sieve": Case(lambda _: Sieve(PatchSize(6)), lambda m, _: plain.sieve(m, 6)),
    "sieve all": Case(lambda _: Sieve(PatchSize(10**9)), lambda m, _: plain.sieve(m, 10**9)),
    "sieve by area": Case(
        lambda shape: Sieve(PatchSize(45, lambda row, rows: areas(shape)[row : row + rows])),
        lambda m, _: plain.sieve(m, 45, areas=areas(m.shape)),
    ),
    "sieve by probability": Case(
        lambda _: Sieve(PatchSize(6), BANDS),
        lambda m, p: plain.sieve(m, 6, probabilities=p, bands=BANDS),
    ),
}
every_step = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def some_probabilities(classes, seed):
    random = np.random.default_rng(seed)
    stored = random.integers(0, 4, (len(BANDS), *classes.shape)).astype(np.uint8)  # few values: many ties
    stored[:, (classes == 255) | (random.random(classes.shape) < 0.1)] = 255
    return stored


@every_step
@settings(max_examples=80, deadline=None)
@given(classes=MAPS, rows=st.integers(1, 12), seed=st.integers(0, 99))
def test_strips_of_any_height_give_the_plain_answer(case, classes, rows, seed):
    probabilities = some_probabilities(classes, seed)
    given_classes, given_probabilities = classes.copy(), probabilities.copy()
    refined = refine_array(classes, [case.make(classes.shape)], probabilities, rows)
    assert refined.dtype == np.uint8
    np.testing.assert_array_equal(refined, case.plain(classes, probabilities))
    np.testing.assert_array_equal(classes, given_classes)
    np.testing.assert_array_equal(probabilities, given_probabilities)


@every_step
def test_larger_maps_give_the_plain_answer_too(case, farmland):
    classes, probabilities = farmland
    expected = case.plain(classes, probabilities)
    for rows in (1, 7, 30, 1000):
        refined = refine_array(classes, [case.make(classes.shape)], probabilities, rows)
        np.testing.assert_array_equal(refined, expected)


@every_step
def test_nodata_stays_and_no_class_comes_from_nowhere(case, farmland):
    classes, probabilities = farmland
    refined = refine_array(classes, [case.make(classes.shape)], probabilities, 13)
    np.testing.assert_array_equal(refined == 255, classes == 255)
    changed = np.nonzero(refined != classes)
    assert changed[0].size, "a test of a step that does nothing shows nothing"
    assert np.isin(refined, classes).all()
    if case.reach is not None:
        for at in zip(*changed, strict=True):
            assert refined[at] in plain.window(classes, *at, 2 * case.reach + 1)


@every_step
@pytest.mark.parametrize("value", [1, 2, 255])
def test_where_there_is_nothing_to_do_nothing_is_done(case, value):
    classes = np.full((40, 33), value, np.uint8)
    refined = refine_array(classes, [case.make(classes.shape)], some_probabilities(classes, 0), 9)
    np.testing.assert_array_equal(refined, classes)


@every_step
@settings(max_examples=20, deadline=None)
@given(classes=MAPS)
def test_a_mirrored_map_has_the_mirrored_answer(case, classes):
    step = case.make(classes.shape)
    probabilities = some_probabilities(classes, 1)
    refined = refine_array(classes, [step], probabilities)
    mirrored = refine_array(classes[:, ::-1], [step], probabilities[:, :, ::-1])
    np.testing.assert_array_equal(mirrored[:, ::-1], refined)


@every_step
def test_a_step_names_itself(case):
    step: Step = case.make((5, 5))
    assert step.name
    assert step.halo >= 0
    assert isinstance(step.uses_probabilities, bool)


@settings(max_examples=50, deadline=None)
@given(classes=MAPS, rows=st.integers(1, 12))
def test_steps_follow_each_other(classes, rows):
    steps = [Smooth(3), Open(1, 3), Close(2, 3), FillHoles(PatchSize(6)), Sieve(PatchSize(5))]
    one_by_one = classes
    for step in steps:
        one_by_one = refine_array(one_by_one, [step], rows=1000)
    np.testing.assert_array_equal(refine_array(classes, steps, rows=rows), one_by_one)
