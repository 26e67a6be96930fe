"""Dates and product facts: from metadata only, never from clocks."""

from __future__ import annotations

import json
import os
from datetime import date

import pytest

from geoseg.scene import open_scene
from geoseg.scene.product import acquisition_date, product_tags
from tests.scene.rasters import ramp, write


@pytest.mark.parametrize(
    ("tags", "day"),
    [
        ({"TIFFTAG_DATETIME": "2015:09:02 10:30:00"}, "2015-09-02"),
        ({"ACQUISITIONDATETIME": "2015-09-02 17:20:11"}, "2015-09-02"),
        ({"EXIF_DateTimeOriginal": "2015:09:02 10:30:00"}, "2015-09-02"),
        ({"DATATAKE_1_DATATAKE_SENSING_START": "2015-09-02T10:30:31.024Z"}, "2015-09-02"),
        ({"ACQUISITIONDATE": "20150902"}, "2015-09-02"),
        ({"DATE_ACQUIRED": "2015-09-02", "TIFFTAG_DATETIME": "2020:01:01 00:00:00"}, "2015-09-02"),
        ({"TIFFTAG_DATETIME": "0000:00:00 00:00:00"}, None),
        ({"TIFFTAG_DATETIME": "2015:13:40 00:00:00"}, None),
        ({"TIFFTAG_DATETIME": "yesterday"}, None),
        ({"CREATED": "2015-09-02"}, None),
        ({}, None),
    ],
)
def test_acquisition_date(tags, day):
    assert acquisition_date(tags) == day


def test_the_date_is_never_that_of_the_file_or_its_name(tmp_path):
    path = write(tmp_path / "scene_20150902.tif", ramp(1, 2, 2))
    scene = open_scene(path)
    assert scene.date is None
    assert date.today().isoformat() not in str(scene.tags)


def test_tiff_tag(tmp_path):
    path = write(tmp_path / "a.tif", ramp(1, 2, 2), tags={"TIFFTAG_DATETIME": "2015:09:02 10:30:00"})
    assert open_scene(path).date == "2015-09-02"


@pytest.mark.parametrize("ending", ["txt", "json", "xml"])
def test_landsat_metadata_beside_the_file(tmp_path, ending):
    product = "LC08_L2SP_033027_20150902_20200908_02_T1"
    text = {
        "txt": '  GROUP = IMAGE_ATTRIBUTES\n    SPACECRAFT_ID = "LANDSAT_8"\n    DATE_ACQUIRED = 2015-09-01\n',
        "json": '{"IMAGE_ATTRIBUTES": {"SPACECRAFT_ID": "LANDSAT_8", "DATE_ACQUIRED": "2015-09-01"}}',
        "xml": "<A><SPACECRAFT_ID>LANDSAT_8</SPACECRAFT_ID>\n<DATE_ACQUIRED>2015-09-01</DATE_ACQUIRED></A>",
    }
    (tmp_path / f"{product}_MTL.{ending}").write_text(text[ending])
    (tmp_path / "LC08_L2SP_033027_19990101_20200908_02_T1_MTL.txt").write_text("DATE_ACQUIRED = 1999-01-01\n")
    scene = open_scene(write(tmp_path / f"{product}_SR_B4.TIF", ramp(1, 2, 2)))
    assert scene.date == "2015-09-01"
    assert scene.tags["SPACECRAFT_ID"] == "LANDSAT_8"


def test_sentinel_2_metadata_above_the_file(tmp_path):
    safe = tmp_path / "S2B_MSIL2A_20220801T103629_N0400_R008_T32UPU_20220801T134601.SAFE"
    images = safe / "GRANULE" / "L2A_T32UPU_A028228_20220801T103931" / "IMG_DATA" / "R10m"
    images.mkdir(parents=True)
    (safe / "MTD_MSIL2A.xml").write_text(
        "<P><PRODUCT_START_TIME>2022-08-01T10:36:29.024Z</PRODUCT_START_TIME>\n"
        "<PROCESSING_BASELINE>04.00</PROCESSING_BASELINE></P>"
    )
    (tmp_path / "MTD_MSIL2A.xml").write_text("<PRODUCT_START_TIME>1999-01-01T00:00:00Z</PRODUCT_START_TIME>")
    scene = open_scene(write(images / "T32UPU_20220801T103629_B04_10m.tif", ramp(1, 2, 2)))
    assert scene.date == "2022-08-01"
    assert scene.tags["PROCESSING_BASELINE"] == "04.00"
    assert scene.sensor == "sentinel-2"
    assert scene.bands[0].common_name == "red"


def test_other_products_in_folders_above_are_not_read(tmp_path):
    (tmp_path / "MTD_MSIL2A.xml").write_text("<PRODUCT_START_TIME>1999-01-01T00:00:00Z</PRODUCT_START_TIME>")
    (tmp_path / "mine").mkdir()
    assert open_scene(write(tmp_path / "mine" / "a.tif", ramp(1, 2, 2))).date is None


class TestStac:
    def item(self, path, **properties):
        path.with_suffix(".json").write_text(
            json.dumps({"type": "Feature", "stac_version": "1.0.0", "properties": properties})
        )

    def test_an_item_with_the_same_stem(self, tmp_path):
        path = write(tmp_path / "a.tif", ramp(1, 2, 2), tags={"TIFFTAG_DATETIME": "2020:01:01 00:00:00"})
        self.item(path, datetime="2015-09-02T17:20:11Z", platform="landsat-8")
        scene = open_scene(path)
        assert scene.date == "2015-09-02"
        assert scene.tags["PLATFORM"] == "landsat-8"

    def test_a_period_counts_from_its_start(self, tmp_path):
        path = write(tmp_path / "a.tif", ramp(1, 2, 2))
        self.item(
            path, datetime=None, start_datetime="2015-09-02T00:00:00Z", end_datetime="2015-09-30T00:00:00Z"
        )
        assert open_scene(path).date == "2015-09-02"

    @pytest.mark.parametrize(
        "text", ["", "[1, 2]", "{broken", '{"properties": {"datetime": "2015-09-02"}}', "null"]
    )
    def test_other_json_is_passed_over(self, tmp_path, text):
        path = write(tmp_path / "a.tif", ramp(1, 2, 2))
        path.with_suffix(".json").write_text(text)
        assert open_scene(path).date is None


def test_files_of_different_days_have_no_one_date(tmp_path):
    days = ("2015:09:02", "2015:09:03")
    paths = [
        write(tmp_path / f"{i}.tif", ramp(1, 2, 2), tags={"TIFFTAG_DATETIME": f"{day} 10:00:00"})
        for i, day in enumerate(days)
    ]
    assert open_scene(paths).date is None
    assert open_scene([paths[0], paths[0]]).date == "2015-09-02"


def test_remote_and_missing_files_have_no_product_files():
    assert product_tags("https://host/a.tif") == {}
    assert product_tags(os.path.join("nowhere", "a.tif")) == {}
