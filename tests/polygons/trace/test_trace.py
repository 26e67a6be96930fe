from __future__ import annotations

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.polygons.helpers import rasters, trace

SCREEN = Affine(1, 0, 0, 0, -1, 0)


def spiral(size: int) -> np.ndarray:
    """A one pixel wide corridor that winds inwards."""
    out = np.zeros((size, size), np.uint8)
    row, column, step = 0, 0, (0, 1)
    out[0, 0] = 1
    for _ in range(4 * size):
        moved = False
        while True:
            r, c = row + step[0], column + step[1]
            rr, cc = r + step[0], c + step[1]
            inside = 0 <= r < size and 0 <= c < size
            if not inside or out[r, c] or (0 <= rr < size and 0 <= cc < size and out[rr, cc]):
                break
            row, column, moved = r, c, True
            out[r, c] = 1
        if not moved:
            break
        step = (step[1], -step[0])
    return out


def rings_in_rings(size: int) -> np.ndarray:
    distance = np.maximum(*np.abs(np.indices((size, size)) - size // 2))
    return (distance % 2).astype(np.uint8)


HARD = {
    "one pixel": np.array([[3]], np.uint8),
    "all nodata": np.full((4, 5), 255, np.uint8),
    "one row": np.array([[1, 1, 2, 255, 2, 1]], np.uint8),
    "one column": np.array([[1], [1], [2], [255], [2]], np.uint8),
    "checkerboard": (np.indices((9, 8)).sum(axis=0) % 2).astype(np.uint8),
    "spiral": spiral(21),
    "rings in rings": rings_in_rings(15),
    "hole touches the exterior at a corner": np.array([[1, 1, 1], [1, 2, 1], [1, 1, 2]], np.uint8),
    "holes touch each other": np.array([[1, 1, 1, 1], [1, 2, 1, 1], [1, 1, 3, 1], [1, 1, 1, 1]], np.uint8),
    "pinched": np.array([[1, 1, 1, 2], [1, 255, 1, 2], [1, 1, 255, 1], [2, 2, 1, 1]], np.uint8),
}


def rows(polygons) -> list:
    """Everything about polygons as comparable values."""
    skipped = {"first_ring", "first_vertex"}  # where they lie in the temporary file
    columns = polygons.columns
    table = [
        (f.name, getattr(columns, f.name).tolist())
        for f in fields(columns)
        if f.name not in skipped and getattr(columns, f.name) is not None
    ]
    return [table, shapely.to_wkb(polygons.geometries()).tolist()]


def assert_like_rasterio(classes: np.ndarray) -> None:
    polygons = trace(classes)
    found = polygons.geometries()
    expected = [
        (shapely.geometry.shape(outline), int(value))
        for outline, value in rasterio.features.shapes(
            classes, mask=classes != 255, connectivity=4, transform=SCREEN
        )
    ]
    # A polygon is known by a pixel of its own: equal as point sets, whatever vertices lie on straight lines.
    theirs = {(value, *shapely.get_coordinates(p)[:, ::-1].max(axis=0)): [] for p, value in expected}
    for p, value in expected:
        theirs[(value, *shapely.get_coordinates(p)[:, ::-1].max(axis=0))].append(p)
    assert len(found) == len(expected)
    for polygon, value in zip(found, polygons.columns.class_ids.tolist(), strict=True):
        candidates = theirs[(value, *shapely.get_coordinates(polygon)[:, ::-1].max(axis=0))]
        assert sum(bool(shapely.equals(polygon, other)) for other in candidates) == 1
    areas = Counter(zip(shapely.area(found).tolist(), polygons.columns.class_ids.tolist(), strict=True))
    assert areas == Counter((p.area, value) for p, value in expected)


def assert_sound(classes: np.ndarray) -> None:
    polygons = trace(classes)
    shapes = polygons.geometries()
    assert shapely.is_valid(shapes).all()
    assert len(shapes) == 0 or shapely.coverage_is_valid(shapes)
    assert (shapely.area(shapes) == polygons.columns.pixels).all()
    assert all(p.exterior.is_ccw and not any(hole.is_ccw for hole in p.interiors) for p in shapes)
    counts = np.bincount(polygons.columns.class_ids, weights=polygons.columns.pixels, minlength=256)
    assert (counts[:255] == np.bincount(classes.ravel(), minlength=256)[:255]).all()
    first = list(zip(polygons.columns.row.tolist(), polygons.columns.column.tolist(), strict=True))
    assert first == sorted(set(first))


@pytest.mark.parametrize("name", HARD)
def test_hard_cases_equal_rasterio(name):
    assert_like_rasterio(HARD[name])
    assert_sound(HARD[name])


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("block_size", [1, 2, 3, 7])
def test_hard_cases_do_not_depend_on_blocks(name, block_size):
    assert rows(trace(HARD[name], block_size)) == rows(trace(HARD[name]))


@given(rasters)
@settings(deadline=None)
def test_any_raster_equals_rasterio(classes):
    assert_like_rasterio(classes)
    assert_sound(classes)


@given(st.data(), rasters, st.sampled_from([1, 2, 3, 7]))
@settings(deadline=None, max_examples=60)
def test_blocks_do_not_change_any_value(data, classes, block_size):
    seed = data.draw(st.integers(0, 2**16))
    random = np.random.default_rng(seed)
    confidence = random.integers(0, 102, classes.shape).astype(np.uint8)
    confidence[confidence == 101] = 255
    probabilities = random.integers(0, 251, (3, *classes.shape)).astype(np.uint8)
    whole, cut = (
        trace(classes, size, confidence=confidence, probabilities=probabilities) for size in (64, block_size)
    )
    assert rows(cut) == rows(whole)


def test_a_large_raster_in_blocks():
    random = np.random.default_rng(5)
    classes = random.choice(np.array([0, 0, 0, 1, 2, 255], np.uint8), (150, 130))
    assert_sound(classes)
    expected = rows(trace(classes, 1000))
    for block_size in (16, 64, 149):
        assert rows(trace(classes, block_size)) == expected


def test_an_id_is_the_first_pixel():
    classes = np.array([[255, 2, 1], [2, 2, 1]], np.uint8)
    columns = trace(classes).columns
    assert (columns.row.tolist(), columns.column.tolist()) == ([0, 0], [1, 2])
    assert columns.class_ids.tolist() == [2, 1]


def test_touching_the_edge_means_border_or_nodata_by_a_side():
    classes = np.zeros((7, 7), np.uint8)
    classes[1:4, 1:4] = 1
    classes[2, 2] = 2
    classes[5, 5] = 3
    assert trace(classes).columns.touches_edge.tolist() == [True, False, False, False]
    classes[4, 4] = 255  # touches 1 and 3 at a corner only
    assert trace(classes).columns.touches_edge.tolist() == [True, False, False, False]
    classes[4, 3] = 255
    assert trace(classes).columns.touches_edge.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    "transform",
    [
        Affine(10, 0, 500, 0, -10, 900),
        Affine(10, 0, 500, 0, 10, 900),
        Affine(-3, 0, 0, 0, 3, 0),
        Affine(1.75, 2.5, 10, 1, -4.25, 20),
        Affine(-3, 0.5, 10, 1, 2, 20),
    ],
    ids=["north-up", "south-up", "half turn", "rotated", "sheared"],
)
def test_exteriors_run_counter_clockwise_under_any_transform(transform):
    classes = HARD["pinched"]
    shapes = trace(classes, 2, transform=transform).geometries()
    assert all(p.exterior.is_ccw for p in shapes)
    assert shapely.coverage_is_valid(shapes)
    pixel = abs(transform.determinant)
    assert shapely.area(shapes) == pytest.approx(trace(classes).columns.pixels * pixel)
    assert shapes[0].exterior.coords[0] == pytest.approx((transform.c, transform.f))


def test_no_vertex_on_a_straight_line_but_where_polygons_meet():
    classes = np.array([[1, 1, 1, 1], [2, 2, 3, 3]], np.uint8)
    upper = trace(classes, 1).geometries()[0]
    assert list(upper.exterior.coords) == [(0, 0), (0, -1), (2, -1), (4, -1), (4, 0), (0, 0)]
