"""The input doctor on values: scale, type, range and fill that nobody declared."""

from __future__ import annotations

import re

import numpy as np
import pytest

from geoseg.doctor.examine import examine
from geoseg.scene import open_scene
from tests.doctor.patients import BANDS, PICTURE, card, codes, only, reflectance, stored


class TestValues:
    def fixed(self, scene, finding, opening=None):
        """Open the scene again with the flags that the finding names."""
        flags = re.findall(r"--(scale|offset|nodata) (-?[\d.e-]+)", finding.fix)
        assert flags, finding
        return open_scene(scene.paths[0], **(opening or {}) | {name: float(value) for name, value in flags})

    @pytest.mark.parametrize(
        ("scale", "offset", "dtype", "flags"),
        [
            (1e4, 0, "int16", "--scale 0.0001 brings"),
            (1 / 2.75e-5, 0.2 / 2.75e-5, "uint16", "--scale 2.75e-05 --offset -0.2 brings"),
            (100, 0, "float32", "--scale 0.01 brings"),
            (1e-4, 0, "float32", None),
        ],
    )
    def test_unscaled_values_stop_and_the_fix_works(self, scene_of, scale, offset, dtype, flags):
        values = reflectance() * scale + offset
        scene = scene_of(values.astype(dtype) if dtype != "float32" else values.astype("float32"))
        finding = only(examine(open_scene(scene.paths[0], scale=1), card()))
        assert (finding.severity, finding.code) == ("stop", "value-range")
        assert "blue" in finding.message
        assert "model 0.02 to 0.12" in finding.message
        if flags:
            assert finding.fix.startswith(flags)
            assert examine(self.fixed(scene, finding), card()).findings == ()

    def test_a_wrong_scale_tag_is_fixed(self, scene_of):
        scene = scene_of(stored(reflectance()), scales=(1e-8,) * 4, offsets=(3,) * 4)
        finding = only(examine(scene, card()))
        assert finding.fix.startswith("--scale 0.0001 --offset 0 ")
        assert examine(self.fixed(scene, finding), card()).findings == ()

    def test_an_8_bit_picture_stops_without_a_scale_as_fix(self, scene_of):
        scene = scene_of(stored(reflectance(), 400, 20, "uint8"))
        finding = only(examine(scene, card()))
        assert finding.severity == "stop"
        assert "8-bit picture values, not reflectance" in finding.message
        assert "--scale" not in finding.fix

    def test_reflectance_for_a_model_of_pictures_stops(self, scene_of):
        scene = scene_of(reflectance()[:3].astype("float32"), descriptions=BANDS[:3])
        finding = only(examine(scene, card(**PICTURE)))
        assert (finding.severity, finding.code) == ("stop", "value-range")

    @pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
    def test_dark_reflectance_as_whole_numbers_is_no_picture(self, scene_of, dtype):
        """Its values lie where a picture's do, but for a few."""
        values = stored(reflectance()[:3] * 0.15, dtype=dtype)
        assert values.max() < 400
        finding = only(examine(scene_of(values, descriptions=BANDS[:3]), card(**PICTURE)))
        assert (finding.severity, finding.code) == ("stop", "value-range")
        assert f"reads 8-bit pictures (0 to 255), and the scene holds {dtype} values from" in finding.message
        assert "--scale" not in finding.fix

    def test_negative_values_are_no_picture(self, scene_of):
        values = np.random.default_rng(0).integers(0, 250, (3, 50, 50)).astype("int16")
        values[0, 0, 0] = -3
        assert only(examine(scene_of(values, descriptions=BANDS[:3]), card(**PICTURE))).severity == "stop"

    def test_a_picture_in_another_type_warns(self, scene_of):
        values = np.random.default_rng(0).integers(0, 250, (3, 50, 50)).astype("int16")
        scene = scene_of(values, descriptions=BANDS[:3])
        finding = only(examine(scene, card(**PICTURE)))
        assert (finding.severity, finding.code) == ("warn", "picture-type")
        assert "int16 values from 0 to 249" in finding.message

    @pytest.mark.parametrize("changes", [{"units": "counts"}, {"high": (800,) * 3}, {"value_scale": 0.5}])
    def test_models_of_other_digital_numbers_take_any_type(self, scene_of, changes):
        values = np.random.default_rng(0).integers(0, 300, (3, 50, 50)).astype("uint16")
        scene = scene_of(values, descriptions=BANDS[:3])
        assert examine(scene, card(**PICTURE | changes)).findings == ()

    @pytest.mark.parametrize("change", [0.5, 1.0, 1.6])
    def test_seasons_haze_and_deserts_do_not_stop(self, scene_of, change):
        scene = scene_of(stored(np.clip(reflectance() * change, 0, 1)), scales=(1e-4,) * 4)
        assert examine(scene, card()).fits

    def test_open_water_does_not_stop(self, scene_of):
        level = np.array([0.04, 0.03, 0.02, 0.005])[:, None, None]
        water = level * np.random.default_rng(0).uniform(0.8, 1.2, (4, 100, 100))
        assert examine(scene_of(stored(water), scales=(1e-4,) * 4), card()).fits

    def test_full_cloud_does_not_stop_but_warns(self, scene_of):
        cloud = np.random.default_rng(0).uniform(0.6, 0.9, (4, 100, 100))
        diagnosis = examine(scene_of(stored(cloud), scales=(1e-4,) * 4), card())
        assert codes(diagnosis) == [("warn", "value-range")]

    def test_values_apart_in_every_band_stop(self, scene_of):
        scene = scene_of(stored(reflectance() + 0.9), scales=(1e-4,) * 4)
        assert codes(examine(scene, card())) == [("stop", "value-range")]

    def test_a_few_nan_cells_are_left_out(self, scene_of):
        values = reflectance().astype("float32")
        values[1, :1] = np.nan
        assert examine(scene_of(values), card()).findings == ()

    def test_reflectance_that_fills_16_bits_gets_its_own_scale(self, scene_of):
        """Landsat's scale brings most of such values near the model's range too, but not as near."""
        scene = scene_of(stored(reflectance(), 65535, dtype="uint16"))
        finding = only(examine(open_scene(scene.paths[0], scale=1), card()))
        assert finding.fix.startswith("--scale 1.5259e-05 brings")
        assert examine(self.fixed(scene, finding), card()).findings == ()


