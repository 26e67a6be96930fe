"""What stored values mean: the user's word, then tags and metadata, then the values; decided once and by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geoseg.doctor.examine import examine
from geoseg.errors import SettingsError
from geoseg.scene import open_scene
from geoseg.scene.opening import SceneOptions
from geoseg.scene.product import processing_level
from tests.doctor.patients import BANDS, PICTURE, card, codes, only, reflectance, stored

ESA = "S2B_MSIL1C_20210801T103629_N0301_R008_T32UPU_20210801T134601"
LANDSAT = "LC08_L2SP_033027_20150902_20200908_02_T1"
ABOVE = {"units": "top-of-atmosphere reflectance"}


def opened(scene, **options):
    return SceneOptions(**options).open_all_bands(scene.paths[0])


def read(scene):
    return scene.read(scene_window(scene))[0]


def scene_window(scene):
    from geoseg.grid import Window

    return Window.from_shape(scene.shape)


class TestScale:
    def test_values_decide_and_the_same_flags_by_hand_read_the_same(self, scene_of):
        scene = scene_of(stored(reflectance(), 65535, dtype="uint16"))
        diagnosis = examine(scene, card())
        assert codes(diagnosis) == [("note", "value-encoding")]
        assert diagnosis.values.flags() == {"scale": "1.5259e-05", "offset": "0", "atmosphere": "none"}
        by_hand = examine(opened(scene, scale=1.5259e-5), card())
        assert by_hand.findings == ()
        assert by_hand.values.flags() == diagnosis.values.flags()
        assert np.array_equal(read(by_hand.scene), read(diagnosis.scene))

    def test_auto_is_a_word_for_it(self, scene_of):
        scene = scene_of(stored(reflectance()))
        assert opened(scene, scale="auto") == opened(scene)
        with pytest.raises(SettingsError, match="a number or auto, not guess"):
            SceneOptions(scale="guess")

    def test_what_the_user_says_is_not_changed(self, scene_of):
        scene = scene_of(stored(reflectance()))
        for given in ({"scale": 1.0}, {"offset": 0.0}):
            diagnosis = examine(opened(scene, **given), card())
            assert diagnosis.values.encoding is None
            assert codes(diagnosis) == [("stop", "value-range")]

    def test_where_several_fit_all_are_named(self, scene_of):
        """Under a clear lake, or a bright one stored otherwise, nothing tells them apart."""
        level = np.array([0.04, 0.035, 0.02, 0.008])[:, None, None]
        lake = level * np.random.default_rng(0).uniform(0.8, 1.2, (4, 100, 100))
        finding = examine(scene_of(stored(lake, dtype="uint16")), card()).findings[-1]
        assert (finding.severity, finding.code) == ("stop", "value-range")
        assert "--scale 0.0001 (reflectance times 10,000) or --scale 1.5259e-05 (" in finding.fix

    def test_tags_and_other_models_leave_values_alone(self, scene_of):
        tagged = examine(scene_of(stored(reflectance()), scales=(1e-4,) * 4), card())
        assert tagged.values.encoding is None
        assert tagged.values.flags()["scale"] == "0.0001"
        numbers = stored(reflectance()[:3] * 0.15, dtype="int16")
        picture = examine(scene_of(numbers, name="p.tif", descriptions=BANDS[:3]), card(**PICTURE))
        assert picture.values.encoding is None
        own = examine(scene_of(stored(reflectance()), name="o.tif"), card(units="counts"))
        assert own.values.encoding is None

    def test_all_bands_of_the_scene_get_it(self, scene_of):
        values = np.concatenate([stored(reflectance()), stored(reflectance())[:1]])
        diagnosis = examine(scene_of(values, descriptions=(*BANDS, "extra")), card())
        assert {band.scale for band in diagnosis.scene.bands} == {1e-4}

    def test_names_of_products_say_it(self, scene_of):
        """So bright a piece could be of several encodings."""
        values = reflectance() + 0.12
        plain = scene_of(stored(values, 1 / 2.75e-5, 0.2 / 2.75e-5, "uint16"))
        assert examine(plain, card()).values.encoding is None
        named = scene_of(stored(values, 1 / 2.75e-5, 0.2 / 2.75e-5, "uint16"), name=f"{LANDSAT}_stack.tif")
        found = examine(named, card()).values
        assert found.flags() == {"scale": "2.75e-05", "offset": "-0.2", "atmosphere": "none"}
        assert "Level 2" in found.said()

    def test_a_name_that_the_values_contradict_is_not_believed(self, scene_of):
        scene = scene_of(stored(reflectance(), 65535, dtype="uint16"), name=f"{ESA}_B02.tif")
        diagnosis = examine(scene, card())
        assert diagnosis.values.encoding is None
        assert ("stop", "value-range") in codes(diagnosis)

    def test_landsats_level_1_needs_the_sun(self, scene_of, tmp_path):
        name = "LC08_L1TP_033027_20150902_20200908_02_T1"
        numbers = stored(reflectance(), 1 / 4e-5, 0.2 / 4e-5, "uint16")
        scene = scene_of(numbers, name=f"{name}_B1.tif")
        assert examine(scene, card()).values.encoding is None
        (tmp_path / f"{name}_MTL.txt").write_text("  SUN_ELEVATION = 30.0\n  PROCESSING_LEVEL = L1TP\n")
        found = examine(open_scene(scene.paths[0]), card()).values
        assert found.flags() == {"scale": "4e-05", "offset": "-0.2", "atmosphere": "approximate"}

    @pytest.mark.parametrize("key", ["raster:bands", "bands"])
    def test_a_stac_item_says_it(self, scene_of, tmp_path, key):
        prefix = "" if key == "raster:bands" else "raster:"
        band = {f"{prefix}scale": 0.0002, f"{prefix}offset": -0.1}
        item = {
            "stac_version": "1.0.0",
            "properties": {"processing:level": "L2A"},
            "assets": {"image": {"href": "./a.tif", key: [band] * 4}, "other": {"href": "b.tif"}},
        }
        (tmp_path / "a.json").write_text(json.dumps(item))
        scene = scene_of(stored(reflectance(), 5000, 500))
        found = examine(scene, card()).values
        assert found.flags() == {"scale": "0.0002", "offset": "-0.1", "atmosphere": "none"}
        assert found.level == "surface"


class TestAtmosphere:
    def above(self):
        """Reflectance as a sensor above a clear sky sees it."""
        path, passed = np.array([[0.075, 0.8], [0.045, 0.85], [0.024, 0.9], [0.01, 0.93]]).T[..., None, None]
        return path + passed * reflectance()

    def scene(self, scene_of, name=f"{ESA}.tif", values=None):
        values = self.above() if values is None else values
        return scene_of(stored(values), name=name, scales=(1e-4,) * 4)

    def test_what_is_known_to_be_above_is_brought_down(self, scene_of):
        scene = self.scene(scene_of)
        diagnosis = examine(scene, card())
        finding = only(diagnosis)
        assert (finding.severity, finding.code) == ("warn", "atmosphere")
        assert "--atmosphere none" in finding.fix
        assert np.abs(read(diagnosis.scene) - reflectance()).max() < 2e-4
        by_hand = examine(opened(scene, scale=1e-4, atmosphere="approximate"), card())
        assert np.array_equal(read(by_hand.scene), read(diagnosis.scene))
        assert by_hand.values.flags() == diagnosis.values.flags()

    def test_nothing_reflects_less_than_nothing(self, scene_of):
        scene = self.scene(scene_of, values=self.above() - 0.05)
        assert read(examine(scene, card()).scene).min() == 0

    def test_none_leaves_it_and_warns(self, scene_of):
        scene = opened(self.scene(scene_of), atmosphere="none")
        diagnosis = examine(scene, card())
        assert codes(diagnosis) == [("warn", "atmosphere")]
        assert np.array_equal(read(diagnosis.scene), read(scene))

    def test_a_model_of_the_view_from_above_takes_it_as_it_is(self, scene_of):
        scene = self.scene(scene_of)
        diagnosis = examine(scene, card(**ABOVE))
        assert diagnosis.findings == ()
        assert np.array_equal(read(diagnosis.scene), read(scene))

    def test_surface_reflectance_is_lifted_only_if_asked(self, scene_of):
        scene = self.scene(scene_of, "S2B_MSIL2A_20210801T103629_N0301_x.tif", reflectance())
        finding = only(examine(scene, card(**ABOVE)))
        assert (finding.severity, finding.code) == ("warn", "atmosphere")
        assert finding.fix.startswith("--atmosphere approximate")
        asked = examine(opened(scene, atmosphere="approximate"), card(**ABOVE))
        assert np.abs(read(asked.scene) - self.above()).max() < 2e-4

    def test_dark_pixels_that_are_blue_are_a_perhaps(self, scene_of):
        scene = self.scene(scene_of, "a.tif")
        finding = only(examine(scene, card()))
        assert (finding.severity, finding.code) == ("warn", "atmosphere")
        assert finding.message.startswith("perhaps")
        assert examine(opened(scene, atmosphere="none"), card()).findings == ()
        assert examine(self.scene(scene_of, "b.tif", reflectance()), card()).findings == ()

    def test_pictures_have_none(self, scene_of):
        picture = np.random.default_rng(0).integers(0, 250, (3, 50, 50)).astype("uint8")
        scene = opened(scene_of(picture, descriptions=BANDS[:3]), atmosphere="approximate")
        assert codes(examine(scene, card(**PICTURE))) == [("stop", "atmosphere")]


@pytest.mark.parametrize(
    ("tags", "path", "level"),
    [
        ({}, "S2A_MSIL1C_20220801T103629_N0400_R008_T32UPU_20220801T134601.SAFE", "top of atmosphere"),
        ({}, "a/L1C_T32UPU_A037112/IMG_DATA/T32UPU_20220801T103629_B02.jp2", "top of atmosphere"),
        ({}, "LC09_L1GT_033027_20220902_20230308_02_T2_B4.TIF", "top of atmosphere"),
        ({}, "2019-04-16_Sentinel-2_L1C_B02_(Raw).tiff", "top of atmosphere"),
        ({}, "LC08_L2SP_033027_20150902_20200908_02_T1_SR_B4.TIF", "surface"),
        ({}, "HLS.S30.T14TNS.2015245T172021.v2.0.B02.tif", "surface"),
        ({"PROCESSING_LEVEL": "Level-2A"}, "from_L1C.tif", "surface"),
        ({"PROCESSING_LEVEL": "L1TP"}, "a.tif", "top of atmosphere"),
        ({}, "L1C_and_L2A.tif", None),
        ({}, "scene.tif", None),
        ({}, "mL1C2.tif", None),
    ],
)
def test_processing_level(tags, path, level):
    assert processing_level(tags, [path]) == level
