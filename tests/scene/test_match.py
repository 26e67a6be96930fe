"""Which bands a model gets, what is doubted, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.scene import match_bands, open_scene
from geoseg.scene.match import missing_bands
from tests.scene.rasters import ramp, write

RGBN = ["red", "green", "blue", "nir"]


@pytest.fixture
def scene_of(tmp_path):
    def make(descriptions=None, count=None, **options):
        values = ramp(count or len(descriptions), 3, 3, options.pop("dtype", "int16"))
        return open_scene(write(tmp_path / "a.tif", values, descriptions=descriptions, **options))

    return make


def test_by_common_name_in_the_models_order(scene_of):
    match = match_bands(scene_of(["B02", "B03", "B04", "B08", "B8A"]), RGBN)
    assert match.numbers == (3, 2, 1, 4)
    assert not match.doubts
    assert not match.notes


def test_nir08_stands_in_for_nir_only_when_there_is_no_nir(scene_of):
    match = match_bands(scene_of([f"SR_B{i}" for i in range(1, 8)]), RGBN)
    assert match.numbers == (4, 3, 2, 5)
    assert match.notes == ("band 5 (SR_B5, nir08) stands in for nir",)
    assert not match.doubts


def test_names_of_the_models_own_invention_match_descriptions(scene_of):
    assert match_bands(scene_of(["VV", "VH"]), ["vh", "vv"]).numbers == (2, 1)


def test_no_names_and_the_same_count_are_taken_in_file_order_with_a_doubt(scene_of):
    for descriptions in (None, ["Band 1", "Band 2", "Band 3", "Band 4"]):
        match = match_bands(scene_of(descriptions, 4), RGBN)
        assert match.numbers == (1, 2, 3, 4)
        assert len(match.doubts) == 1
        assert "in file order as red, green, blue, nir" in match.doubts[0]


def test_no_names_and_another_count_are_refused(scene_of):
    with pytest.raises(SceneError, match=r"needs red, green, blue, nir.*5 \(unnamed\); say which .* --bands"):
        match_bands(scene_of(None, 5), RGBN)


def test_a_missing_band_is_named_with_what_there_is(scene_of):
    with pytest.raises(SceneError) as caught:
        match_bands(scene_of(["blue", "green", "red", "NDVI"]), RGBN)
    message = str(caught.value)
    assert "a.tif: the model needs nir, and the scene has 1 (blue), 2 (green), 3 (red), 4 (NDVI)" in message
    assert "--bands, in the model's order: red,green,blue,nir" in message


def test_fewer_bands_than_the_model_takes_cannot_be_mended_by_a_flag(scene_of):
    with pytest.raises(SceneError, match="take a product that has these bands"):
        match_bands(scene_of(["blue", "green", "red"]), RGBN)


def test_ambiguous_ids_are_explained(scene_of):
    with pytest.raises(
        SceneError, match=r"B2 means different bands of Sentinel-2 or Landsat 8/9 or Landsat 7"
    ):
        match_bands(scene_of(["B2", "B3", "B4", "B8"]), RGBN)


def test_alpha_may_be_the_missing_band(scene_of):
    scene = scene_of(None, 4, dtype="uint8", colours=["red", "green", "blue", "alpha"])
    with pytest.raises(SceneError, match=r"needs nir, and the scene has .* 4 \(alpha\); say which"):
        match_bands(scene, RGBN)
    match = match_bands(scene, RGBN, ["1", "2", "3", "4"])
    assert match.numbers == (1, 2, 3, 4)
    assert scene.select(match.numbers).read(Window(0, 0, 3, 3))[0].shape[0] == 4


def test_two_bands_of_one_name_are_doubted(scene_of):
    match = match_bands(scene_of(["red", "Red", "nir"]), ["red", "nir"])
    assert match.numbers == (1, 3)
    assert "1 (red), 2 (Red, red)" in match.doubts[0].replace("2 (Red)", "2 (Red, red)")


class TestAsked:
    def test_numbers_go_to_the_model_in_its_order(self, scene_of):
        match = match_bands(scene_of(None, 5), RGBN, ["5", 4, "3", "2"])
        assert match.numbers == (5, 4, 3, 2)
        assert not match.doubts

    def test_names_descriptions_and_ids(self, scene_of):
        scene = scene_of(["B04", "Grün", "blue", "B8A"])
        assert match_bands(scene, RGBN, ["b04", "grün", "3", "nir08"]).numbers == (1, 2, 3, 4)

    def test_names_say_what_an_unnamed_files_bands_are(self, scene_of):
        match = match_bands(scene_of(None, 5), RGBN, ["coastal", "blue", "green", "red", "nir"])
        assert match.numbers == (4, 3, 2, 5)
        assert not match.doubts

    def test_such_names_must_cover_the_file(self, scene_of):
        with pytest.raises(SceneError, match="its 5 bands carry no names, and --bands names 4"):
            match_bands(scene_of(None, 5), RGBN, RGBN)
        with pytest.raises(SceneError, match="names a band twice"):
            match_bands(scene_of(None, 2), ["red"], ["red", "red"])

    def test_the_models_own_names_may_come_in_any_order(self, scene_of):
        assert match_bands(
            scene_of(["blue", "green", "red"]), ["red", "green", "blue"], ["blue", "green", "red"]
        ) == (match_bands(scene_of(["blue", "green", "red"]), ["red", "green", "blue"]))

    def test_names_that_contradict_the_model_are_doubted(self, scene_of):
        match = match_bands(scene_of(["blue", "green", "red"]), ["red", "green"], ["1", "2"])
        assert match.numbers == (1, 2)
        assert match.doubts == ("--bands gives the model band 1 (blue) as red",)

    def test_another_count_than_the_models_is_refused(self, scene_of):
        with pytest.raises(SceneError, match="--bands names 2 bands and the model takes 4"):
            match_bands(scene_of(["blue", "green", "red", "nir"]), RGBN, ["1", "2"])

    @pytest.mark.parametrize("asked", ["9", "purple", "0"])
    def test_unknown_bands_are_refused(self, scene_of, asked):
        with pytest.raises(SceneError, match=rf"no band {asked}; the scene has 1 \(blue\)"):
            match_bands(scene_of(["blue", "green"]), ["red"], [asked])

    def test_a_name_that_fits_two_bands_is_refused(self, scene_of):
        with pytest.raises(SceneError, match="band red could be"):
            match_bands(scene_of(["red", "red", "nir"]), ["red", "nir"], ["red", "3"])


def test_names_given_at_opening_stay_with_the_scene(tmp_path):
    stored = ramp(3, 3, 3)
    scene = open_scene(write(tmp_path / "a.tif", stored), bands=["blue", "green", "red"])
    match = match_bands(scene, ["red", "blue"])
    assert match.numbers == (3, 1)
    np.testing.assert_array_equal(scene.select(match.numbers).read(Window(0, 0, 3, 3))[0], stored[[2, 0]])


def test_missing_bands_are_those_that_nothing_stands_in_for(scene_of):
    scene = scene_of(("blue", "nir08", None))
    assert missing_bands(scene, ["red", "nir", "blue", "swir16"]) == ("red", "swir16")
