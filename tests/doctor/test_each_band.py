"""The input doctor on single bands: one that holds nothing, or is on another scale than the others."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from geoseg.doctor.examine import examine
from geoseg.scene import open_scene
from tests.doctor.patients import BANDS, PICTURE, card, codes, only, reflectance, stored

SCALES = (1e-4,) * 4


def spoiled(scene_of, band, change, **options):
    """A good scene, but for one band."""
    values = stored(reflectance())
    values[band] = change(values[band])
    return scene_of(values, scales=SCALES, **options)


def in_part(value, share):
    def change(band):
        band[: round(share * len(band))] = value
        return band

    return change


class TestEmpty:
    @pytest.mark.parametrize("value", [-9999, 0, 777])
    @pytest.mark.parametrize(("share", "severity"), [(1, "stop"), (0.6, "stop"), (0.3, "warn")])
    def test_one_band_is_named(self, scene_of, value, share, severity):
        scene = spoiled(scene_of, 3, in_part(value, share), nodata=-9999)
        finding = only(examine(scene, card()))
        assert (finding.severity, finding.code) == (severity, "band-empty")
        assert (
            f"band 4 (nir) {'has no values' if value == -9999 else f'is exactly {value}'}" in finding.message
        )
        assert f"at {share:.0%} of the pixels" in finding.message

    def test_nan_in_one_band(self, scene_of):
        values = reflectance().astype("float32")
        values[1] = np.nan
        assert "2 (green) has no values" in only(examine(scene_of(values), card())).message

    def test_all_such_bands_are_in_one_finding(self, scene_of):
        values = stored(reflectance())
        values[:2] = 0
        finding = only(examine(scene_of(values, scales=SCALES), card()))
        assert "1 (blue) is exactly 0" in finding.message
        assert "2 (green) is exactly 0" in finding.message

    def test_a_dead_band_does_not_hide_the_scale_of_the_others(self, scene_of):
        values = stored(reflectance())
        values[3] = 0
        assert codes(examine(scene_of(values), card())) == [("stop", "band-empty"), ("stop", "value-range")]

    @pytest.mark.parametrize(("rule", "severity"), [("all", "warn"), ("any", "stop")])
    def test_a_few_percent_stop_where_such_pixels_are_not_mapped(self, scene_of, rule, severity):
        scene = spoiled(scene_of, 3, in_part(-9999, 0.02), nodata=-9999)
        assert only(examine(scene, card(invalid_where=rule))).severity == severity

    def test_edges_that_differ_by_a_few_pixels_are_no_finding(self, scene_of):
        assert examine(spoiled(scene_of, 3, in_part(-9999, 0.005), nodata=-9999), card()).findings == ()

    def test_infrared_clipped_at_zero_over_water_is_a_measurement(self, scene_of):
        """Half of the scene is a lake, whose values lie around 0."""
        lake = np.random.default_rng(1).normal(0, 20, (100, 200)).clip(0).astype("int16")

        def flood(band):
            band[:100] = lake
            return band

        assert (lake == 0).mean() > 0.4
        assert examine(spoiled(scene_of, 3, flood), card()).findings == ()

    def test_burnt_out_white_is_a_measurement(self, scene_of):
        rng = np.random.default_rng(0)
        picture = rng.normal(220, 40, (3, 200, 200)).clip(0, 255).astype("uint8")
        assert (picture == 255).mean() > 0.15
        assert examine(scene_of(picture, descriptions=BANDS[:3]), card(**PICTURE)).findings == ()

    def test_tiny_scenes_prove_nothing(self, scene_of):
        assert examine(scene_of(np.full((4, 3, 3), 900, "int16"), scales=SCALES), card()).findings == ()


class TestScale:
    @pytest.mark.parametrize(
        ("factors", "severity", "named"),
        [
            ((1, 1, 1, 1e4), "stop", {3}),
            ((1e4, 1e4, 1e4, 1), "stop", {0, 1, 2}),
            ((100, 1, 100, 1), "stop", {0, 2}),
            ((1, 1, 1, 10), "stop", {3}),
            ((10, 1, 1, 1), "warn", {0}),
            ((1, 1, 1, 1e-4), "stop", {3}),
            ((1, 0.01, 1, 1), "warn", {1}),
        ],
    )
    def test_bands_are_named(self, scene_of, factors, severity, named):
        values = reflectance() * np.array(factors)[:, None, None]
        finding = only(examine(scene_of(values.astype("float32")), card()))
        assert (finding.severity, finding.code) == (severity, "band-scale")
        assert {name for name in BANDS if f"({name})" in finding.message} == {BANDS[i] for i in named}

    def test_snow_is_bright_in_blue_and_dark_in_the_infrared(self, scene_of):
        """Blue 0.7 is six times as bright as the model has seen it."""
        level = np.array([0.7, 0.68, 0.64, 0.5])[:, None, None]
        snow = level * np.random.default_rng(0).uniform(0.8, 1.1, (4, 100, 100))
        assert "band-scale" not in [
            code for _, code in codes(examine(scene_of(snow.astype("float32")), card()))
        ]

    def test_clear_water_is_dark_in_the_infrared(self, scene_of):
        level = np.array([0.03, 0.02, 0.005, 0.001])[:, None, None]
        sea = level * np.random.default_rng(0).uniform(0.5, 1.5, (4, 100, 100))
        assert "band-scale" not in [
            code for _, code in codes(examine(scene_of(sea.astype("float32")), card()))
        ]


@pytest.mark.parametrize(("offsets", "warns"), [((-0.1,) * 4, False), ((0, 0, 0, -0.1), True)])
def test_offsets_that_differ_between_bands_of_one_scale(scene_of, offsets, warns):
    scene = scene_of(stored(reflectance() - np.array(offsets)[:, None, None]), scales=SCALES)
    with rasterio.open(scene.paths[0], "r+") as file:
        file.offsets = offsets
    found = [
        each for each in examine(open_scene(scene.paths[0]), card()).findings if each.code == "offsets-differ"
    ]
    assert [each.severity for each in found] == ["warn"] * warns
    assert all("-0.1 (as band 4 (nir))" in each.message for each in found)
