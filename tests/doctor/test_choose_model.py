"""The choice of a bundled model: by bands, values and pixel size, with a reason, or refused with what to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from geoseg.doctor.choose_model import choose_model, examine_bundled
from geoseg.doctor.examine import examine
from geoseg.errors import MismatchError, ModelError, SceneError
from geoseg.models import ModelBand, load_card
from geoseg.scene import Scene, open_scene
from tests.doctor.bundles import CROP_BANDS, CROPS, PICTURES, crop_values, farmland, picture, put_card

FINE = Affine(0.3, 0, 500_000, 0, -0.3, 5_000_000)


def refusal(scene, **options):
    with pytest.raises(MismatchError) as caught:
        choose_model(scene, None, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def with_alpha(values):
    """Bands and a mask of them, opaque but for a corner."""
    alpha = np.full((1, *values.shape[1:]), 255, "uint8")
    alpha[:, :5, :5] = 0
    return np.concatenate([values, alpha])


@pytest.mark.usefixtures("both")
class TestFits:
    def test_reflectance_of_a_satellite(self, tmp_path):
        choice = choose_model(open_scene(farmland(tmp_path / "a.tif")), None)
        assert choice.model == choice.card.name == "crops"
        assert choice.reason.startswith(
            "crops: the scene has its bands (blue, green, red, nir, swir16, swir22), values like its reflectance, "
            "pixels of 30 m (trained at 30 m); pictures reads digital numbers such as red 12 to 250, and the "
            "scene's is 0.0"
        )
        assert choice.diagnosis.findings == ()

    @pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "described", "with alpha"])
    def test_pictures_of_every_kind(self, tmp_path, kind):
        options = {
            "jpeg": {"driver": "JPEG"},
            "png": {"driver": "PNG"},
            "tiff": {},
            "described": {"photometric": "MINISBLACK", "descriptions": ("Red", "Green", "Blue")},
            "with alpha": {
                "driver": "PNG",
                "values": with_alpha(np.random.default_rng(1).integers(1, 255, (3, 90, 80), dtype="uint8")),
            },
        }[kind]
        scene = open_scene(picture(tmp_path / f"a.{'jpg' if kind == 'jpeg' else 'tif'}", **options))
        choice = choose_model(scene, None)
        assert choice.model == "pictures"
        assert choice.reason == (
            "pictures: the scene has its bands (red, green, blue), values like its digital numbers; crops needs "
            "nir, swir16, swir22"
        )
        assert choice.diagnosis.match.numbers == (1, 2, 3)
        assert [finding.severity for finding in choice.diagnosis.findings] == ["note"]

    def test_unnamed_bands_are_said_to_be_taken_in_file_order(self, tmp_path):
        choice = choose_model(open_scene(picture(tmp_path / "a.tif", photometric="MINISBLACK")), None)
        assert choice.model == "pictures"
        # GDAL calls the first band of such a file grey, the others undefined
        assert [f.code for f in choice.diagnosis.findings if f.severity == "warn"] == ["bands-in-doubt"]

    def test_bands_by_number(self, tmp_path):
        values = np.random.default_rng(0).integers(10, 250, (4, 60, 60)).astype("uint8")
        scene = open_scene(picture(tmp_path / "a.tif", values=values, photometric="MINISBLACK"))
        assert "takes 3 bands, and the scene has 4 without names" in refusal(scene)
        choice = choose_model(scene, None, bands=[4, 2, 1])
        assert (choice.model, choice.diagnosis.match.numbers) == ("pictures", (4, 2, 1))
        assert choice.reason.endswith("crops takes 6 bands, and --bands names 3")

    def test_bands_that_the_scene_lacks_are_named(self, tmp_path):
        values = np.random.default_rng(0).integers(10, 250, (3, 60, 60)).astype("uint8")
        scene = open_scene(picture(tmp_path / "a.tif", values=values))
        for bands, wrong in (([1, 2, 9], "no band 9"), (["red", "green", "nir"], "no band nir")):
            with pytest.raises(SceneError, match=f"{wrong}; the scene has 1 .*, 2 .*, 3 "):
                choose_model(scene, None, bands=bands)

    def test_bands_that_no_model_would_take_by_itself(self, tmp_path):
        values = np.random.default_rng(0).integers(10, 250, (4, 60, 60)).astype("uint8")
        scene = open_scene(
            picture(tmp_path / "a.tif", values=values, descriptions=("red", "green", "blue", "x"))
        )
        choice = choose_model(scene, None, bands=[4, 2, 1])
        assert choice.diagnosis.match.numbers == (4, 2, 1)

    def test_weights_are_not_looked_for(self, both, tmp_path):
        assert not list(both.rglob("*.safetensors"))
        assert choose_model(open_scene(farmland(tmp_path / "a.tif")), None).model == "crops"

    def test_a_named_model_is_taken_whatever_fits(self, tmp_path):
        choice = choose_model(open_scene(picture(tmp_path / "a.tif")), "crops")
        assert (choice.model, choice.reason) == ("crops", None)
        assert choice.diagnosis.match is None


@pytest.mark.usefixtures("both")
class TestRefusals:
    def test_every_model_is_named_with_why_not(self, tmp_path):
        values = np.rint(crop_values()[:3] * 1e4).astype("uint16")
        scene = open_scene(
            farmland(tmp_path / "a.tif", values=values, descriptions=CROP_BANDS[:3], scales=(1.0,) * 3)
        )
        message = refusal(scene)
        assert message.startswith(
            "a: no bundled model fits: pictures reads 8-bit pictures, and the scene holds "
        )
        assert "; crops needs nir, swir16, swir22; --model NAME" in message
        for way in ("--model NAME --force", "--model DIR", "geoseg train"):
            assert way in message
        assert "--bands" not in message  # three bands can be named as they may

    def test_a_picture_of_palette_colours_is_told_how_it_gets_bands(self, tmp_path):
        values = np.random.default_rng(0).integers(0, 4, (1, 60, 60)).astype("uint8")
        path = picture(tmp_path / "a.tif", values=values, photometric=None)
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, {number: (60 * number, 0, 0, 255) for number in range(4)})
        assert "gdal_translate -expand rgb" in refusal(open_scene(path))
        (finding, *_) = examine(open_scene(path), load_card("pictures")).findings
        assert "gdal_translate -expand rgb" in finding.fix

    def test_the_mend_of_the_model_that_reads_these_bands_is_told(self, tmp_path):
        message = refusal(open_scene(farmland(tmp_path / "a.tif", scales=None)))
        assert "crops reads reflectance such as" in message
        assert "(--scale 0.0001 brings " in message
        scene = open_scene(farmland(tmp_path / "b.tif", scales=None), scale=1e-4)
        assert choose_model(scene, None).model == "crops"

    @pytest.mark.parametrize("top", [3000, 400, 256])
    @pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
    def test_reflectance_as_whole_numbers_is_no_picture(self, tmp_path, top, dtype):
        """Also dark scenes, whose values lie where a picture's do."""
        values = np.random.default_rng(0).integers(60, top, (3, 80, 80)).astype(dtype)
        values[0, 0, 0] = top
        scene = open_scene(picture(tmp_path / "a.tif", values=values))
        assert f"reads 8-bit pictures, and the scene holds {dtype} values from 60 to {top}" in refusal(scene)

    def test_pictures_in_another_type_are_taken_with_a_warning(self, tmp_path):
        values = np.random.default_rng(0).integers(0, 256, (3, 80, 80)).astype("uint16")
        choice = choose_model(open_scene(picture(tmp_path / "a.tif", values=values)), None)
        assert next((f.severity, f.code) for f in choice.diagnosis.findings) == ("warn", "picture-type")
        assert "values like" not in choice.reason

    @pytest.mark.parametrize(("white", "dtype"), [(65535, "uint16"), (1, "float32")])
    def test_pictures_of_another_white_are_fixed(self, tmp_path, white, dtype):
        values = (np.random.default_rng(0).uniform(0.05, 1, (3, 80, 80)) * white).astype(dtype)
        path = picture(tmp_path / "a.tif", values=values)
        message = refusal(open_scene(path))
        flag = message.partition("--scale ")[2].partition(",")[0]
        assert f"if this is a picture whose white is {white}" in message
        choice = choose_model(open_scene(path, scale=float(flag)), None)
        assert choice.model == "pictures"
        assert [finding.severity for finding in choice.diagnosis.findings] == ["note"]

    def test_scaled_reflectance_is_no_picture(self, tmp_path):
        values = crop_values()[:3].astype("float32") * 0.5
        message = refusal(open_scene(picture(tmp_path / "a.tif", values=values)))
        assert "pictures reads digital numbers such as red 12 to 250, and the scene's is 0.0" in message
        assert "--scale" not in message

    @pytest.mark.parametrize(
        ("size", "fits"), [(0.26, True), (0.3, True), (3.9, True), (0.2, False), (30, False)]
    )
    def test_a_picture_far_from_the_estimated_pixel_size(self, tmp_path, size, fits):
        """The doctor only warns, as the estimate may be wrong; but nobody chose this model."""
        place = {"crs": "EPSG:32640", "transform": Affine(size, 0, 500_000, 0, -size, 2_780_000)}
        scene = open_scene(picture(tmp_path / "a.tif", **place))
        if fits:
            choice = choose_model(scene, None)
            assert f"pixels of {size:.3g} m (trained at about 1 m)" in choice.reason
            assert [f.severity for f in choice.diagnosis.findings] == ["warn"]
            return
        assert f"pictures was trained at about 1 m a pixel, and the scene's are {size:.3g} m" in refusal(
            scene
        )
        named = choose_model(scene, "pictures").diagnosis
        assert named.fits
        assert [(f.severity, f.code) for f in named.findings] == [("warn", "gsd")]

    def test_no_valid_pixel(self, tmp_path):
        scene = open_scene(picture(tmp_path / "a.tif", values=np.zeros((3, 50, 50), "uint8"), nodata=0))
        assert "pictures finds no valid pixel" in refusal(scene)

    def test_a_scene_that_no_model_has_bands_for_cannot_be_forced(self, tmp_path):
        scene = open_scene(picture(tmp_path / "a.tif", descriptions=("vv", "vh", "angle")))
        for force in (False, True):
            message = refusal(scene, force=force)
            assert "--model NAME --force" not in message
            assert "crops needs blue" in message


