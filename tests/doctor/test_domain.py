"""Region, months and pixel sizes that a model is for: what the doctor says of scenes outside of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rasterio.transform import Affine

from geoseg.doctor.examine import examine
from geoseg.scene import open_scene
from tests.doctor.bundles import CROPS, card, farmland

DAKOTA = {"region": [-101, 45, -96, 50], "region_name": "Dakota", "months": [8, 9]}
ITALY = {"crs": "EPSG:32633", "transform": Affine(30, 0, 380_000, 0, -30, 5_070_000)}


def found(path, **changes):
    """Code -> finding."""
    date = changes.pop("date", None)
    scene = open_scene(path)
    scene = scene if date is None else replace(scene, date=date)
    return {finding.code: finding for finding in examine(scene, card(CROPS, **changes)).findings}


def test_a_scene_inside_is_no_matter(tmp_path):
    path = farmland(tmp_path / "a.tif")
    assert found(path, **DAKOTA) == found(path, **DAKOTA, date="2020-08-01") == {}


def test_elsewhere(tmp_path):
    (finding,) = found(farmland(tmp_path / "a.tif", **ITALY), **DAKOTA, date="2020-08-01").values()
    assert (finding.severity, finding.code) == ("warn", "region")
    assert finding.message == (
        "the model is for Dakota (45 to 50 N, 96 to 101 W), and the scene's centre is at 45.8 N, 13.5 E"
    )
    assert "geoseg models list" in finding.fix


@pytest.mark.parametrize(
    ("west", "share"), [(-0.45, None), (-0.55, "with 44% of it inside"), (0.1, None), (-1.1, "")]
)
def test_the_centre_and_most_of_the_scene_have_to_be_inside(tmp_path, west, share):
    """The scene is a degree wide; the region begins at 0 degrees east."""
    place = {"crs": "EPSG:4326", "transform": Affine(1 / 140, 0, west, 0, -1 / 120, 46)}
    said = found(farmland(tmp_path / "a.tif", **place), region=[0, 40, 90, 50], gsd=None).get("region")
    assert (said is None) == (share is None)
    assert said is None or said.message.endswith(share)


def test_the_centre_may_lie_in_a_hole(tmp_path):
    place = {"crs": "EPSG:4326", "transform": Affine(1 / 140, 0, 0, 0, -1 / 120, 46)}
    ring = [[-9, 40], [9, 40], [9, 50], [-9, 50], [-9, 40]]
    hole = [[0.4, 45.4], [0.6, 45.4], [0.6, 45.6], [0.4, 45.6], [0.4, 45.4]]
    region = {"type": "Polygon", "coordinates": [ring, hole]}
    said = found(farmland(tmp_path / "a.tif", **place), region=region, gsd=None)["region"]
    assert said.message.endswith("the scene's centre is at 45.5 N, 0.5 E, with 96% of it inside")


def test_a_scene_across_the_antimeridian(tmp_path):
    place = {"crs": "EPSG:32601", "transform": Affine(30, 0, 280_000, 0, -30, 5_000_000)}
    path = farmland(tmp_path / "a.tif", **place)
    assert "region" not in found(path, region=[179, 40, -170, 50])
    assert "region" in found(path, region=[0, 40, 170, 50])


@pytest.mark.parametrize("place", [{"crs": None}, {"transform": None}])
def test_a_place_that_is_not_known_is_a_note(tmp_path, place):
    said = found(farmland(tmp_path / "a.tif", **place), **DAKOTA)
    assert said["region-unknown"].severity == "note"
    assert said["region-unknown"].message == (
        "the model is for Dakota (45 to 50 N, 96 to 101 W), and where the scene lies is unknown"
    )
    assert "region" not in said
    assert "region-unknown" not in found(tmp_path / "a.tif")


def test_another_season(tmp_path):
    path = farmland(tmp_path / "a.tif", tags={"ACQUISITION_DATE": "2020-06-14"})
    (finding,) = found(path, **DAKOTA).values()
    assert (finding.severity, finding.code) == ("warn", "months")
    assert finding.message == "the model is for August and September, and the scene is of 2020-06-14"
    assert found(path, **DAKOTA, date="2020-09-30") == {}


@pytest.mark.parametrize(
    ("size", "severity", "said"),
    [
        (9.7, None, ""),
        (10, None, ""),
        (30, None, ""),
        (31, None, ""),
        (34, "warn", "pixels of 34 m are 1.1 times coarser than the 10 to 30 m that the model is for"),
        (5, "warn", "pixels of 5 m are 2.0 times finer than the 10 to 30 m that the model is for"),
        (2, "stop", "5.0 times finer"),
        (125, "stop", "4.2 times coarser"),
    ],
)
def test_a_range_of_pixel_sizes(tmp_path, size, severity, said):
    path = farmland(tmp_path / "a.tif", transform=Affine(size, 0, 500_000, 0, -size, 5_000_000))
    finding = found(path, gsd=20, gsd_range=[10, 30]).get("gsd")
    assert (finding and finding.severity) == severity
    assert finding is None or said in finding.message


def test_where_pixels_are_resampled_to_the_nearer_end(tmp_path):
    path = farmland(tmp_path / "a.tif", transform=Affine(5, 0, 500_000, 0, -5, 5_000_000))
    assert "-tr 10 10 -r average" in found(path, gsd=20, gsd_range=[10, 30])["gsd"].fix
    finding = found(farmland(tmp_path / "b.tif", crs=None), gsd_range=[10, 30])["no-crs"]
    assert "cannot be compared with the 10 to 30 m that the model is for" in finding.message
