"""Boundary F1 against scipy's exact distance transform, class by class, on whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.transform import Affine
from scipy.ndimage import distance_transform_edt

from geoseg.assess.boundary import Tolerance, boundary_counts, boundary_scores, read_tolerance
from geoseg.errors import SettingsError
from geoseg.grid import Window, tiles
from geoseg.raster.georeference import Georeference
from tests.assess.maps import random_pair

TOLERANCES = (
    Tolerance(1),
    Tolerance(1.5),
    Tolerance(2),
    Tolerance(5),
    Tolerance(50, True, (30.0, 10.0)),
    Tolerance(0.3),
)


def naive_boundary(values):
    """Pixel by pixel: a known neighbour of another class."""
    edge = np.zeros(values.shape, bool)
    rows, cols = values.shape
    for r in range(rows):
        for c in range(cols):
            for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                i, j = r + dr, c + dc
                inside = 0 <= i < rows and 0 <= j < cols
                if inside and 255 not in (values[r, c], values[i, j]) and values[i, j] != values[r, c]:
                    edge[r, c] = True
    return edge


def naive_counts(labels, mapped, tolerance, classes):
    known = (labels != 255) & (mapped != 255)
    labels, mapped = np.where(known, labels, 255), np.where(known, mapped, 255)
    edges = naive_boundary(mapped), naive_boundary(labels)
    counts = np.zeros((4, classes), int)
    for value in range(classes):
        here = [edge & (values == value) for edge, values in zip(edges, (mapped, labels), strict=True)]
        for side in (0, 1):
            counts[2 * side, value] = here[side].sum()
            if here[1 - side].any():
                distance = distance_transform_edt(~here[1 - side], sampling=tolerance.pixel)
                counts[2 * side + 1, value] = (distance[here[side]] <= tolerance.amount + 1e-6).sum()
    return counts


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_counts_agree_with_exact_distances(seed, shape):
    labels, mapped, _ = random_pair(seed, shape)
    found = boundary_counts(labels, mapped, np.s_[:, :], TOLERANCES, 8)
    for i, tolerance in enumerate(TOLERANCES):
        np.testing.assert_array_equal(found[i], naive_counts(labels, mapped, tolerance, 8), str(tolerance))


@pytest.mark.parametrize("size", [7, 16, 33, 100])
def test_windows_with_a_margin_give_the_same_counts(size):
    labels, mapped, _ = random_pair(1)
    whole = boundary_counts(labels, mapped, np.s_[:, :], TOLERANCES, 256)
    reach = max(tolerance.reach for tolerance in TOLERANCES)
    parts = np.zeros_like(whole)
    for core in tiles(labels.shape, size):
        wide = Window.from_bounds(
            max(0, core.row - reach),
            max(0, core.col - reach),
            min(labels.shape[0], core.row_stop + reach),
            min(labels.shape[1], core.col_stop + reach),
        )
        place = wide.slices()
        parts += boundary_counts(labels[place], mapped[place], core.slices(wide), TOLERANCES, 256)
    np.testing.assert_array_equal(parts, whole)


def test_many_classes_need_several_words_of_bits():
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 255, (12, 12)), np.ones((3, 3))).astype(np.uint8)
    mapped = np.roll(labels, 1, axis=1)
    found = boundary_counts(labels, mapped, np.s_[:, :], (Tolerance(1),), 256)
    np.testing.assert_array_equal(found[0], naive_counts(labels, mapped, Tolerance(1), 256))


def test_scores_by_hand():
    """A field moved by two pixels: found within two, not within one; a lost field scores 0."""
    labels, mapped = np.ones((20, 40), np.uint8), np.ones((20, 40), np.uint8)
    labels[5:15, 5:15], mapped[5:15, 7:17] = 2, 2
    labels[5:15, 25:35] = 3
    counts = boundary_counts(labels, mapped, np.s_[:, :], (Tolerance(2), Tolerance(1)), 5)
    _, _, f1 = boundary_scores(counts)
    assert f1[0, 2] == 1.0
    assert 0 < f1[1, 2] < 1
    assert f1[0, 3] == 0.0
    assert np.isnan(f1[:, [0, 4]]).all()


def test_the_same_map_is_perfect():
    labels, _, _ = random_pair(3)
    _, _, f1 = boundary_scores(boundary_counts(labels, labels, np.s_[:, :], (Tolerance(1),), 8))
    np.testing.assert_array_equal(f1[0, [1, 2, 7]], 1.0)


UTM = Georeference(CRS.from_epsg(32614), Affine(30, 0, 500_000, 0, -30, 5_000_000))
DEGREES = Georeference(CRS.from_epsg(4326), Affine(1e-4, 0, -99, 0, -1e-4, 60.0))
SHAPE = (1000, 2000)


def test_a_tolerance_in_metres_knows_that_pixels_are_not_square():
    """At 60 degrees north a degree of longitude is half as long as one of latitude."""
    found = read_tolerance("24m", DEGREES, SHAPE)
    assert str(found) == "24m"
    assert found.half_widths() == [4, 3, 1]
    assert read_tolerance("24m", UTM, SHAPE).half_widths() == [0]
    with pytest.raises(SettingsError, match="more than 63 pixels"):
        read_tolerance("64px", UTM, SHAPE)
