"""Values of training scenes, compared with each other."""

from __future__ import annotations

import pytest

from geoseg.training.ground.labelled_scene import LabelledScene
from geoseg.training.label_check.scene_values import compare_scenes
from tests.doctor.patients import reflectance, stored

SCALES = (1e-4,) * 4


@pytest.fixture
def compared(scene_of):
    """Compares scenes, each of values in whole numbers x 10,000 and options."""

    def compare(*changes):
        scenes = []
        for seed, (change, options) in enumerate(changes):
            values = change(reflectance((60, 60), seed) * 1e4)
            image = scene_of(
                stored(values, 1, dtype="int32"), name=f"{seed}.tif", **{"scales": SCALES} | options
            )
            scenes.append(LabelledScene(image, None, (1,)))
        return [(found.level, found.code, found.message) for found in compare_scenes(scenes)]

    return compare


def same(values):
    return values


GOOD = (same, {})


def test_scenes_of_other_seasons_and_haze_do_not_differ(compared):
    assert compared(GOOD, (lambda v: v * 0.5, {}), (lambda v: v * 1.8 + 300, {}), GOOD) == []


@pytest.mark.parametrize("others", [1, 3])
def test_a_scene_that_lost_its_scale_stops_and_is_named(compared, others):
    (level, code, message), *more = compared(*[GOOD] * others, (same, {"scales": (1.0,) * 4}))
    assert (level, code, more) == ("stop", "scene-values", [])
    assert f"{others}.tif: the values of every band are about 10,000 times those of" in message


@pytest.mark.parametrize("place", [0, 1])
def test_of_two_scenes_the_brighter_is_named(compared, place):
    scenes = [GOOD, (lambda v: v * 100, {})]
    ((level, _, message),) = compared(*(scenes if place else scenes[::-1]))
    assert level == "stop"
    assert f"{place}.tif: the values of every band are about 1" in message


def test_a_factor_that_is_no_unit_warns(compared):
    ((level, code, _),) = compared(GOOD, (lambda v: v * 3, {"scales": (2e-4,) * 4}), GOOD)
    assert (level, code) == ("warn", "scene-values")


def test_one_band_is_named(compared):
    def unscaled(values):
        values[3] *= 10_000
        return values

    ((level, code, message),) = compared(GOOD, GOOD, (unscaled, {}))
    assert (level, code) == ("stop", "scene-values")
    assert "2.tif: the values of band nir are about" in message


def test_an_offset_in_all_bands_warns(compared):
    ((level, code, message),) = compared(GOOD, (lambda v: v + 1000, {}))
    assert (level, code) == ("warn", "scene-offset")
    assert "1.tif: the darkest values of every band are" in message


def test_bands_that_hold_nothing_warn(compared):
    def dead(values):
        values[1] = 0
        return values

    found = compared(GOOD, GOOD, (dead, {}), GOOD)
    assert ("warn", "band-empty", "2.tif: band green is 0 everywhere") in [
        (a, b, c[-100:].split("/")[-1]) for a, b, c in found
    ]


def test_one_scene_has_nothing_to_be_compared_with(compared):
    assert compared((lambda v: v * 1000, {})) == []
