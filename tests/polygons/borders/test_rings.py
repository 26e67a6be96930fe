from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings

from geoseg.polygons.borders.arcs import Lines, cut_arcs
from geoseg.polygons.borders.rings import rebuild
from geoseg.polygons.borders.staircases import STEPS, staircases
from tests.polygons.helpers import noise, rasters, trace
from tests.polygons.trace.test_trace import HARD


def through_middles(*vertices, island=False):
    points = np.array(vertices, np.int32)
    lines = Lines(points, np.array([len(points)]))
    new, before = staircases(lines, np.array([island]), np.zeros(len(points), bool))
    return (new.points / STEPS).tolist(), before.tolist()


def all_middles(classes):
    polygons = trace(classes, junctions=True)
    arcs = cut_arcs(polygons)
    raw = arcs.read(np.arange(len(arcs)))
    new, before = staircases(raw, arcs.islands, np.zeros(len(raw.points), bool))
    return polygons, arcs, raw, new, before


@pytest.mark.parametrize("run", [1, 2, 5])
def test_the_staircase_of_a_slanted_line_becomes_straight(run):
    stairs = [(0, 0)]
    for _ in range(6):
        row, column = stairs[-1]
        stairs += [(row, column + run), (row + 1, column + run)]
    new, _ = through_middles(*stairs)
    inner = np.array(
        new[1:-2]
    )  # the last side leads to a junction from a corner that may be none of a stair's
    offset = inner[:, 1] - inner[:, 0] * run
    assert np.ptp(offset) == 0
    assert len(inner) > 8


def test_corners_that_are_no_stairs_stay():
    field = [(0, 0), (0, 9), (7, 9), (7, 0)]
    assert through_middles(*field)[0] == field_as_lists(field)
    tooth = [(0, 0), (0, 4), (2, 4), (2, 5), (0, 5), (0, 9)]
    assert through_middles(*tooth)[0] == field_as_lists(tooth)
    pixel = [(3, 3), (4, 3), (4, 4), (3, 4), (3, 3)]
    assert through_middles(*pixel, island=True)[0] == field_as_lists(pixel)


def field_as_lists(points):
    return [[float(row), float(column)] for row, column in points]


def test_an_island_that_begins_on_a_stair_begins_in_the_middle_of_a_side():
    # A plus: every corner but the four outermost pairs is a stair's.
    plus = [
        (0, 1),
        (1, 1),
        (1, 0),
        (2, 0),
        (2, 1),
        (3, 1),
        (3, 2),
        (2, 2),
        (2, 3),
        (1, 3),
        (1, 2),
        (0, 2),
        (0, 1),
    ]
    new, before = through_middles(*plus, island=True)
    assert new[0] == new[-1] == [0.5, 1.0]
    assert before[0] == before[-1] == len(new) - 1


def test_vertices_that_must_stay_do():
    points = np.array([(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3)], np.int32)
    stay = np.array([False, False, True, False, False, False])
    new, before = staircases(Lines(points, np.array([6])), np.array([False]), stay)
    assert [1.0, 1.0] in (new.points / STEPS).tolist()
    assert (new.points[before[2]] / STEPS).tolist() == [1.0, 1.0]


def assert_sound(classes):
    if (classes == 255).all():
        return
    polygons, arcs, raw, new, before = all_middles(classes)
    shapes = rebuild(polygons, arcs, new, None)[0].geometries()
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    starts = new.starts
    for i, (old, line) in enumerate(
        zip(np.split(raw.points, raw.starts[1:]), np.split(new.points, starts[1:]), strict=True)
    ):
        path = shapely.linestrings(line / STEPS)
        assert shapely.distance(shapely.points(old), path).max() < 0.5
        at = before[raw.starts[i] : raw.starts[i] + len(old)]
        assert at.min() >= starts[i]
        assert at.max() < starts[i] + len(line)
        # A corner lies beside the piece that begins at the vertex said to be before it.
        piece = np.minimum(at, starts[i] + len(line) - 2)
        pieces = shapely.linestrings(np.stack([new.points[piece], new.points[piece + 1]], axis=1) / STEPS)
        assert shapely.distance(shapely.points(old), pieces).max() < 0.5


@pytest.mark.parametrize("name", HARD)
def test_hard_cases_are_valid_and_near(name):
    assert_sound(HARD[name])


@given(rasters)
@settings(deadline=None, max_examples=60)
def test_any_map_is_valid_and_near(classes):
    assert_sound(classes)


def test_a_map_of_some_size_is_valid_and_near():
    assert_sound(noise((60, 70)))
