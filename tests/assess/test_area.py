"""Area estimation against the worked example of Olofsson et al. 2014, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.assess.area import Z, allocate, estimate, sample_size
from geoseg.errors import InputError, SettingsError

# Their section 5: a map of change of 10 million Landsat pixels (0.09 ha each), 640 samples. Table 8, rows are
# the map's classes: deforestation, forest gain, stable forest, stable non-forest.
MAP_BY_REFERENCE = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
SHARES = np.array([0.02, 0.015, 0.32, 0.645])
HECTARES = SHARES * 10_000_000 * 0.09


def test_the_worked_example():
    found = estimate(MAP_BY_REFERENCE.T, HECTARES)
    half = np.array([found.users_se, found.producers_se, found.area_se]) * 1.96
    assert found.accuracy == pytest.approx(0.95, abs=0.005)
    assert found.accuracy_se * 1.96 == pytest.approx(0.02, abs=0.005)
    np.testing.assert_allclose(found.users, [0.88, 0.73, 0.93, 0.96], atol=0.005)
    np.testing.assert_allclose(half[0], [0.07, 0.10, 0.04, 0.02], atol=0.005)
    np.testing.assert_allclose(found.producers, [0.75, 0.85, 0.93, 0.96], atol=0.005)
    np.testing.assert_allclose(half[1], [0.21, 0.25, 0.03, 0.02], atol=0.005)
    np.testing.assert_allclose(found.area, [21_158, 11_686, 285_770, 581_386], atol=0.5)
    np.testing.assert_allclose(half[2], [6_158, 3_756, 15_510, 16_282], atol=0.5)
    assert found.area.sum() == pytest.approx(900_000)


def test_their_sample_size():
    """Their section 5.1.1: user's accuracies of 0.7, 0.6, 0.9, 0.95 and a standard error of 0.01."""
    assert sample_size(np.array([0.7, 0.6, 0.9, 0.95]), SHARES, 0.01) == 641


def test_estimates_are_unbiased_and_intervals_cover():
    """Draw many samples from a map whose truth is known."""
    rng = np.random.default_rng(0)
    truth = np.array([[0.80, 0.05, 0.02], [0.15, 0.90, 0.08], [0.05, 0.05, 0.90]])  # label given map class
    mapped = np.array([2_000.0, 7_000.0, 1_000.0])
    area = truth @ mapped
    drawn = (60, 150, 60)
    estimates, covered = [], 0
    for _ in range(600):
        sample = np.stack([rng.multinomial(n, truth[:, i]) for i, n in enumerate(drawn)], axis=1)
        found = estimate(sample, mapped)
        estimates.append(found.area)
        covered += np.abs(found.area - area) <= Z * found.area_se
    spread = np.std(estimates, axis=0)
    np.testing.assert_allclose(np.mean(estimates, axis=0), area, atol=4 * spread.max() / np.sqrt(600))
    assert ((covered / 600 > 0.90) & (covered / 600 < 0.99)).all()


def test_producers_error_by_resampling():
    """Equation 7 against the spread of producer's accuracy over simulated samples."""
    rng = np.random.default_rng(1)
    truth = np.array([[0.85, 0.1], [0.15, 0.9]])
    mapped = np.array([300.0, 700.0])
    found = [
        estimate(np.stack([rng.multinomial(400, truth[:, i]) for i in (0, 1)], axis=1), mapped)
        for _ in range(800)
    ]
    spread = np.std([item.producers for item in found], axis=0)
    np.testing.assert_allclose(np.mean([item.producers_se for item in found], axis=0), spread, rtol=0.1)
    spread = np.std([item.users for item in found], axis=0)
    np.testing.assert_allclose(np.mean([item.users_se for item in found], axis=0), spread, rtol=0.1)


def test_a_class_that_is_not_mapped_still_has_area():
    sample = np.array([[40, 5, 0], [10, 45, 0], [0, 10, 0]])
    found = estimate(sample, np.array([100.0, 200.0, 0.0]))
    assert found.area[2] == pytest.approx(200 * 10 / 60)
    assert found.producers[2] == 0
    assert np.isnan(found.users[2])
    assert np.isfinite(found.area_se).all()


def test_a_stratum_without_samples_is_refused_and_a_single_one_has_no_error():
    with pytest.raises(InputError, match="mapped class lake"):
        estimate(np.array([[5, 0], [1, 0]]), np.array([10.0, 1.0]), ["field", "lake"])
    found = estimate(np.array([[5, 0], [1, 1]]), np.array([10.0, 1.0]))
    assert np.isnan(found.accuracy_se)
    assert found.accuracy > 0


@settings(max_examples=100, deadline=None)
@given(
    pixels=st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any),
    total=st.integers(2, 2000),
    least=st.integers(0, 100),
)
def test_allocation(pixels, total, least):
    pixels = np.array(pixels)
    present = np.count_nonzero(pixels)
    if total < 2 * present:
        with pytest.raises(SettingsError, match="too few"):
            allocate(total, pixels, least)
        return
    share = allocate(total, pixels, least)
    assert share.sum() == min(total, pixels.sum())
    assert (share <= pixels).all()
    floor = np.minimum(min(least, total // (2 * present)), pixels)
    assert (share >= floor).all()
    larger = np.argsort(pixels, kind="stable")
    assert (np.diff(share[larger]) >= -1).all()  # more pixels, not fewer samples (but for rounding)


def test_rare_classes_get_their_least_and_the_rest_is_in_proportion():
    share = allocate(640, np.array([200_000, 150_000, 3_200_000, 6_450_000]), least=75)
    assert share[:2].tolist() == [75, 75]
    assert share[3] / share[2] == pytest.approx(645 / 320, rel=0.02)