@pytest.mark.usefixtures("both")
class TestForce:
    def test_the_only_model_with_the_bands_is_taken(self, tmp_path):
        scene = open_scene(farmland(tmp_path / "a.tif", scales=None, descriptions=CROP_BANDS))
        with pytest.raises(MismatchError, match="several could be forced"):
            choose_model(scene, None, force=True)
        bands = [1, 2, 3, 4, 5, 6]
        choice = choose_model(scene, None, bands=bands, force=True)
        assert choice.model == "crops"
        assert choice.reason == "crops: forced, as the only bundled model whose bands the scene has"
        assert not choice.diagnosis.fits

    def test_what_fits_comes_before_what_can_be_forced(self, tmp_path):
        scene = open_scene(farmland(tmp_path / "a.tif"))
        plain = choose_model(scene, None)
        assert choose_model(scene, None, force=True) == plain

    def test_naming_bands_is_no_way_out_where_there_are_too_few(self, tmp_path):
        grey = np.full((1, 60, 60), 90, "uint8")
        message = refusal(open_scene(picture(tmp_path / "a.tif", values=grey, photometric="MINISBLACK")))
        assert "--bands" not in message
        assert "--model DIR" in message
        four = np.full((4, 60, 60), 90, "uint8")
        message = refusal(open_scene(picture(tmp_path / "b.tif", values=four, photometric="MINISBLACK")))
        assert "--bands says which band is which" in message

    def test_several_are_named(self, tmp_path):
        message = refusal(open_scene(farmland(tmp_path / "a.tif", scales=None)), force=True)
        assert "(crops, pictures): name one with --model" in message


