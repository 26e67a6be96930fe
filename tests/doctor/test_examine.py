"""The input doctor: what it finds on scenes that are wrong in known ways, and that its fixes work."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from rasterio.transform import Affine

from geoseg.doctor.examine import CHECKS, examine
from geoseg.doctor.findings import Finding
from geoseg.scene import open_scene
from tests.doctor.patients import BANDS, PICTURE, card, codes, only, reflectance, stored


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
        assert finding.fix

    def test_missing_leaves_no_match(self, scene_of):
        assert examine(scene_of(stored(reflectance())[:3]), card()).match is None

    def test_in_doubt(self, scene_of):
        scene = scene_of(stored(reflectance()), scales=(1e-4,) * 4, descriptions=None)
        diagnosis = examine(scene, card())
        assert codes(diagnosis) == [("warn", "bands-in-doubt")]
        assert "--bands" in diagnosis.findings[0].fix
        assert codes(examine(scene, card(), bands=["1", "2", "3", "4"])) == []

    def test_stand_ins_are_notes(self, scene_of):
        scene = scene_of(stored(reflectance()), scales=(1e-4,) * 4, descriptions=(*BANDS[:3], "nir08"))
        assert codes(examine(scene, card())) == [("note", "bands")]

    def test_bands_that_cannot_be_found_stop(self, scene_of):
        diagnosis = examine(scene_of(stored(reflectance())), card(), bands=["1", "2", "3", "9"])
        assert codes(diagnosis) == [("stop", "bands-missing")]


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
            assert ("-tr 30 30" in diagnosis.findings[0].fix) == (size < 30)

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
        assert finding.fix == "gdalwarp -t_srs EPSG:32632 first"

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
        assert "-a_srs" in finding.fix


def test_findings_come_gravest_first(scene_of):
    values = stored(reflectance())
    values[:, :60] = 0
    scene = scene_of(values, transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), descriptions=None)
    as_stored = open_scene(scene.paths[0], scale=1)
    severities = [finding.severity for finding in examine(as_stored, card()).findings]
    assert severities == ["stop", "warn", "warn", "warn"]


def test_a_check_is_added_with_one_line(monkeypatch, scene_of):
    def check_rows(examination):
        if examination.scene.shape[0] < 1000:
            yield Finding("warn", "few-rows", "the scene is low", "take a higher one")

    scene = scene_of(stored(reflectance()), scales=(1e-4,) * 4)
    before = examine(scene, card())
    monkeypatch.setattr("geoseg.doctor.examine.CHECKS", (*CHECKS, check_rows))
    after = examine(scene, card())
    assert [finding.code for finding in after.findings] == [
        *(finding.code for finding in before.findings),
        "few-rows",
    ]


def test_only_flags_that_exist_are_named():
    """Every ``--flag`` in the doctor's and the scene's texts is one of predict's."""
    known = {"bands", "skip-bad-blocks", "aoi", "date", "nodata", "scale", "offset", "warp", "force", "model"}
    known |= {"atmosphere"}
    root = Path(__file__).parents[2] / "geoseg"
    files = [*root.glob("scene/*.py"), *root.glob("doctor/*.py"), root / "raster" / "source.py"]
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
        assert unscaled.fix.startswith("--scale 0.0001 ")

    def test_dubai(self):
        scene = open_scene(self.data / "dubai" / "tile1" / "part1.jpg")
        assert scene.gsd is None
        assert scene.georeference.transform is None
        picture = PICTURE | {"bands": ("red", "green", "blue"), "gsd": None}
        assert examine(scene, card(**picture)).findings == ()
        assert [code for _, code in codes(examine(scene, card(**picture | {"gsd": 0.3})))] == ["no-crs"]
        assert examine(scene, card()).match is None