class TestNodata:
    @pytest.mark.parametrize(
        ("value", "dtype"),
        [
            (0, "int16"),
            (-9999, "int16"),
            (-32768, "int16"),
            (0, "uint16"),
            (65535, "uint16"),
            (0, "float32"),
            (-9999, "float32"),
        ],
    )
    def test_undeclared_fill_warns_and_the_fix_works(self, scene_of, value, dtype):
        values = reflectance().astype("float32") if dtype == "float32" else stored(reflectance(), dtype=dtype)
        values[:, :60] = value
        scales = (1.0,) * 4 if dtype == "float32" else (1e-4,) * 4
        scene = scene_of(values, scales=scales)
        finding = only(examine(scene, card()))
        assert (finding.severity, finding.code) == ("warn", "undeclared-nodata")
        assert f"30% of the sampled valid pixels are exactly {value} in every band" in finding.message
        assert finding.fix.startswith(f"--nodata {value},")
        assert examine(open_scene(scene.paths[0], nodata=value), card()).findings == ()

    def test_a_fill_that_no_measurement_reaches_stops(self, scene_of):
        values = reflectance().astype("float32")
        values[:, :60] = np.finfo(np.float32).min
        scene = scene_of(values)
        finding = only(examine(scene, card()))
        assert (finding.severity, finding.fix) == ("stop", "--nodata -3.4028234663852886e+38")
        assert (
            examine(open_scene(scene.paths[0], nodata=float(finding.fix.split()[1])), card()).findings == ()
        )

    def test_declared_nodata_is_no_finding(self, scene_of):
        values = stored(reflectance())
        values[:, :60] = 0
        assert examine(scene_of(values, scales=(1e-4,) * 4, nodata=0), card()).findings == ()

    def test_another_value_than_the_declared_one(self, scene_of):
        values = stored(reflectance())
        values[:, :60] = 0
        finding = only(examine(scene_of(values, scales=(1e-4,) * 4, nodata=-9999), card()))
        assert "declares nodata -9999, not this" in finding.message

    def test_a_few_black_pixels_are_no_fill(self, scene_of):
        values = stored(reflectance())
        values[:, 0, : values.shape[2] // 2] = 0
        assert examine(scene_of(values, scales=(1e-4,) * 4), card()).findings == ()

    def test_a_narrow_wedge_is_fill(self, scene_of):
        values = stored(reflectance())
        values[:, :4] = 0
        assert only(examine(scene_of(values, scales=(1e-4,) * 4), card())).code == "undeclared-nodata"

    def test_no_valid_pixel_stops(self, scene_of):
        finding = only(examine(scene_of(np.zeros((4, 20, 20), "int16"), nodata=0), card()))
        assert (finding.severity, finding.code) == ("stop", "no-valid-pixel")

    def test_no_valid_pixel_by_the_models_own_rule(self, scene_of):
        values = stored(reflectance())
        values[2] = -1
        scene = scene_of(values, scales=(1e-4,) * 4, nodata=-1)
        found = examine(scene, card(invalid_where="any"))
        assert codes(found) == [("stop", "no-valid-pixel"), ("stop", "band-empty")]
        assert "3 (red) has no values at 100%" in found.findings[1].message

    @pytest.mark.parametrize("valid", [0, 1])
    def test_a_scene_whose_sample_is_empty_is_read_to_the_first_valid_pixel(self, scene_of, valid):
        values = np.zeros((4, 1200, 1200), "int16")
        values[:, 1199, 1199] = valid  # between the windows of the sample
        finding = only(examine(scene_of(values, nodata=0, tiled=True, compress="deflate"), card()))
        assert (finding.severity, finding.code) == ("warn" if valid else "stop", "no-valid-pixel")

    @pytest.mark.parametrize(("value", "dtype"), [(0, "int16"), (65535, "uint16"), (0, "float32")])
    def test_a_scene_of_nothing_but_fill_stops(self, scene_of, value, dtype):
        finding = only(examine(scene_of(np.full((4, 50, 50), value, dtype)), card()))
        assert (finding.severity, finding.code) == ("stop", "undeclared-nodata")
