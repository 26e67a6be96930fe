"""The input doctor on the offset of Sentinel-2's processing baseline 04.00."""

from __future__ import annotations

from geoseg.doctor.examine import examine
from geoseg.scene import open_scene
from tests.doctor.patients import card, codes, only, reflectance, stored


class TestSentinel2Offset:
    IDS = ("B02", "B03", "B04", "B08")
    PRODUCT = "S2A_MSIL2A_20220801T103629_N0400_R008_T32UPU_20220801T134601"

    def shifted(self):
        values = reflectance(seed=3)
        values[:, :20] *= 0.1
        return stored(values, 1e4, 1000, "uint16")

    def test_baseline_and_dark_pixels_agree(self, scene_of):
        scene = scene_of(
            self.shifted(), name=f"{self.PRODUCT}.tif", descriptions=self.IDS, scales=(1e-4,) * 4
        )
        diagnosis = examine(scene, card())
        finding = only(diagnosis)
        assert (finding.severity, finding.code) == ("note", "value-encoding")
        assert "--offset -0.1): it is a Sentinel-2 product of processing baseline 04.00" in finding.message
        given = examine(open_scene(scene.paths[0], offset=-0.1), card())
        assert given.findings == ()
        assert given.scene.layers == diagnosis.scene.layers

    def test_the_offset_of_a_scale_that_was_given_is_asked_for(self, scene_of):
        scene = scene_of(self.shifted(), name=f"{self.PRODUCT}.tif", descriptions=self.IDS)
        finding = only(examine(open_scene(scene.paths[0], scale=1e-4), card()))
        assert (finding.severity, finding.code) == ("stop", "sentinel2-offset")
        assert "baseline 04.00" in finding.message
        assert finding.fix == "--offset -0.1"

    def test_unscaled_as_esa_ships_it(self, scene_of):
        scene = scene_of(self.shifted(), name=f"{self.PRODUCT}.tif", descriptions=self.IDS)
        assert codes(examine(scene, card())) == [("note", "value-encoding")]
        diagnosis = examine(open_scene(scene.paths[0], scale=1), card())
        assert codes(diagnosis) == [("stop", "sentinel2-offset"), ("stop", "value-range")]
        for finding in diagnosis.findings:
            assert finding.fix.startswith("--scale 0.0001 --offset -0.1")
        assert examine(open_scene(scene.paths[0], scale=1e-4, offset=-0.1), card()).findings == ()

    def test_metadata_tag_names_the_baseline(self, scene_of):
        options = {"descriptions": self.IDS, "scales": (1e-4,) * 4}
        new = scene_of(self.shifted(), tags={"PROCESSING_BASELINE": "05.10"}, **options)
        assert codes(examine(new, card())) == [("note", "value-encoding")]
        old = scene_of(self.shifted(), name="old.tif", tags={"PROCESSING_BASELINE": "02.14"}, **options)
        assert "sentinel2-offset" not in [code for _, code in codes(examine(old, card()))]

    def test_dark_pixels_alone_are_only_probable(self, scene_of):
        scene = scene_of(self.shifted(), descriptions=self.IDS, scales=(1e-4,) * 4)
        finding = only(examine(scene, card()))
        assert finding.severity == "warn"
        assert finding.message.startswith("probably")
        assert finding.fix.startswith("--offset -0.1, if")

    def test_without_any_sign_of_sentinel_2_it_is_a_perhaps(self, scene_of):
        finding = only(examine(scene_of(self.shifted(), scales=(1e-4,) * 4), card()))
        assert finding.message.startswith("perhaps")

    def test_an_offset_applied_already_is_a_note(self, scene_of):
        values = self.shifted() - 1000
        scene = scene_of(values, name=f"{self.PRODUCT}.tif", descriptions=self.IDS, scales=(1e-4,) * 4)
        assert codes(examine(scene, card())) == [("note", "sentinel2-offset")]

    def test_offset_tags_and_stac_say_so_too(self, scene_of):
        options = {"descriptions": self.IDS, "scales": (1e-4,) * 4}
        scene = scene_of(self.shifted(), name=f"{self.PRODUCT}.tif", offsets=(-0.1,) * 4, **options)
        assert examine(scene, card()).findings == ()
        scene = scene_of(self.shifted(), tags={"BOA_OFFSET_APPLIED": "True"}, **options)
        assert examine(scene, card()).findings == ()

    def test_landsat_is_not_suspected(self, scene_of):
        ids = ("SR_B2", "SR_B3", "SR_B4", "SR_B5")
        name = "LC08_L2SP_033027_20150902_20200908_02_T1.tif"
        scene = scene_of(self.shifted(), name=name, descriptions=ids, scales=(1e-4,) * 4)
        assert "sentinel2-offset" not in [code for _, code in codes(examine(scene, card()))]
