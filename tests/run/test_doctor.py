"""The input doctor: what it finds on scenes that are wrong in known ways, and that its mends mend."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import Affine

from geoseg.models.card import LandClass, ModelBand, ModelCard
from geoseg.run.doctor import examine
from geoseg.scene import open_scene
from tests.scene.rasters import write

BANDS = ("blue", "green", "red", "nir")
LOW, HIGH = (0.02, 0.04, 0.03, 0.10), (0.12, 0.15, 0.20, 0.50)


def card(bands=BANDS, low=LOW, high=HIGH, **options):
    model_bands = tuple(
        ModelBand(name, (a + b) / 2, (b - a) / 4, a, b) for name, a, b in zip(bands, low, high, strict=True)
    )
    classes = (LandClass(1, "crop", "#00ff00"), LandClass(2, "water", "#0000ff"))
    defaults = {"name": "m", "architecture": "unet", "gsd": 30.0, "units": "reflectance", "value_scale": 1e-4}
    return ModelCard(bands=model_bands, classes=classes, **(defaults | options))


PICTURE = {
    "bands": BANDS[:3],
    "low": (20,) * 3,
    "high": (240,) * 3,
    "units": "digital numbers",
    "value_scale": 1.0,
}


def reflectance(shape=(200, 200), seed=0):
    """Plausible surface reflectance, (4, rows, columns) float64."""
    rng = np.random.default_rng(seed)
    low, high = (np.array(limits)[:, None, None] for limits in (LOW, HIGH))
    return np.clip(low + (high - low) * rng.beta(2, 3, (4, *shape)), 0, 1)


@pytest.fixture
def scene_of(tmp_path):
    def make(values, *, name="a.tif", opening=None, **options):
        options = {"descriptions": BANDS[: len(values)]} | options
        return open_scene(write(tmp_path / name, values, **options), **(opening or {}))

    return make


def stored(values, scale=1e4, offset=0, dtype="int16"):
    return np.rint(values * scale + offset).astype(dtype)


def codes(diagnosis):
    return [(finding.severity, finding.code) for finding in diagnosis.findings]


def only(diagnosis):
    assert len(diagnosis.findings) == 1, diagnosis.findings
    return diagnosis.findings[0]


def test_a_scene_that_fits(scene_of):
    diagnosis = examine(scene_of(stored(reflectance()), scales=(1e-4,) * 4), card())
    assert diagnosis.findings == ()
    assert diagnosis.fits
    assert diagnosis.match.numbers == (1, 2, 3, 4)


class TestBands:
    def test_missing(self, scene_of):
        finding = only(examine(scene_of(stored(reflectance())[:3], scales=(1e-4,) * 3), card()))
        assert (finding.severity, finding.code) == ("stop", "bands-missing")
        assert "needs nir, and the scene has 1 (blue), 2 (green), 3 (red)" in finding.message
        assert finding.mend

    def test_missing_leaves_no_match(self, scene_of):
        assert examine(scene_of(stored(reflectance())[:3]), card()).match is None

    def test_in_doubt(self, scene_of):
        scene = scene_of(stored(reflectance()), scales=(1e-4,) * 4, descriptions=None)
        diagnosis = examine(scene, card())
        assert codes(diagnosis) == [("warn", "bands-in-doubt")]
        assert "--bands" in diagnosis.findings[0].mend
        assert codes(examine(scene, card(), bands=["1", "2", "3", "4"])) == []

    def test_stand_ins_are_notes(self, scene_of):
        scene = scene_of(stored(reflectance()), scales=(1e-4,) * 4, descriptions=(*BANDS[:3], "nir08"))
        assert codes(examine(scene, card())) == [("note", "bands")]

    def test_bands_that_cannot_be_found_stop(self, scene_of):
        diagnosis = examine(scene_of(stored(reflectance())), card(), bands=["1", "2", "3", "9"])
        assert codes(diagnosis) == [("stop", "bands-missing")]


class TestValues:
    def mended(self, scene, finding, opening=None):
        """Open the scene again with the flags that the finding names."""
        flags = re.findall(r"--(scale|offset|nodata) (-?[\d.e-]+)", finding.mend)
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
    def test_unscaled_values_stop_and_the_mend_mends(self, scene_of, scale, offset, dtype, flags):
        values = reflectance() * scale + offset
        scene = scene_of(values.astype(dtype) if dtype != "float32" else values.astype("float32"))
        finding = only(examine(scene, card()))
        assert (finding.severity, finding.code) == ("stop", "value-range")
        assert "blue" in finding.message
        assert "model 0.02 to 0.12" in finding.message
        if flags:
            assert finding.mend.startswith(flags)
            assert examine(self.mended(scene, finding), card()).findings == ()

    def test_a_wrong_scale_tag_is_mended(self, scene_of):
        scene = scene_of(stored(reflectance()), scales=(1e-8,) * 4, offsets=(3,) * 4)
        finding = only(examine(scene, card()))
        assert finding.mend.startswith("--scale 0.0001 --offset 0 ")
        assert examine(self.mended(scene, finding), card()).findings == ()

    def test_an_8_bit_picture_stops_without_a_scale_as_mend(self, scene_of):
        scene = scene_of(stored(reflectance(), 400, 20, "uint8"))
        finding = only(examine(scene, card()))
        assert finding.severity == "stop"
        assert "8-bit picture values, not reflectance" in finding.message
        assert "--scale" not in finding.mend

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
        assert "--scale" not in finding.mend

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

    def test_nan_cells_are_left_out(self, scene_of):
        values = reflectance().astype("float32")
        values[1, :150] = np.nan
        assert examine(scene_of(values), card()).findings == ()


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
    def test_undeclared_fill_warns_and_the_mend_mends(self, scene_of, value, dtype):
        values = reflectance().astype("float32") if dtype == "float32" else stored(reflectance(), dtype=dtype)
        values[:, :60] = value
        scales = (1.0,) * 4 if dtype == "float32" else (1e-4,) * 4
        scene = scene_of(values, scales=scales)
        finding = only(examine(scene, card()))
        assert (finding.severity, finding.code) == ("warn", "undeclared-nodata")
        assert f"30% of the sampled valid pixels are exactly {value} in every band" in finding.message
        assert finding.mend.startswith(f"--nodata {value},")
        assert examine(open_scene(scene.paths[0], nodata=value), card()).findings == ()

    def test_declared_nodata_is_no_finding(self, scene_of):
        values = stored(reflectance())
        values[:, :60] = 0
        assert examine(scene_of(values, scales=(1e-4,) * 4, nodata=0), card()).findings == ()

    def test_another_value_than_the_declared_one(self, scene_of):
        values = stored(reflectance())
        values[:, :60] = 0
        finding = only(examine(scene_of(values, scales=(1e-4,) * 4, nodata=-9999), card()))
        assert "declares nodata -9999, not this" in finding.message

    def test_zero_in_one_band_only_is_a_measurement(self, scene_of):
        values = stored(reflectance())
        values[3, :60] = 0
        assert examine(scene_of(values, scales=(1e-4,) * 4), card()).findings == ()

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
        assert examine(scene, card()).findings == ()
        finding = only(examine(scene, card(invalid_where="any")))
        assert (finding.severity, finding.code) == ("stop", "no-valid-pixel")

    def test_none_found_in_a_sample_only_warns(self, scene_of):
        empty = np.zeros((4, 1200, 1200), "int16")
        finding = only(examine(scene_of(empty, nodata=0, tiled=True, compress="deflate"), card()))
        assert finding.severity == "warn"
        assert "none of" in finding.message


class TestResolution:
    def scene(self, scene_of, size, **options):
        transform = Affine(size, 0, 500_000, 0, -size, 5_000_000)
        return scene_of(stored(reflectance()), scales=(1e-4,) * 4, **({"transform": transform} | options))

    @pytest.mark.parametrize(
        ("size", "severity", "says"),
        [
            (7, "stop", "4.3 times finer"),
            (10, "warn", "3.0 times finer"),
            (21, None, ""),
            (44, None, ""),
            (60, "warn", "2.0 times coarser"),
            (250, "stop", "8.3 times coarser"),
        ],
    )
    def test_gsd(self, scene_of, size, severity, says):
        diagnosis = examine(self.scene(scene_of, size), card())
        assert codes(diagnosis) == ([(severity, "gsd")] if severity else [])
        if severity:
            assert says in diagnosis.findings[0].message
            assert ("-tr 30 30" in diagnosis.findings[0].mend) == (size < 30)

    @pytest.mark.parametrize("size", [7, 250])
    def test_an_estimate_only_warns(self, scene_of, size):
        finding = only(examine(self.scene(scene_of, size), card(gsd_estimated=True)))
        assert (finding.severity, finding.code) == ("warn", "gsd")
        assert finding.message.endswith("than the estimated 30 m that the model was trained at")

    def test_without_a_crs_an_estimate_is_a_note(self, scene_of):
        finding = only(examine(self.scene(scene_of, 30, crs=None), card(gsd_estimated=True)))
        assert (finding.severity, finding.code) == ("note", "no-crs")
        assert "about 30 m" in finding.message

    def test_no_gsd_in_the_model_no_finding(self, scene_of):
        assert examine(self.scene(scene_of, 1), card(gsd=None)).findings == ()

    def test_degrees_are_measured_on_the_ground(self, scene_of):
        size = 30 / 111_320
        options = {"crs": "EPSG:4326", "transform": Affine(size, 0, 10, 0, -size, 0.02)}
        assert examine(self.scene(scene_of, 1, **options), card()).findings == ()
        options["transform"] = Affine(size, 0, 10, 0, -size, 60)
        finding = only(examine(self.scene(scene_of, 1, **options), card()))
        assert (finding.severity, finding.code) == ("warn", "pixel-shape")
        assert re.search(r"in degrees, and pixels are 30(\.\d)? m high and 15(\.\d)? m wide", finding.message)
        assert finding.mend == "gdalwarp -t_srs EPSG:32632 first"

    def test_without_a_crs_a_model_with_a_gsd_warns(self, scene_of):
        finding = only(examine(self.scene(scene_of, 30, crs=None), card()))
        assert (finding.severity, finding.code) == ("warn", "no-crs")
        assert "30 m" in finding.message
        assert examine(self.scene(scene_of, 30, crs=None), card(gsd=None)).findings == ()

    def test_a_crs_of_no_place_on_earth_is_not_taken_for_a_missing_transform(self, scene_of):
        crs = 'LOCAL_CS["arbitrary",UNIT["metre",1]]'
        finding = only(examine(self.scene(scene_of, 30, crs=crs), card()))
        assert (finding.severity, finding.code) == ("warn", "no-crs")
        assert "a CRS that does not tie it to the Earth" in finding.message
        assert "-a_srs" in finding.mend


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
        finding = only(examine(scene, card()))
        assert (finding.severity, finding.code) == ("stop", "sentinel2-offset")
        assert "baseline 04.00" in finding.message
        assert finding.mend == "--offset -0.1"
        assert examine(open_scene(scene.paths[0], offset=-0.1), card()).findings == ()

    def test_unscaled_as_esa_ships_it(self, scene_of):
        scene = scene_of(self.shifted(), name=f"{self.PRODUCT}.tif", descriptions=self.IDS)
        diagnosis = examine(scene, card())
        assert codes(diagnosis) == [("stop", "sentinel2-offset"), ("stop", "value-range")]
        for finding in diagnosis.findings:
            assert finding.mend.startswith("--scale 0.0001 --offset -0.1")
        assert examine(open_scene(scene.paths[0], scale=1e-4, offset=-0.1), card()).findings == ()

    def test_metadata_tag_names_the_baseline(self, scene_of):
        options = {"descriptions": self.IDS, "scales": (1e-4,) * 4}
        new = scene_of(self.shifted(), tags={"PROCESSING_BASELINE": "05.10"}, **options)
        assert codes(examine(new, card()))[0] == ("stop", "sentinel2-offset")
        old = scene_of(self.shifted(), name="old.tif", tags={"PROCESSING_BASELINE": "02.14"}, **options)
        assert "sentinel2-offset" not in [code for _, code in codes(examine(old, card()))]

    def test_dark_pixels_alone_are_only_probable(self, scene_of):
        scene = scene_of(self.shifted(), descriptions=self.IDS, scales=(1e-4,) * 4)
        finding = only(examine(scene, card()))
        assert finding.severity == "warn"
        assert finding.message.startswith("probably")
        assert finding.mend.startswith("--offset -0.1, if")

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


def test_findings_come_gravest_first(scene_of):
    values = stored(reflectance())
    values[:, :60] = 0
    scene = scene_of(values, transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), descriptions=None)
    severities = [finding.severity for finding in examine(scene, card()).findings]
    assert severities == ["stop", "warn", "warn", "warn"]


def test_only_flags_that_exist_are_named():
    """Every ``--flag`` in the doctor's and the scene's texts is one of predict's."""
    known = {"bands", "aoi", "date", "nodata", "scale", "offset", "warp", "force", "model"}
    root = Path(__file__).parents[2] / "geoseg"
    scene = (
        "layout",
        "match",
        "opening",
        "probe",
        "product",
        "sample",
        "scene",
        "source",
        "stack",
        "warping",
    )
    files = [root / "scene" / f"{name}.py" for name in scene]
    run = ("choose", "doctor", "pictures", "value_checks", "sentinel2")
    files += [root / "run" / f"{name}.py" for name in run]
    named = {flag for file in files for flag in re.findall(r"(?<![\w-])--([a-z][a-z-]*)", file.read_text())}
    assert named
    assert named <= known


