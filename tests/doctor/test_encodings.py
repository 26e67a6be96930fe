"""Which encoding of reflectance the values show: the right one or none, never a wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.doctor.atmosphere import to_top_of_atmosphere
from geoseg.doctor.encodings import (
    ENCODINGS,
    LANDSAT,
    PER_CENT,
    PLAIN,
    SENTINEL_2,
    SIXTEEN_BITS,
    TIMES_10000,
    fit_encodings,
)
from geoseg.scene.band import Band

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
GROUND = {
    "forest": (0.02, 0.04, 0.025, 0.28, 0.14, 0.06),
    "crops": (0.035, 0.07, 0.05, 0.38, 0.2, 0.11),
    "soil": (0.08, 0.12, 0.17, 0.26, 0.34, 0.28),
    "water": (0.04, 0.035, 0.02, 0.008, 0.004, 0.002),
    "desert": (0.15, 0.27, 0.4, 0.47, 0.58, 0.55),
    "snow": (0.9, 0.9, 0.88, 0.8, 0.1, 0.08),
    "cloud": (0.75, 0.74, 0.74, 0.75, 0.55, 0.45),
    "basalt": (0.04, 0.045, 0.05, 0.06, 0.07, 0.065),
    "lagoon": (0.22, 0.24, 0.1, 0.02, 0.005, 0.003),
    "salt": (0.55, 0.6, 0.65, 0.68, 0.5, 0.4),
    "town": (0.1, 0.11, 0.12, 0.16, 0.17, 0.15),
}
TYPES = {PER_CENT: "float32", PLAIN: "float32"}


def ground(*kinds, seed=0):
    """Reflectance of ground of these kinds, float64 (6, pixels)."""
    rng = np.random.default_rng(seed)
    parts = [
        np.array(GROUND[kind])[:, None] * rng.normal(1, 0.12, 1500) + rng.normal(0, 0.002, (6, 1500))
        for kind in kinds
    ]
    return np.concatenate(parts, axis=1)


def stored(reflectance, encoding, dtype=None):
    dtype = dtype or TYPES.get(encoding, "uint16")
    numbers = (reflectance - encoding.offset) / encoding.scale
    if not dtype.startswith("f"):
        numbers = np.rint(numbers).clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return dict(zip(BANDS, numbers.astype(dtype), strict=False))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda each: each.title)
def test_a_countryside_with_a_lake_shows_its_encoding(encoding):
    fit = fit_encodings(stored(ground("forest", "crops", "soil", "water"), encoding))
    assert fit.only == encoding


@pytest.mark.parametrize("bands", [4, 6])
@pytest.mark.parametrize("is_above", [False, True])
@pytest.mark.parametrize("kind", GROUND)
def test_ground_of_one_kind_is_never_taken_for_another_encoding(kind, is_above, bands):
    values = ground(kind)
    if is_above:
        air = [to_top_of_atmosphere(Band(1, None, name, "float64"), name) for name in BANDS]
        values = np.stack([row * band.scale + band.offset for row, band in zip(values, air, strict=True)])
    for encoding in ENCODINGS:
        fit = fit_encodings(stored(values[:bands], encoding))
        assert encoding in fit.possible
        assert fit.only in (encoding, None)


def test_the_names_of_what_fits_are_there_to_ask_for():
    fit = fit_encodings(stored(ground("water"), TIMES_10000))
    assert fit.only is None
    assert {TIMES_10000, SIXTEEN_BITS} <= set(fit.possible)


def test_signed_numbers_fill_no_16_bits():
    fit = fit_encodings(stored(ground("water"), TIMES_10000, "int16"))
    assert not {SIXTEEN_BITS, LANDSAT} & set(fit.possible)


def test_an_offset_shows_only_where_something_is_dark_in_the_infrared():
    assert fit_encodings(stored(ground("crops"), SENTINEL_2)).only is None
    assert fit_encodings(stored(ground("crops", "water"), SENTINEL_2)).only == SENTINEL_2
    assert fit_encodings(stored(ground("crops", "water")[:4], SENTINEL_2)).only is None


@pytest.mark.parametrize("factor", [1000, 255, 20_000])
def test_other_scales_are_not_taken_for_these(factor):
    values = np.rint(ground("forest", "crops", "soil", "water") * factor).clip(0, 65535).astype("uint16")
    assert fit_encodings(dict(zip(BANDS, values, strict=True))).only is None


def test_values_that_say_too_little():
    values = stored(ground("crops"), TIMES_10000)
    assert fit_encodings({name: values[name] for name in BANDS[:3]}) is None
    assert fit_encodings({name: own[:50] for name, own in values.items()}) is None
    assert fit_encodings({name: own.astype("uint8") for name, own in values.items()}) is None
    assert fit_encodings(values | {"nir": values["nir"] * 0}) is None


@pytest.mark.parametrize("other", [TIMES_10000, PER_CENT, SENTINEL_2])
@pytest.mark.parametrize(
    "mixed", [["blue", "green"], ["blue"], ["red"], ["nir"], ["swir16", "swir22"], ["green", "nir"]]
)
@pytest.mark.parametrize("base", [PLAIN, PER_CENT])
def test_bands_in_two_encodings_are_never_read_in_one(base, mixed, other):
    """Two bands in per cent beside reflectance once made a field look like deep water."""
    if base == other:
        return
    for kinds in (("forest", "crops", "soil", "water"), ("crops", "soil"), ("water",), ("desert",)):
        whole, odd = (stored(ground(*kinds), each, "float32") for each in (base, other))
        fit = fit_encodings(whole | {name: odd[name] for name in mixed})
        assert fit is None or fit.only is None, kinds
