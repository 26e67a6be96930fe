"""Calibration errors against a plain computation, pixel by pixel."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.assess.calibration import bin_sums, calibration_errors, reliability_table


@settings(max_examples=60, deadline=None)
@given(
    confidence=arrays(np.uint8, 200, elements=st.integers(0, 100)),
    correct=arrays(bool, 200),
    bins=st.integers(1, 30),
)
def test_errors_agree_with_the_definition(confidence, correct, bins):
    gaps, weights = [], []
    for i in range(bins):
        low, high = 100 * i / bins, 100 * (i + 1) / bins
        here = (confidence >= low - 1e-9) & ((confidence < high - 1e-9) | (i == bins - 1))
        if here.any():
            gaps.append(abs(correct[here].mean() - confidence[here].mean() / 100))
            weights.append(here.mean())
    expected, worst = calibration_errors(bin_sums(confidence, correct, bins))
    assert expected == pytest.approx(np.dot(gaps, weights))
    assert worst == pytest.approx(max(gaps))


@pytest.mark.parametrize("bins", [1, 3, 7, 10, 15, 30])
def test_every_percent_falls_into_its_bin(bins):
    for percent in range(101):
        sums = bin_sums(np.array([percent], np.uint8), np.array([True]), bins)
        (place,) = np.flatnonzero(sums[0])
        assert place <= Fraction(percent * bins, 100) < place + 1 or (percent, place) == (100, bins - 1)


def test_a_perfectly_honest_map_has_no_error():
    confidence = np.repeat(np.arange(0, 101, 10), 1000).astype(np.uint8)
    correct = np.concatenate([np.arange(1000) < 10 * c for c in range(0, 101, 10)])
    expected, worst = calibration_errors(bin_sums(confidence, correct))
    assert expected == pytest.approx(0, abs=1e-12)
    assert worst == pytest.approx(0, abs=1e-12)


def test_a_boaster_is_caught():
    sums = bin_sums(np.full(100, 90, np.uint8), np.arange(100) < 30)
    assert calibration_errors(sums)[0] == pytest.approx(0.6)
    rows = [row for row in reliability_table(sums) if row["pixels"]]
    assert rows == [{"low": 13 / 15, "high": 14 / 15, "pixels": 100, "confidence": 0.9, "accuracy": 0.3}]


def test_without_pixels_there_is_no_error():
    expected, worst = calibration_errors(np.zeros((4, 3, 15)))
    assert np.isnan(expected).all()
    assert np.isnan(worst).all()
