"""Every augmentation keeps one contract: same shape, labels that were there, image and labels agree, seeded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from geoseg.classes import IGNORE
from geoseg.inference.reading import Normalisation
from geoseg.models.card import ModelBand
from geoseg.training.chips.augment import (
    GREENING,
    BandDropout,
    Blur,
    Brightness,
    Contrast,
    Crop,
    Flips,
    Gamma,
    Haze,
    Hue,
    Noise,
    QuarterTurns,
    Rotation,
    Scaling,
    Season,
    Shadow,
    TrainingChip,
    augment,
    from_unit,
    smooth_field,
    to_unit,
    warp,
)
from geoseg.training.recipe.settings import AugmentSettings

GEOMETRIC = [
    Flips(),
    QuarterTurns(),
    Rotation(degrees=180),
    Scaling(smallest=0.5, largest=2),
    Crop(least=0.3),
]
OF_VALUES = [
    Noise(),
    Blur(),
    Brightness(),
    Contrast(),
    Gamma(),
    Hue(hue=0.2),
    BandDropout(),
    Haze(),
    Shadow(),
    Season(),
]
EVERY = pytest.mark.parametrize("augmentation", [*GEOMETRIC, *OF_VALUES], ids=lambda a: type(a).__name__)
NAMES = ("blue", "green", "red", "nir", "swir16", "swir22", "mystery")


def bands(count):
    return tuple(ModelBand(name, 0.2 + 0.05 * i, 0.1, 0.05, 0.5) for i, name in enumerate(NAMES[:count]))


def chip(count=4, shape=(32, 32), seed=0, holes=True):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.05, 0.5, (count, *shape)).astype(np.float32)
    valid = np.ones(shape, bool)
    labels = rng.choice([0, 1, 4, IGNORE], shape).astype(np.uint8)
    if holes:
        valid[5:9, 3:8] = False
        values[:, ~valid] = np.nan
        values[0, 20:22] = np.nan
        labels[~valid] = IGNORE
    return TrainingChip(values, valid, labels)


@EVERY
@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_shapes_dtypes_and_label_values_stay(augmentation, count):
    given = chip(count)
    result = augmentation.apply(given, bands(count), np.random.default_rng(1))
    assert (result.values.dtype, result.valid.dtype, result.labels.dtype) == (np.float32, bool, np.uint8)
    assert (result.values.shape, result.valid.shape, result.labels.shape) == (
        (count, 32, 32),
        (32, 32),
        (32, 32),
    )
    assert set(np.unique(result.labels)) <= set(np.unique(given.labels)) | {IGNORE}


@EVERY
def test_the_given_chip_is_not_written_to(augmentation):
    given, copy = chip(), chip()
    for seed in range(3):
        augmentation.apply(given, bands(4), np.random.default_rng(seed))
    for field in ("values", "valid", "labels"):
        np.testing.assert_array_equal(getattr(given, field), getattr(copy, field))


@EVERY
def test_the_seed_decides(augmentation):
    def once(seed):
        return augmentation.apply(chip(), bands(4), np.random.default_rng(seed))

    np.testing.assert_array_equal(once(3).values, once(3).values)
    np.testing.assert_array_equal(once(3).labels, once(3).labels)
    others = [once(seed).values for seed in range(8)]
    assert any(not np.array_equal(once(3).values, other, equal_nan=True) for other in others)


@EVERY
def test_invalid_pixels_are_zero_after_normalisation(augmentation):
    result = augmentation.apply(chip(), bands(4), np.random.default_rng(5))
    normalisation = Normalisation(
        *(np.array([getattr(b, k) for b in bands(4)], np.float32) for k in ("mean", "std"))
    )
    network_input = normalisation.apply(result.values.copy(), result.valid)
    assert np.isfinite(network_input).all()
    assert not network_input[:, ~result.valid].any()
    assert network_input.any()


@EVERY
def test_chips_that_are_not_square_work(augmentation):
    given = chip(shape=(24, 40))
    assert augmentation.apply(given, bands(4), np.random.default_rng(0)).labels.shape == (24, 40)


@pytest.mark.parametrize("augmentation", OF_VALUES, ids=lambda a: type(a).__name__)
def test_changing_values_leaves_labels_and_validity(augmentation):
    given = chip()
    result = augmentation.apply(given, bands(4), np.random.default_rng(2))
    np.testing.assert_array_equal(result.labels, given.labels)
    np.testing.assert_array_equal(result.valid, given.valid)
    assert np.isnan(result.values[:, ~given.valid]).all()


@pytest.mark.parametrize("augmentation", GEOMETRIC, ids=lambda a: type(a).__name__)
def test_values_and_labels_move_together(augmentation):
    """Each label has its own value in a chip of large patches; away from borders they must still agree."""
    labels = np.kron(np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]]), np.ones((24, 24))).astype(np.uint8)
    values = np.stack([labels * 0.1, 1 - labels * 0.1]).astype(np.float32)
    given = TrainingChip(values, np.ones(labels.shape, bool), labels)
    for seed in range(6):
        result = augmentation.apply(given, bands(2), np.random.default_rng(seed))
        known = result.labels != IGNORE
        wrong = np.abs(result.values[0] - result.labels * 0.1) > 1e-3
        assert known.mean() > 0.2
        assert (wrong & known).sum() / known.sum() < 0.15  # only patches' borders are mixed
        inner = known & _is_inner(result.labels)
        assert inner.any()
        assert not wrong[inner].any()


def _is_inner(labels):
    from scipy.ndimage import maximum_filter, minimum_filter

    return maximum_filter(labels, 5) == minimum_filter(labels, 5)


@pytest.mark.parametrize("augmentation", [Flips(), QuarterTurns()], ids=lambda a: type(a).__name__)
def test_exact_moves_keep_every_pixel(augmentation):
    given = chip()
    result = augmentation.apply(given, bands(4), np.random.default_rng(7))
    for field in ("values", "labels"):
        np.testing.assert_array_equal(
            np.sort(getattr(result, field), axis=None), np.sort(getattr(given, field), axis=None)
        )


def test_warping_by_nothing_changes_nothing():
    given = chip()
    result = warp(given, np.array([[1.0, 0, 0], [0, 1.0, 0]]))
    np.testing.assert_allclose(result.values, np.where(given.valid, given.values, np.nan), rtol=1e-5)
    np.testing.assert_array_equal(result.labels, given.labels)
    np.testing.assert_array_equal(result.valid, given.valid)


def test_rotating_by_a_right_angle_is_a_quarter_turn():
    given = chip(holes=False)
    result = warp(given, np.array([[0.0, -1, 0], [1, 0.0, 0]]))
    turned = [k for k in (1, 3) if np.array_equal(np.rot90(given.labels, k), result.labels)]
    assert len(turned) == 1
    np.testing.assert_allclose(result.values, np.rot90(given.values, turned[0], (1, 2)), rtol=1e-4)


def test_what_turns_in_from_outside_is_invalid_and_ignored():
    given = chip(holes=False)
    result = warp(given, np.array([[2.0, 0, 0], [0, 2.0, 0]]))
    outside = np.ones((32, 32), bool)
    outside[8:24, 8:24] = False
    assert not result.valid[outside].any()
    assert (result.labels[outside] == IGNORE).all()
    assert result.valid[9:23, 9:23].all()


def test_nodata_does_not_bleed_into_warped_or_blurred_values():
    given = TrainingChip(
        np.full((1, 32, 32), 0.3, np.float32), np.ones((32, 32), bool), np.zeros((32, 32), np.uint8)
    )
    given.values[:, 10:15, 10:15] = np.nan
    given.valid[10:15, 10:15] = False
    for augmentation in (Rotation(), Scaling(), Crop(), Blur(sigma=3)):
        result = augmentation.apply(given, bands(1), np.random.default_rng(0))
        assert np.allclose(result.values[np.isfinite(result.values)], 0.3, atol=1e-5)


def test_noise_has_the_size_it_says():
    given = TrainingChip(
        np.zeros((2, 128, 128), np.float32), np.ones((128, 128), bool), np.zeros((128, 128), np.uint8)
    )
    result = Noise(amount=1.0).apply(given, bands(2), np.random.default_rng(4))
    sigma = np.random.default_rng(4).uniform(0, 1.0) * 0.1
    assert result.values.std() == pytest.approx(sigma, rel=0.05)


def test_blur_is_a_gaussian():
    from scipy.ndimage import gaussian_filter

    given = chip(1, holes=False)
    rng = np.random.default_rng(9)
    result = Blur(sigma=2.0).apply(given, bands(1), rng)
    sigma = np.random.default_rng(9).uniform(0.1, 2.0)
    expected = gaussian_filter(
        given.values[0].astype(float), sigma, mode="mirror", truncate=np.ceil(3 * sigma) / sigma
    )
    np.testing.assert_allclose(result.values[0], expected, atol=2e-3)


def test_brightness_is_one_factor_a_band():
    given = chip(holes=False)
    ratio = Brightness(amount=0.3).apply(given, bands(4), np.random.default_rng(0)).values / given.values
    assert np.ptp(ratio, axis=(1, 2)) == pytest.approx([0] * 4, abs=1e-5)
    assert len(set(ratio[:, 0, 0].round(4))) == 4


def test_contrast_keeps_the_mean_and_stretches():
    given = chip(holes=False)
    means = np.array([band.mean for band in bands(4)])[:, None, None]
    ratio = (Contrast().apply(given, bands(4), np.random.default_rng(0)).values - means) / (
        given.values - means
    )
    assert np.median(np.ptp(ratio, axis=(1, 2))) < 0.05
    assert (np.abs(ratio[:, 0, 0] - 1) <= 0.21).all()


def test_gamma_bends_between_the_percentiles_and_keeps_their_ends():
    values = np.linspace(0.0, 0.6, 64, dtype=np.float32).reshape(1, 8, 8)
    given = TrainingChip(values, np.ones((8, 8), bool), np.zeros((8, 8), np.uint8))
    result = Gamma(amount=1.0).apply(given, bands(1), np.random.default_rng(1)).values.ravel()
    exponent = np.exp(np.random.default_rng(1).uniform(-1, 1, 1))[0]
    share = (values.ravel() - 0.05) / 0.45
    inside = (share > 0) & (share < 1)
    np.testing.assert_allclose(result[inside], share[inside] ** exponent * 0.45 + 0.05, rtol=1e-4)
    np.testing.assert_allclose(result[~inside], values.ravel()[~inside], rtol=1e-4)
    assert (np.diff(result) > 0).all()


def test_hue_turns_colours_as_colorsys_does():
    import colorsys

    given = chip(4, holes=False)
    result = Hue(hue=0.2, saturation=0.0).apply(given, bands(4), np.random.default_rng(6))
    turn = np.random.default_rng(6).uniform(-0.2, 0.2)
    share, changed = to_unit(given.values, bands(4)), to_unit(result.values, bands(4))
    for row, col in ((0, 0), (7, 21), (30, 4)):
        h, s, v = colorsys.rgb_to_hsv(*(float(share[i, row, col]) for i in (2, 1, 0)))
        expected = colorsys.hsv_to_rgb((h + turn) % 1, s, v)
        np.testing.assert_allclose([changed[i, row, col] for i in (2, 1, 0)], expected, atol=2e-3)
    np.testing.assert_array_equal(result.values[3], given.values[3])


def test_hue_leaves_scenes_without_red_green_and_blue():
    given = chip(2)
    assert Hue().apply(given, bands(2), np.random.default_rng(0)) is given


def test_band_dropout_leaves_a_band():
    for seed in range(20):
        result = BandDropout(most=9).apply(chip(3, holes=False), bands(3), np.random.default_rng(seed))
        lost = np.isnan(result.values).all(axis=(1, 2))
        assert 1 <= lost.sum() <= 2
        assert not np.isnan(result.values[~lost]).any()


def test_haze_brightens_short_wavelengths_most_and_lowers_contrast():
    given = TrainingChip(
        np.full((6, 32, 32), 0.1, np.float32), np.ones((32, 32), bool), np.zeros((32, 32), np.uint8)
    )
    change = Haze().apply(given, bands(6), np.random.default_rng(0)).values.mean(axis=(1, 2)) - 0.1
    assert (change > 0).all()
    assert (np.diff(change) < 0).all()


def test_shadow_only_darkens():
    given = chip(holes=False)
    ratio = Shadow().apply(given, bands(4), np.random.default_rng(3)).values / given.values
    assert (ratio <= 1).all()
    assert (ratio > 0.6 - 1e-6).all()
    assert np.ptp(ratio) > 0.05
    np.testing.assert_allclose(ratio, ratio[:1].repeat(4, axis=0), rtol=1e-5)  # all bands the same


def test_season_shifts_red_and_near_infrared_against_each_other():
    given = chip(6, holes=False)
    shift = (Season(amount=1.0).apply(given, bands(6), np.random.default_rng(0)).values - given.values).mean(
        axis=(1, 2)
    )
    expected = np.array([GREENING[name] for name in NAMES[:6]])
    np.testing.assert_allclose(shift / shift[3], expected / expected[3], rtol=1e-3)


def test_unit_range_round_trips():
    values = chip(holes=False).values
    np.testing.assert_allclose(from_unit(to_unit(values, bands(4)), bands(4)), values, rtol=1e-5)


def test_smooth_field_stays_between_zero_and_one():
    field = smooth_field((33, 17), np.random.default_rng(0))
    assert field.shape == (33, 17)
    assert 0 <= field.min() < field.max() <= 1
    assert np.abs(np.diff(field, axis=0)).max() < 0.1


def test_the_pipeline_applies_what_is_on_and_nothing_else():
    settings = AugmentSettings(flips=None, turns=None, brightness=None, noise=None)
    assert list(settings) == []
    given = chip()
    np.testing.assert_array_equal(
        augment(given, bands(4), settings, np.random.default_rng(0)).values, given.values
    )


def test_the_whole_pipeline_is_seeded_and_contiguous():
    settings = AugmentSettings(
        **{f.name: a for f, a in zip(dataclasses.fields(AugmentSettings), ORDERED, strict=True)}
    )
    for seed in range(5):
        first, second = (augment(chip(), bands(4), settings, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first.values, second.values)
        np.testing.assert_array_equal(first.labels, second.labels)
        assert first.values.flags["C_CONTIGUOUS"]
        assert first.labels.flags["C_CONTIGUOUS"]


ORDERED = [
    Flips(), QuarterTurns(), Rotation(chance=1), Scaling(chance=1), Crop(chance=1), Season(chance=1), Shadow(chance=1),
    Haze(chance=1), Hue(chance=1), Brightness(chance=1), Contrast(chance=1), Gamma(chance=1), Blur(chance=1),
    Noise(chance=1), BandDropout(chance=1),
]  # fmt: skip