@pytest.mark.realdata
@pytest.mark.skipif(
    "GEOSEG_DATA" not in os.environ, reason="GEOSEG_DATA names no folder with the real scenes"
)
class TestRealScenes:
    @property
    def data(self):
        return Path(os.environ["GEOSEG_DATA"])

    def test_dakota(self):
        bands = ("blue", "green", "red", "nir", "swir16", "swir22")
        low, high = (0.015, 0.025, 0.02, 0.05, 0.02, 0.01), (0.1, 0.15, 0.2, 0.5, 0.4, 0.3)
        model = card(bands, low, high)
        scene = open_scene(self.data / "dakota" / "scene.tif")
        assert examine(scene, model).findings == ()
        unscaled = only(examine(open_scene(self.data / "dakota" / "scene.tif", scale=1), model))
        assert unscaled.severity == "stop"
        assert unscaled.mend.startswith("--scale 0.0001 ")

    def test_dubai(self):
        scene = open_scene(self.data / "dubai" / "tile1" / "part1.jpg")
        assert scene.gsd is None
        assert scene.georeference.transform is None
        picture = PICTURE | {"bands": ("red", "green", "blue"), "gsd": None}
        assert examine(scene, card(**picture)).findings == ()
        assert [code for _, code in codes(examine(scene, card(**picture | {"gsd": 0.3})))] == ["no-crs"]
        assert examine(scene, card()).match is None
