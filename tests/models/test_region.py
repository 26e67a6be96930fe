"""The region and months of a model: what is refused, what lies inside, and how they are put into words."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.errors import ModelError
from geoseg.models.region import ModelRegion, months_in_words, place_in_words, read_gsd_range, read_months

DAKOTA = [-101, 45, -96, 50]
TRIANGLE = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [0, 10], [0, 0]]]}
FIJI = {
    "type": "MultiPolygon",
    "coordinates": [
        [[[177, -20], [180, -20], [180, -16], [177, -16], [177, -20]]],
        [[[-180, -20], [-178, -20], [-178, -16], [-180, -16], [-180, -20]]],
    ],
}


def inside(region, *places):
    return ModelRegion.read(region).contains(np.array(places, float)).tolist()


class TestContains:
    def test_a_box_with_its_borders(self):
        assert inside(DAKOTA, (-98, 47), (-101, 45), (-95.9, 47), (-98, 44.9)) == [True, True, False, False]

    def test_several_boxes(self):
        assert inside([DAKOTA, [0, 0, 10, 10]], (-98, 47), (5, 5), (-50, 20)) == [True, True, False]

    @pytest.mark.parametrize("region", [[177, -20, -178, -16], FIJI])
    def test_across_the_antimeridian(self, region):
        places = (178, -18), (-179, -18), (180, -18), (-180, -18), (0, -18), (176, -18)
        assert inside(region, *places) == [True, True, True, True, False, False]

    def test_a_geometry(self):
        assert inside(TRIANGLE, (2, 2), (9, 9)) == [True, False]

    def test_places_of_any_turn_and_none(self):
        assert inside(DAKOTA, (262, 47), (-458, 47), (np.nan, np.nan)) == [True, True, False]

    def test_all_of_the_earth(self):
        assert inside([-180, -90, 180, 90], (-180, 0), (180, 90), (0, 0)) == [True] * 3


@pytest.mark.parametrize("value", [DAKOTA, [DAKOTA, [0, 0, 10, 10]], TRIANGLE, FIJI, (170.5, -20, -170, -10)])
def test_what_is_written_is_read_again(value):
    region = ModelRegion.read(value)
    assert ModelRegion.read(region.to_json()) == region
    assert ModelRegion.read(region) is region


WHOLE = {"type": "Polygon", "coordinates": [[[-180, 60], [180, 60], [180, 90], [-180, 90], [-180, 60]]]}


def test_a_geometry_around_the_earth_crosses_nothing():
    assert inside(WHOLE, (0, 70), (180, 70), (0, 50)) == [True, True, False]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "Dakota",
            "'Dakota'; it must be .west, south, east, north. in degrees, a list of such boxes, or a Geo",
        ),
        ([], "it must be"),
        ([1, 2, 3], r"holds \[1, 2, 3\]; it must be"),
        ([[1, 2, 3, float("nan")]], "it must be"),
        ([0, 50, 10, 45], "from 50 to 45 degrees north; use -90 to 90, south before north"),
        ([0, 0, 10, 91], "from 0 to 91 degrees north"),
        ([0, 0, 190, 10], "from 0 to 190 degrees east; use -180 to 180, west before east"),
        ([5, 0, 5, 10], "from 5 to 5 degrees east"),
        ({"type": "Point", "coordinates": [1, 2]}, "GeoJSON of type 'Point'"),
        ({"type": "Feature", "geometry": TRIANGLE}, "GeoJSON of type 'Feature'"),
        ({"type": "Polygon"}, "no GeoJSON geometry"),
        ({"type": "Polygon", "coordinates": [[1, 2]]}, "no GeoJSON geometry"),
        ({"type": "Polygon", "coordinates": []}, "no sound area"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}, "no sound area"),
        (
            {"type": "Polygon", "coordinates": [[[0, 0], [5e5, 0], [0, 5e6], [0, 0]]]},
            "is longitude and latitude",
        ),
        (
            {"type": "Polygon", "coordinates": [[[170, 0], [-170, 0], [-170, 9], [170, 9], [170, 0]]]},
            "cut it there in two",
        ),
    ],
)
def test_what_is_no_region_is_refused(value, said):
    with pytest.raises(ModelError, match=f"`region`.*{said}"):
        ModelRegion.read(value)


@pytest.mark.parametrize("months", [[0], [13], [8, 8], [8.5], [True], "8", 8, {"8": 1}])
def test_what_are_no_months_is_refused(months):
    with pytest.raises(ModelError, match="`months`"):
        read_months(months)


@pytest.mark.parametrize("sizes", [[10], [30, 10], [0, 10], [10, "30"], "10", 10, [10, float("inf")]])
def test_what_is_no_range_of_pixel_sizes_is_refused(sizes):
    with pytest.raises(ModelError, match="`gsd_range`"):
        read_gsd_range(sizes)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (DAKOTA, "45 to 50 N, 96 to 101 W"),
        ([[5.25, -35, 30, -20.125], [0, 0, 5, 5]], "20.12 to 35 S, 5.25 to 30 E; 0 to 5 N, 0 to 5 E"),
        ([170, -5, -170, 10], "5 S to 10 N, 170 E to 170 W"),
        (TRIANGLE, "an area within 0 to 10 N, 0 to 10 E"),
        ([DAKOTA] * 4, "an area within 45 to 50 N, 96 to 101 W"),
    ],
)
def test_a_region_in_words(region, words):
    assert str(ModelRegion.read(region)) == words


@pytest.mark.parametrize(
    ("months", "words"),
    [
        ([], ""),
        ([9, 8], "August and September"),
        ([5], "May"),
        ([5, 6, 7, 8], "May to August"),
        ([11, 12, 1, 2], "November to February"),
        ([1, 12], "December and January"),
        ([3, 4, 5, 10], "March to May and October"),
        ([1, 3, 5], "January, March and May"),
        (range(1, 13), "all year"),
    ],
)
def test_months_in_words(months, words):
    assert months_in_words(read_months(months)) == words


def test_a_place_in_words():
    assert place_in_words(13.36, 45.71) == "45.7 N, 13.4 E"
    assert place_in_words(260, -10) == "10.0 S, 100.0 W"