class TestTies:
    """Which of several that fit; each step of the rule decides once."""

    def names(self, scene):
        return [candidate.name for candidate in examine_bundled(scene)]

    def reason(self, scene):
        return choose_model(scene, None).reason

    def test_fewest_warnings_first(self, empty, tmp_path):
        dark = tuple(ModelBand(band.name, 0.9, 0.01, 0.89, 0.91) for band in CROPS["bands"][:3])
        put_card(empty, CROPS, name="a", bands=dark + CROPS["bands"][3:])
        put_card(empty, CROPS, name="b", gsd=21.0)
        scene = open_scene(farmland(tmp_path / "a.tif"))
        assert self.names(scene) == ["b", "a"]
        assert self.reason(scene).endswith("; a fits with more warnings")

    def test_then_the_nearest_pixel_size(self, empty, tmp_path):
        put_card(empty, CROPS, name="a", gsd=None)
        put_card(empty, CROPS, name="b", gsd=22.0)
        put_card(empty, CROPS, name="c", gsd=40.0)
        scene = open_scene(farmland(tmp_path / "a.tif"))
        assert self.names(scene) == ["c", "b", "a"]
        assert self.reason(scene).endswith(
            "; b fits, but its pixel size differs more; a fits, but its pixel size differs more"
        )

    def test_then_the_name(self, empty, tmp_path):
        for name in ("b", "a"):
            put_card(empty, CROPS, name=name)
        scene = open_scene(farmland(tmp_path / "a.tif"))
        assert self.names(scene) == ["a", "b"]
        assert self.reason(scene).endswith("; b fits as well, and comes later by name")

    def test_bands_on_another_scale_are_not_left_unread_without_a_word(self, empty, tmp_path):
        put_card(empty, CROPS, name="six")
        put_card(empty, CROPS, name="four", bands=CROPS["bands"][:4])
        values = crop_values().astype("float32")
        whole = open_scene(farmland(tmp_path / "a.tif", values=values, scales=None))
        assert "bands-unused" not in {each.code for each in choose_model(whole, None).diagnosis.findings}
        values[4:] *= 1e4
        choice = choose_model(open_scene(farmland(tmp_path / "b.tif", values=values, scales=None)), None)
        (warning,) = (each for each in choice.diagnosis.findings if each.code == "bands-unused")
        assert choice.model == "four"
        assert warning.severity == "warn"
        assert "swir16" in warning.message
        assert warning.message.endswith("; four, which does without, is taken instead of six")

    def test_among_those_that_do_not_fit_the_one_with_the_bands_comes_first(self, both, tmp_path):
        put_card(both, CROPS, name="also", bands=CROPS["bands"][:2], gsd=500.0)
        scene = open_scene(
            farmland(
                tmp_path / "a.tif",
                scales=None,
                values=(crop_values()[:3] * 1e4).astype("uint16"),
                descriptions=CROP_BANDS[:3],
            )
        )
        assert self.names(scene) == ["pictures", "also", "crops"]


