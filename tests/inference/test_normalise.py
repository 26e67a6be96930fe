"""Normalisation: the package's own numbers, in every row, and 0 wherever nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.inference.normalise import Normalisation

MEANS, STDS = np.array([0.5, -2], np.float32), np.array([0.25, 8], np.float32)


@pytest.fixture
def window():
    """Values of two bands, one of them NaN where a pixel is valid; and a mask. 150 rows: more than one part."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 150, 40)).astype(np.float32)
    values[0, rng.random((150, 40)) < 0.2] = np.nan
    return values, rng.random((150, 40)) < 0.8


@pytest.mark.parametrize("has_place", [True, False])
def test_every_pixel_by_the_numbers_of_its_band(window, has_place):
    values, valid = window
    expected = (values.astype(float) - MEANS[:, None, None]) / STDS[:, None, None]
    expected[:, ~valid] = 0
    expected[np.isnan(expected)] = 0
    place = np.full_like(values, 7) if has_place else None
    result = Normalisation(MEANS, STDS).apply(values, valid, place)
    assert result is (place if has_place else values)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_pixel_that_one_band_lacks_keeps_the_others(window):
    values, valid = window
    alone = np.isnan(values[0]) & valid
    assert alone.any()
    result = Normalisation(MEANS, STDS).apply(values, valid)
    assert not result[0, alone].any()
    assert result[1, alone].all()
