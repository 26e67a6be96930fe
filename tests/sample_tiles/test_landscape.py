from __future__ import annotations

import covers
import landscape
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

places = st.integers(-3_000, 100_000)


@settings(max_examples=12, deadline=None)
@given(
    row=places,
    column=places,
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 5),
)
def test_a_pixel_is_the_same_in_every_window(row, column, height, width, at, seed):
    values, classes = landscape.both((row, column, height, width), seed)
    down, right = int(at[0] * (height - 1)), int(at[1] * (width - 1))
    piece = (row + down, column + right, height - down, width - right)
    np.testing.assert_array_equal(landscape.spectra(piece, seed), values[:, down:, right:])
    np.testing.assert_array_equal(landscape.labels(piece, seed), classes[down:, right:])


def test_windows_fit_together_across_tile_borders():
    whole = landscape.both((200, -60, 120, 130), 3)
    for axis in (0, 1):
        cut = 56  # row 256 is a tile border; so is column 0, at 60
        first = [200, -60, 120, 130]
        second = list(first)
        first[2 + axis], second[axis], second[2 + axis] = cut, second[axis] + cut, second[2 + axis] - cut
        pieces = [landscape.both(tuple(window), 3) for window in (first, second)]
        np.testing.assert_array_equal(np.concatenate([p[0] for p in pieces], axis=1 + axis), whole[0])
        np.testing.assert_array_equal(np.concatenate([p[1] for p in pieces], axis=axis), whole[1])


def test_there_is_no_seam_at_tile_borders():
    """The step across a tile border is like the steps elsewhere."""
    values = landscape.spectra((0, 0, 512, 512), 8).astype(float)
    steps = np.abs(np.diff(values, axis=2)).mean(axis=(0, 1))
    border = steps[landscape.TILE - 1]
    assert border < np.percentile(steps, 97)


def test_every_class_occurs_and_none_rules():
    classes = landscape.labels((0, 0, 1536, 1536), 4)
    share = np.bincount(classes.ravel(), minlength=10) / classes.size
    assert share[0] == 0
    assert (share[1:] > 0.015).all()
    assert share.max() < 0.45


def test_seeds_make_different_landscapes():
    window = (0, 0, 128, 128)
    assert (landscape.labels(window, 0) != landscape.labels(window, 1)).mean() > 0.4


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        landscape.labels((0, 0, 0, 5))


@pytest.fixture(scope="module")
def big():
    return landscape.both((0, 0, 1536, 1536), 21)


def inner(mask, reach=2):
    """Pixels whose whole neighbourhood lies in the mask."""
    out = mask.copy()
    for axis in (0, 1):
        for shift in range(-reach, reach + 1):
            out &= np.roll(mask, shift, axis)
    return out


@pytest.mark.parametrize("class_id", [1, 2, 3, 4, 5, 6, 7])
def test_class_spectra_follow_the_constants(big, class_id):
    """Pixels inside a class have the mean of its covers, weighed by how often they occur."""
    values, classes = big
    mine = [cover for cover in covers.COVERS if cover.class_id == class_id]
    low = np.min([cover.mean for cover in mine], axis=0)
    high = np.max([cover.mean for cover in mine], axis=0)
    spread = np.sqrt(np.mean([(cover.between**2).sum(0) for cover in mine], axis=0))
    mean = values[:, inner(classes == class_id)].mean(axis=1)
    assert (mean > low - 0.4 * spread - 15).all()
    assert (mean < high + 0.4 * spread + 15).all()


def test_texture_within_fields_follows_the_constants(big):
    """In a corn field the spectrum varies by what is kept of the measured variation, less what the blur takes."""
    values, classes = big
    inside = inner(classes == 1, 4)
    corn = values[:, inside].astype(float)
    cover = covers.COVERS[covers.INDEX["corn"]]
    variance = (cover.within**2).sum(0) + (cover.between**2).sum(0) + np.square(landscape.SENSOR_NOISE)
    ratio = corn.std(axis=1) / np.sqrt(variance)
    assert (ratio > 0.7).all()
    assert (ratio < 1.3).all()


def test_constants_are_the_measured_ones():
    """The kept factors reproduce the measured covariance but for what weak components hold."""
    for rows in covers.MEASURED.values():
        for row in rows:
            for kind, least in (("between", 0.93), ("within", 0.93)):
                factors, covariance = np.array(row[f"{kind}_factors"]), np.array(row[kind])
                assert least < np.square(factors).sum() / np.trace(covariance) < 1.02
                np.testing.assert_allclose(covariance, covariance.T)


def test_roads_follow_the_mile_grid():
    """Developed pixels gather on lines 54 pixels apart."""
    classes = landscape.labels((0, 0, 54 * 12, 54 * 12), 6)
    by_row = (classes == 9).mean(axis=1).reshape(12, 54).mean(axis=0)
    assert by_row.argmax() == 0
    assert by_row[0] > 5 * np.median(by_row)
