"""Lengths on the command line, in pixels or on the ground."""

from __future__ import annotations

import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine

from geoseg.assess.lengths import block_size, parse_length, tolerance
from geoseg.errors import SettingsError
from geoseg.raster.georeference import Georeference

UTM = Georeference(CRS.from_epsg(32614), Affine(30, 0, 500_000, 0, -30, 5_000_000))
DEGREES = Georeference(CRS.from_epsg(4326), Affine(1e-4, 0, -99, 0, -1e-4, 60.0))
SHAPE = (1000, 2000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3px", (3, False)),
        ("3", (3, False)),
        (2.5, (2.5, False)),
        (" 30 m ", (30, True)),
        ("7.5km", (7500, True)),
    ],
)
def test_lengths(text, expected):
    assert parse_length(text, "--blocks") == expected


@pytest.mark.parametrize("text", ["", "0", "-3px", "3 miles", "px", "1e3m"])
def test_what_is_no_length(text):
    with pytest.raises(SettingsError, match=r"--tolerance .* not a length; write 3px"):
        parse_length(text, "--tolerance")


def test_blocks():
    assert block_size(None, UTM, SHAPE) == 250
    assert block_size(None, UTM, (9000, 9000)) == 512
    assert block_size(None, UTM, (50, 60)) == 32
    assert block_size("7.5km", UTM, SHAPE) == 250
    assert block_size("100px", Georeference(), SHAPE) == 100
    with pytest.raises(SettingsError, match=r"--blocks 100m is 3\.3\d pixels"):
        block_size("100m", UTM, SHAPE)
    with pytest.raises(SettingsError, match="no CRS"):
        block_size("100m", Georeference(), SHAPE)


def test_a_tolerance_in_metres_knows_that_pixels_are_not_square():
    """At 60 degrees north a degree of longitude is half as long as one of latitude."""
    found = tolerance("24m", DEGREES, SHAPE)
    assert str(found) == "24m"
    assert found.half_widths() == [4, 3, 1]
    assert tolerance("24m", UTM, SHAPE).half_widths() == [0]
    with pytest.raises(SettingsError, match="more than 63 pixels"):
        tolerance("64px", UTM, SHAPE)