ITALY = {"crs": "EPSG:32633", "transform": Affine(30, 0, 380_000, 0, -30, 5_070_000)}


class TestSpecial:
    """Models that are for a region or some months, beside worldwide ones."""

    @pytest.fixture
    def plains(self, empty):
        place = {"region": [-101, 45, -96, 50], "region_name": "Dakota", "months": [8, 9]}
        put_card(empty, CROPS, name="plains", **place)
        return empty

    @pytest.fixture
    def world(self, plains):
        put_card(plains, CROPS, name="aworld", gsd=20, gsd_range=[10, 30])
        put_card(plains, CROPS, name="aworld-rgbn", gsd=20, gsd_range=[10, 30], bands=CROPS["bands"][:4])
        put_card(plains, PICTURES)
        return plains

    def choice(self, tmp_path, date=None, **options):
        tags = {"tags": {"ACQUISITION_DATE": date}} if date else {}
        return choose_model(open_scene(farmland(tmp_path / "a.tif", **options, **tags)), None)

    @pytest.mark.usefixtures("world")
    @pytest.mark.parametrize("date", [None, "2020-08-20"])
    def test_inside_of_its_region_and_months_it_comes_first(self, tmp_path, date):
        choice = self.choice(tmp_path, date)
        assert choice.model == "plains"
        assert choice.diagnosis.findings == ()
        season = f"is of {date}" if date else "has no date"
        assert (
            "; the scene lies in its region, Dakota (45 to 50 N, 96 to 101 W), and "
            f"{season} (it is for August and September); aworld fits too, but is worldwide; "
        ) in choice.reason

    @pytest.mark.usefixtures("world")
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (ITALY, "the scene's centre is at 45.8 N, 13.5 E (--model plains takes it all the same)"),
            ({"date": "2020-06-01"}, "is for August and September, and the scene is of 2020-06-01 (--model"),
            ({"crs": None}, "and where the scene lies is unknown (--model plains takes it all the same)"),
        ],
    )
    def test_elsewhere_the_worldwide_one_is_taken_and_says_why(self, tmp_path, options, why):
        choice = self.choice(tmp_path, **options)
        assert choice.model == "aworld"
        assert {"region", "region-unknown", "months"}.isdisjoint(f.code for f in choice.diagnosis.findings)
        assert why in choice.reason
        assert "aworld-rgbn fits, but reads fewer bands" in choice.reason

    @pytest.mark.usefixtures("world")
    def test_pixels_of_another_size_are_left_to_the_worldwide_one(self, tmp_path):
        fine = {"transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
        choice = self.choice(tmp_path, **fine)
        assert (choice.model, choice.diagnosis.findings) == ("aworld", ())
        assert "pixels of 10 m (it is for 10 to 30 m)" in choice.reason
        assert "; plains was trained at 30 m a pixel, and the scene's are 10 m" in choice.reason

    @pytest.mark.parametrize(
        ("options", "code", "why"),
        [
            (ITALY, "region", "and the scene's centre is at 45.8 N, 13.5 E"),
            ({"crs": None}, "region-unknown", "and where the scene lies is unknown"),
            ({"date": "2020-06-01"}, "months", "and the scene is of 2020-06-01"),
        ],
    )
    def test_where_no_worldwide_one_reads_the_bands_it_warns(self, tmp_path, plains, options, code, why):
        put_card(plains, PICTURES)  # has the bands, as digital numbers
        put_card(plains, CROPS, name="seven", bands=(*CROPS["bands"], ModelBand("nir09", 1, 1, 0, 1)))
        choice = self.choice(tmp_path, **options)
        assert choice.model == "plains"
        assert code in [finding.code for finding in choice.diagnosis.findings if finding.severity == "warn"]
        assert f"{why}, but no worldwide model reads these bands; " in choice.reason

    @pytest.mark.usefixtures("plains")
    def test_where_a_worldwide_one_reads_the_bands_and_does_not_fit_nothing_is_taken(self, tmp_path, plains):
        put_card(plains, CROPS, name="fine", gsd=1.0)
        scene = open_scene(farmland(tmp_path / "a.tif", **ITALY))
        message = refusal(scene)
        assert "fine was trained at 1 m a pixel" in message
        assert "plains is for Dakota (45 to 50 N, 96 to 101 W), and the scene's centre is at" in message
        named = choose_model(scene, "plains").diagnosis
        assert [(finding.severity, finding.code) for finding in named.findings] == [("warn", "region")]

    @pytest.mark.usefixtures("world")
    def test_a_day_that_is_named_counts(self, tmp_path):
        scene = open_scene(farmland(tmp_path / "a.tif"))
        assert choose_model(replace(scene, date="2020-01-31"), None).model == "aworld"

    @pytest.mark.usefixtures("plains")
    def test_of_two_special_ones_the_one_for_this_place(self, tmp_path, plains):
        put_card(plains, CROPS, name="alps", region=[5, 43, 16, 48])
        assert self.choice(tmp_path).model == "plains"
        assert self.choice(tmp_path, **ITALY).model == "alps"


def test_the_scene_is_read_once_for_all_models(both, tmp_path, monkeypatch):
    put_card(both, CROPS, name="more", bands=CROPS["bands"][1:])
    read = []
    original = Scene.read_raw

    def counting(scene, window):
        read.append((window, [band.number for band in scene.bands]))
        return original(scene, window)

    monkeypatch.setattr(Scene, "read_raw", counting)
    examine_bundled(open_scene(farmland(tmp_path / "a.tif")))
    assert len(read) == 1
    assert read[0][1] == [1, 2, 3, 4, 5, 6]


def test_what_is_found_does_not_depend_on_the_other_models(both, tmp_path):
    """A shared look at the scene gives each model the findings it gets alone."""
    values = np.rint(crop_values((1200, 900)) * 1e4).astype("int16")
    values[:, :300] = -1
    values[4, 300:700] = -1
    path = farmland(tmp_path / "a.tif", values=values, nodata=-1, scales=(1e-4,) * 6)
    put_card(both, CROPS, name="strict", invalid_where="any")
    for scene in (open_scene(path), open_scene(path, scale=1)):
        for candidate in examine_bundled(scene):
            assert candidate.diagnosis == choose_model(scene, candidate.name).diagnosis


@pytest.mark.usefixtures("empty")
def test_without_any_bundled_model(tmp_path):
    with pytest.raises(ModelError, match="no bundled models; name one with --model"):
        choose_model(open_scene(picture(tmp_path / "a.tif")), None)
