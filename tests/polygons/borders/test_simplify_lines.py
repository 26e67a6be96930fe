from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.polygons.borders.simplify_arcs import Plane, farthest, simplify_lines

coordinates = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda p: (p[0] / 2, p[1] / 2)),
    min_size=2,
    max_size=14,
)


def distance(point, one, other) -> float:
    """From a point to a straight piece, written out."""
    point, one, other = map(np.array, (point, one, other))
    way = other - one
    length = way @ way
    share = min(max((point - one) @ way / length, 0.0), 1.0) if length else 0.0
    return float(np.hypot(*(point - one - share * way)))


def plain(points, depth=0) -> list[int]:
    """Indices that the rule keeps between the ends of one line, one step after the other."""
    if len(points) < 3:
        return []
    far = [distance(point, points[0], points[-1]) ** 2 for point in points[1:-1]]
    worst = int(np.argmax(far)) + 1
    if far[worst - 1] <= 1.0 and depth == 0:
        return []
    less = max(depth - 1, 0)
    right = [worst + i for i in plain(points[worst:], less)]
    return [*plain(points[: worst + 1], less), worst, *right]


def simplified(lines, depth=None, fixed=None):
    sizes = np.array([len(line) for line in lines])
    points = np.array([point for line in lines for point in line], float)
    starts = np.cumsum(sizes) - sizes
    kept = simplify_lines(
        Plane(points[:, 0], points[:, 1]),
        starts,
        sizes,
        np.zeros(len(lines), int) if depth is None else np.array(depth),
        np.zeros(len(points), bool) if fixed is None else np.array(fixed),
    )
    return [np.flatnonzero(part).tolist() for part in np.split(kept, starts[1:])]


@given(st.lists(st.tuples(coordinates, st.integers(0, 3)), min_size=1, max_size=5))
@settings(deadline=None, max_examples=150)
def test_many_lines_at_once_are_as_each_by_itself(lines):
    depth = [d for _, d in lines]
    lines = [line for line, _ in lines]
    found = simplified(lines, depth)
    for line, d, kept in zip(lines, depth, found, strict=True):
        assert kept == [0, *plain(line, d), len(line) - 1]


def test_fixed_vertices_stay_and_divide_the_line():
    line = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]
    assert simplified([line]) == [[0, 4]]
    assert simplified([line], fixed=[False, False, False, True, False]) == [[0, 3, 4]]


def test_a_closed_line_keeps_four_vertices():
    ring = [(0, 0), (0.1, 0), (0.2, 0), (0.2, 0.2), (0, 0.2), (0, 0)]
    assert simplified([ring]) == [[0, 5]]
    assert len(simplified([ring], depth=[2])[0]) == 5


def test_the_first_of_several_farthest_vertices_is_told():
    points = np.array([(0, 0), (1, 1), (1, 2), (1, 3), (0, 4)], float)
    at, squared = farthest(Plane(points[:, 0], points[:, 1]), np.array([0]), np.array([4]))
    assert (at.tolist(), squared.tolist()) == ([1], [1.0])


def test_no_way_at_all_means_the_distance_to_the_point():
    points = np.array([(2, 2), (5, 6), (2, 2)], float)
    _, squared = farthest(Plane(points[:, 0], points[:, 1]), np.array([0]), np.array([2]))
    assert squared.tolist() == [25.0]
