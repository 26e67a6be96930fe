"""From descriptions to common names: known where the file says it, None where it could mean several."""

from __future__ import annotations

import pytest

from geoseg.scene.band_names import (
    COMMON_NAMES,
    SENSORS,
    Sensor,
    band_id,
    common_name,
    common_names,
    is_generic,
    name_in_file_name,
    possible_sensors,
)
from geoseg.scene.file import stem


def named(descriptions, evidence=(), colours=None):
    colours = colours or ["undefined"] * len(descriptions)
    return common_names(descriptions, colours, possible_sensors(descriptions, evidence))


@pytest.mark.parametrize("name", COMMON_NAMES)
def test_common_names_are_themselves(name):
    assert common_name(name) == common_name(name.upper()) == common_name(f" {name} ") == name


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("Red", "red"),
        ("near-infrared", "nir"),
        ("Near Infrared", "nir"),
        ("Band 4 - Red", "red"),
        ("Red (B04)", "red"),
        ("B8 NIR", "nir"),
        ("red band", "red"),
        ("Red edge 1", "rededge071"),
        ("red_edge", "rededge"),
        ("SWIR 1", "swir16"),
        ("SWIR2", "swir22"),
        ("coastal_blue", "coastal"),
        ("green_i", "green05"),
        ("Panchromatic", "pan"),
        ("reddish", None),
        ("infrared", None),
        ("NDVI", None),
        ("Band 1", None),
        ("swir", None),
        ("blue - green", None),
        ("", None),
        (None, None),
    ],
)
def test_descriptions_in_words(description, name):
    assert common_name(description) == name


class TestBandIds:
    def test_two_digits_and_8a_are_sentinel_2(self):
        assert named(["B02", "B03", "B04", "B08", "B8A", "B11", "B12"]) == [
            "blue", "green", "red", "nir", "nir08", "swir16", "swir22",
        ]  # fmt: skip

    def test_one_digit_with_8a_or_12_is_sentinel_2(self):
        assert named(["B2", "B8A"]) == ["blue", "nir08"]
        assert named(["B4", "B12"]) == ["red", "swir22"]

    def test_b2_alone_could_be_landsat_5_or_sentinel_2(self):
        assert named(["B2", "B3", "B4"]) == [None, None, None]

    def test_what_all_candidates_agree_on_is_known(self):
        """HLS L30 and Sentinel-2 agree on B02-B04, not on B05-B07."""
        assert named(["B02", "B03", "B04", "B05", "B06", "B07"]) == ["blue", "green", "red", None, None, None]

    def test_metadata_settles_it(self):
        ids = ["B02", "B03", "B04", "B05", "B06", "B07"]
        assert named(ids, ["HLS.L30.T14TNS.2020245T171452.v2.0.B05.tif"])[3:] == ["nir08", "swir16", "swir22"]
        assert named(ids, ["HLS.S30.T14TNS.2020245T171452.v2.0.B05.tif"])[3] == "rededge071"
        assert named(["B2", "B3"], ["LANDSAT_8"]) == ["blue", "green"]
        assert named(["B2", "B3"], ["LT05_L1TP_033027_19900902"]) == ["green", "red"]
        assert named(["B2", "B3"], ["/data/LC08_L1TP_033027_B2.TIF"]) == ["blue", "green"]
        assert named(["B2", "B3"], ["S2A_MSIL1C_20200101T000000_N0208_R008_T14TNS_20200101T000000.SAFE"]) == [
            "blue",
            "green",
        ]

    def test_landsat_surface_reflectance(self):
        assert named([f"SR_B{i}" for i in range(2, 8)]) == [
            "blue",
            "green",
            "red",
            "nir08",
            "swir16",
            "swir22",
        ]
        assert named(["SR_B2", "SR_B3"]) == [None, None]  # Landsat 4-7 name bands like this, too
        assert named(["SR_B2", "ST_B10"]) == ["blue", "lwir11"]

    def test_gdals_sentinel_2_driver(self):
        assert named(["B4, central wavelength 665 nm", "B3, central wavelength 560 nm"]) == ["red", "green"]

    def test_modis(self):
        assert named(["sur_refl_b01", "sur_refl_b02", "sur_refl_b05"]) == ["red", "nir", "nir1240"]

    def test_evidence_that_contradicts_the_ids_gives_no_name(self):
        assert named(["B2", "B8A"], ["LANDSAT_8"]) == [None, None]

    def test_ids_of_no_sensor_give_no_name(self):
        assert named(["B1", "B37"]) == [None, None]

    def test_every_table_names_known_bands(self):
        for key, sensor in SENSORS.items():
            assert set(sensor.bands.values()) <= {*COMMON_NAMES, "nir1240"}, key
            assert all(band_id(band) == band for band in sensor.bands), key


def test_a_sensor_is_added_with_one_entry(monkeypatch):
    """Also where its band ids look like no other's."""
    assert name_in_file_name("20240501_BAND_P4") is None
    bands = {"BAND_P1": "blue", "BAND_P4": "nir"}
    monkeypatch.setitem(SENSORS, "pigeon", Sensor("Pigeon", "pigeon", bands))
    assert named(["band_p1", "BAND_P4"]) == ["blue", "nir"]
    assert named(["BAND_P4"], ["PIGEON-3"]) == ["nir"]
    assert name_in_file_name("20240501_BAND_P4") == "BAND_P4"
    assert possible_sensors([name_in_file_name("20240501_BAND_P4_10m")]) == ("pigeon",)


def test_colour_interpretation_counts_only_without_a_description():
    assert named([None, None, None], colours=["red", "green", "blue"]) == ["red", "green", "blue"]
    assert named(["NDVI", "B4"], colours=["red", "red"]) == [None, None]
    assert named([None, None], colours=["gray", "palette"]) == [None, None]


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("LC08_L2SP_033027_20150902_20200908_02_T1_SR_B4", "SR_B4"),
        ("LE07_L1TP_033027_20000902_B6_VCID_1", "B6_VCID_1"),
        ("T31UFU_20200501T105031_B02_10m", "B02"),
        ("T31UFU_20200501T105031_B8A", "B8A"),
        ("HLS.L30.T14TNS.2020245T171452.v2.0.B05", "B05"),
        ("red", "red"),
        ("scene-nir", "nir"),
        ("scene_nir", "nir"),
        ("scene", None),
        ("B2B", None),
        ("tribune", None),
    ],
)
def test_bands_in_file_names(name, band):
    assert name_in_file_name(name) == band


@pytest.mark.parametrize("name", [None, "", "Band 1", "band_2", "Layer 3", "4"])
def test_generic_descriptions(name):
    assert is_generic(name)


@pytest.mark.parametrize("name", ["red", "B4", "NDVI", "Band A"])
def test_descriptions_that_say_something(name):
    assert not is_generic(name)


def test_stem():
    assert stem("https://host/folder/a.b.tif?token=x/y.z") == "a.b"
    assert stem("C:\\scenes\\a.tif") == "a"
    assert stem("what? #1/a?b.tif") == "a?b"
