"""The parts of simplifying: areas, clashes, sweeps, and resolving clashes."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import RunError
from geoseg.polygons.borders import find_clashes as simplify_clashes
from geoseg.polygons.borders.arcs import Lines, cut_arcs
from geoseg.polygons.borders.areas import doubled_areas, keep_areas
from geoseg.polygons.borders.find_clashes import NEAR, Junctions, find_touching
from geoseg.polygons.borders.resolve_clashes import PORTION, portions
from geoseg.polygons.borders.rings import rebuild
from geoseg.polygons.borders.simplify_arcs import Simplifier
from geoseg.polygons.borders.smooth_arcs import Smoother
from geoseg.polygons.borders.staircases import corners_of
from geoseg.polygons.borders.sweeps import Boxes, PointGrid, swept
from geoseg.system.cpu import in_order
from tests.polygons.helpers import noise, trace

CELL = 256


def lines_of(*lines) -> Lines:
    return Lines(
        np.array([point for line in lines for point in line], np.int32),
        np.array([len(line) for line in lines]),
    )


class TestAreas:
    def test_the_area_beside_a_line(self):
        assert doubled_areas(lines_of([(0, 0), (4, 0), (4, 3)], [(5, 5), (5, 9)])).tolist() == [12, 0]

    @given(st.integers(0, 10**6))
    @settings(deadline=None, max_examples=50)
    def test_vertices_move_until_areas_are_as_wanted(self, seed):
        random = np.random.default_rng(seed)
        sizes = random.integers(3, 9, 4)
        # Lines that lead somewhere: then no vertex need move far.
        points = np.stack(
            [np.arange(sizes.sum()) * 200, random.integers(-150, 150, sizes.sum())], axis=1
        ).astype(np.int32)
        lines = Lines(points, sizes)
        wanted = doubled_areas(lines) + random.integers(-9000, 9000, 4)
        fixed = np.zeros(len(points), bool)
        new, moved = keep_areas(lines, wanted, fixed, np.full(4, 1e9))
        # What is left is what rounding to steps does: half a step along every side.
        assert np.abs(doubled_areas(new) - wanted).max() <= 200 * sizes.max()
        ends = np.concatenate([lines.starts, lines.starts + sizes - 1])
        assert np.array_equal(new.points[ends], points[ends])
        away = np.sqrt(((new.points - points) ** 2).sum(axis=1))
        assert (np.maximum.reduceat(away, lines.starts) <= moved + 0.8).all()

    def test_large_moves_of_bent_lines_are_exact_too(self):
        arch = [(0, 0), (300, 100), (400, 400), (300, 700), (0, 800)]
        lines = lines_of(arch)
        wanted = doubled_areas(lines) // 2
        new, _ = keep_areas(lines, wanted, np.zeros(5, bool), np.array([1e9]))
        assert doubled_areas(new)[0] == pytest.approx(wanted[0], rel=5e-3)

    def test_moves_are_bounded_and_fixed_vertices_stay(self):
        lines = lines_of([(0, 0), (100, 10), (200, -10), (300, 0)])
        free = np.zeros(4, bool)
        new, moved = keep_areas(lines, np.array([40_000]), free, np.array([5.0]))
        assert moved[0] == pytest.approx(5.0)
        assert 4 <= np.abs(new.points - lines.points).max() <= 5
        fixed = np.array([False, True, False, False])
        new, _ = keep_areas(lines, np.array([10_000]), fixed, np.array([1e9]))
        assert new.points[1].tolist() == [100, 10]
        assert abs(int(doubled_areas(new)[0]) - 10_000) < 400

    def test_a_line_without_inner_vertices_stays(self):
        lines = lines_of([(0, 0), (100, 10)])
        new, moved = keep_areas(lines, np.array([500]), np.zeros(2, bool), np.array([50.0]))
        assert np.array_equal(new.points, lines.points)
        assert moved.tolist() == [0.0]


points = st.tuples(st.integers(0, 40), st.integers(0, 40))
some_lines = st.lists(st.lists(points, min_size=2, max_size=5, unique=True), min_size=1, max_size=6)


def must_touch(lines: Lines) -> set[int]:
    """Pieces that touch another one elsewhere than at a common end, by shapely, pair by pair."""
    tails = np.setdiff1d(np.arange(len(lines.points)), lines.starts + lines.sizes - 1)
    line = lines.line_of(tails)
    found = set()
    for i, one in enumerate(tails):
        for j in range(i):
            other = tails[j]
            a, b = (shapely.LineString(lines.points[[k, k + 1]]) for k in (one, other))
            shared = shapely.intersection(a, b)
            if shared.is_empty:
                continue
            if shared.geom_type == "Point" and is_common_end(lines, line, i, j, tails, shared):
                continue
            found |= {int(one), int(other)}
    return found


def is_common_end(lines, line, i, j, tails, shared) -> bool:
    at = [int(shared.x), int(shared.y)]
    if [shared.x, shared.y] != at:
        return False
    if line[i] == line[j] and tails[i] == tails[j] + 1 and lines.points[tails[i]].tolist() == at:
        return True
    starts, last = lines.starts, lines.starts + lines.sizes - 1
    ends = [
        any(
            k in (starts[line[n]], last[line[n]]) and lines.points[k].tolist() == at
            for k in (tails[n], tails[n] + 1)
        )
        for n in (i, j)
    ]
    return all(ends)


class TestTouching:
    @pytest.mark.slow
    @given(some_lines, st.sampled_from([1, 7, 100, 5000]))
    @settings(deadline=None, max_examples=150)
    def test_every_touch_is_found_and_nothing_far_apart(self, lines, scale):
        lines = lines_of(*[[(r * scale, c * scale) for r, c in line] for line in lines])
        found = set(find_touching(lines, np.ones(len(lines), bool)).tolist())
        assert must_touch(lines) <= found
        tails = np.setdiff1d(np.arange(len(lines.points)), lines.starts + lines.sizes - 1)
        pieces = {int(k): shapely.LineString(lines.points[[k, k + 1]]) for k in tails}
        for k in found:
            near = [shapely.distance(pieces[k], other) for m, other in pieces.items() if m != k]
            assert min(near) <= 2 * NEAR

    def test_lines_that_meet_at_their_ends_do_not_clash(self):
        star = lines_of([(0, 0), (0, 9)], [(0, 0), (9, 0)], [(-9, -3), (0, 0)])
        assert find_touching(star, np.ones(3, bool)).size == 0

    def test_a_vertex_on_another_lines_vertex_clashes(self):
        lines = lines_of([(0, 0), (50, 50), (0, 100)], [(100, 0), (50, 50), (100, 100)])
        assert find_touching(lines, np.ones(2, bool)).tolist() == [0, 1, 3, 4]

    def test_an_end_on_another_lines_inner_vertex_clashes(self):
        lines = lines_of([(0, 0), (50, 50), (0, 100)], [(100, 50), (50, 50)])
        assert find_touching(lines, np.ones(2, bool)).tolist() == [0, 1, 3]

    def test_pieces_on_each_other_clash(self):
        same = lines_of([(0, 0), (9, 9)], [(9, 9), (0, 0)])
        assert find_touching(same, np.ones(2, bool)).tolist() == [0, 2]
        longer = lines_of([(0, 0), (90, 90)], [(0, 0), (30, 30), (0, 90)])
        assert find_touching(longer, np.ones(2, bool)).tolist() == [0, 2, 3]
        back = lines_of([(0, 0), (90, 90), (30, 30)])
        assert find_touching(back, np.ones(1, bool)).tolist() == [0, 1]

    def test_ends_that_come_within_a_step_clash(self):
        near = lines_of([(0, 0), (0, 1000)], [(NEAR, 500), (600, 500)])
        assert find_touching(near, np.ones(2, bool)).tolist() == [0, 2]
        far = lines_of([(0, 0), (0, 1000)], [(NEAR + 1, 500), (600, 500)])
        assert find_touching(far, np.ones(2, bool)).size == 0

    def test_only_fresh_lines_are_compared(self):
        lines = lines_of([(0, 0), (9, 9)], [(0, 9), (9, 0)], [(0, 5), (5, 0)])
        assert find_touching(lines, np.array([False, False, False])).size == 0
        assert find_touching(lines, np.array([False, False, True])).tolist() == [0, 4]
        among = np.array([False, True, True])
        assert find_touching(lines, np.array([False, False, True]), among).size == 0

    @pytest.mark.parametrize("turned", [False, True])
    def test_long_lines_that_cross_far_from_their_ends(self, turned):
        one, other = [(3, 5), (90_000, 70_000)], [(60_000, 1), (100, 80_000)]
        lines = lines_of(one[::-1] if turned else one, other)
        assert find_touching(lines, np.ones(2, bool)).tolist() == [0, 2]

    @pytest.mark.parametrize("at", [0, CELL - 1, CELL, CELL + 1, 32 * CELL - 1, 32 * CELL])
    def test_touches_at_the_borders_of_cells_and_bands(self, at):
        lines = lines_of([(at, at), (at + 300, at + 300)], [(at, 0), (at, at + 1)], [(at, 0), (at - 5, 0)])
        assert find_touching(lines, np.ones(3, bool)).tolist() == [0, 2]


class TestJunctions:
    keys = (np.array([5 << 33 | 7 << 2 | d for d in (0, 1, 3)]), np.array([9 << 33 | d for d in (4, 8, 12)]))

    def turned(self, *ways):
        return (
            Junctions(*self.keys).reordered(lines_of(*[[(5, 7), (5 + r, 7 + c)] for r, c in ways])).tolist()
        )

    def test_the_order_in_which_arcs_leave_must_stay(self):
        assert self.turned((0, 9), (-9, 0), (9, 0)) == []
        assert self.turned((-2, 9), (-9, -7), (9, -1)) == []  # east, north, south, each turned a little
        assert self.turned((0, 9), (9, 0), (-9, 0)) == [0, 2, 4]
        assert self.turned((-9, 0), (0, 9), (9, 0)) == [0, 2, 4]

    @pytest.mark.parametrize("portion", [1, 2, 5])
    def test_portions_change_nothing(self, monkeypatch, portion):
        arcs = cut_arcs(trace(noise((60, 60), sigma=1.0), junctions=True))
        lines = corners_of(arcs.read(np.arange(len(arcs))))
        points = lines.points.copy()
        points[lines.starts[::7]] += 40
        whole = Junctions(arcs.tails, arcs.heads).reordered(Lines(points, lines.sizes))
        monkeypatch.setattr(simplify_clashes, "PORTION", portion)
        parts = Junctions(arcs.tails, arcs.heads).reordered(Lines(points, lines.sizes))
        assert whole.size > 10
        assert parts.tolist() == whole.tolist()

    def test_arcs_that_arrive_count_like_those_that_leave(self):
        tails, heads = self.keys
        lines = lines_of([(5, 7), (5, 9)], [(0, 0), (3, 7), (5, 7)], [(5, 7), (9, 7)])
        junctions = Junctions(np.r_[tails[0], heads[1], tails[2]], np.r_[heads[0], tails[1], heads[2]])
        assert junctions.reordered(lines).size == 0
        swapped = lines_of([(5, 7), (3, 7)], [(0, 0), (5, 9), (5, 7)], [(5, 7), (9, 7)])
        assert junctions.reordered(swapped).tolist() == [0, 3, 5]

    def test_islands_have_no_junctions(self):
        key = np.array([8])
        assert Junctions(key, key).reordered(lines_of([(0, 1), (3, 3), (0, 1)])).size == 0


class TestSweeps:
    old = np.array([(0, 0), (100, 0), (100, 100), (0, 100)], np.int32)

    def is_swept(self, *points, new=((0, 0), (0, 100))):
        grid = PointGrid(np.array(points, np.int32))
        tails, heads = (np.array([end], np.int32) for end in new)
        return bool(swept(self.old, np.array([0]), np.array([3]), tails, heads, grid).size)

    def test_points_between_the_old_and_the_new_way_are_crossed(self):
        assert self.is_swept((50, 50))
        assert self.is_swept((1, 99))
        assert self.is_swept((400, 400), (50, 50))

    def test_points_elsewhere_are_not(self):
        assert not self.is_swept((50, 101), (101, 50), (1000, 50), (400, 400))

    def test_the_ends_of_a_piece_do_not_count(self):
        assert not self.is_swept((0, 0), (0, 100))

    def test_moved_ends_count(self):
        assert self.is_swept((0, 120), new=((0, 0), (0, 200))) is False  # on the new way: that is a touch
        assert self.is_swept((15, 120), new=((0, 0), (40, 200)))
        assert not self.is_swept((50, 50), new=((100, 0), (100, 100)))

    @given(st.integers(0, 10**6))
    @settings(deadline=None, max_examples=60)
    def test_like_shapely(self, seed):
        random = np.random.default_rng(seed)
        chain = random.integers(0, 3000, (7, 2)).astype(np.int32)
        ring = shapely.Polygon(chain)
        candidates = random.integers(0, 3000, (30, 2)).astype(np.int32)
        outside = shapely.distance(ring.exterior, shapely.points(candidates)) > 0
        if not ring.is_valid:
            return
        for point in candidates[outside]:
            found = swept(chain, np.array([0]), np.array([6]), chain[:1], chain[6:], PointGrid(point[None]))
            assert bool(found.size) == ring.contains(shapely.Point(point))

    def test_points_are_found_in_boxes(self):
        random = np.random.default_rng(0)
        points = random.integers(0, 5000, (300, 2)).astype(np.int32)
        low = random.integers(-500, 5000, (40, 2)).astype(np.int32)
        high = low + random.integers(0, 2500, (40, 2)).astype(np.int32)
        box, row, column = PointGrid(points).inside(Boxes(low[:, 0], high[:, 0], low[:, 1], high[:, 1]))
        expected = sorted(
            (i, *point)
            for i in range(40)
            for point in points.tolist()
            if (low[i] <= point).all() and (point <= high[i]).all()
        )
        assert sorted(zip(box.tolist(), row.tolist(), column.tolist(), strict=True)) == expected


def test_an_island_turned_inside_out_clashes_all_around():
    """No map is known where it happens: so vertices are chosen for it."""
    classes = np.zeros((14, 14), np.uint8)
    for row, column in ((3, 3), (4, 3), (4, 4), (5, 4), (5, 5), (5, 6), (5, 7), (4, 7), (4, 8), (3, 8)):
        classes[row, column] = 1  # a thin crescent
    arcs = cut_arcs(trace(classes, junctions=True))
    island = np.flatnonzero(arcs.islands)[-1]  # the first is the edge of the map
    chosen = np.array([island])
    simplifier = Simplifier(arcs, classes.shape, 9.0, np.ones((len(arcs), 2)), np.full(len(arcs), 10))
    border = simplifier._border(chosen)
    count = len(border.base.points)
    shapes = {True: 0, False: 0}
    for one in range(1, count - 2):
        for other in range(one + 1, count - 1):
            kept = np.zeros(count, bool)
            kept[[0, one, other, count - 1]] = True
            ring = border.base.points[kept]
            if shapely.Polygon(ring).area == 0:
                continue
            inside_out = (
                shapely.Polygon(ring).exterior.is_ccw != shapely.Polygon(border.base.points).exterior.is_ccw
            )
            found = simplifier._finish(chosen, border, kept, np.array([False])).swept.tolist()
            assert (found == [0, 1, 2]) is inside_out
            shapes[inside_out] += 1
    assert min(shapes.values()) > 3


def test_a_ring_turned_inside_out_is_never_written():
    polygons = trace(np.array([[1, 1, 2], [1, 3, 2]], np.uint8), junctions=True)
    arcs = cut_arcs(polygons)
    lines = corners_of(arcs.read(np.arange(len(arcs))))
    assert len(rebuild(polygons, arcs, lines, None)[0]) == 3
    wrong = Lines(lines.points * np.array([1, -1], np.int32), lines.sizes)
    with pytest.raises(RunError, match="inside out"):
        rebuild(polygons, arcs, wrong, None)


class TestSmoother:
    corners = ((320, 320), (640, 320), (640, 640), (960, 640), (960, 960))

    def smoother(self, rounds=2, reach=2.0):
        lines = lines_of(self.corners)
        return Smoother(lines, np.array([False]), (50, 50), rounds, reach, np.ones((1, 2)))

    def first(self, **options):
        return self.smoother(**options).first(np.array([0]))

    def test_corners_are_cut_and_ends_stay(self):
        shapes = self.first()
        found = set(map(tuple, shapes.lines.points.tolist()))
        assert found & set(self.corners) == {self.corners[0], self.corners[-1]}
        assert len(shapes.lines.points) == 2 + 3 * 4
        assert shapes.at.tolist() == [0, *[1] * 4, *[2] * 4, *[3] * 4, 4]

    def test_cuts_are_a_quarter_of_a_side_or_the_reach(self):
        points = self.first(rounds=1, reach=100.0).lines.points
        assert np.abs(points[1] - (560, 320)).max() <= 16  # moved a little to keep the area
        points = self.first(rounds=1, reach=1.0).lines.points
        assert np.abs(points[1] - (608, 320)).max() <= 16

    def test_both_corners_beside_a_clashing_piece_are_put_back(self):
        shapes = self.first()
        at = shapes.at.tolist()
        for piece, back in ((0, {1}), (at.index(2) - 1, {1, 2}), (at.index(2), {2}), (len(at) - 2, {3})):
            renewed = self.smoother().refine(np.array([0]), shapes, np.array([piece]), np.array([False]))
            found = set(map(tuple, renewed.lines.points.tolist()))
            inner = set(self.corners[1:-1])
            assert found & inner == {self.corners[i] for i in back}
            again = self.smoother().refine(np.array([0]), renewed, np.zeros(0, int), np.array([False]))
            assert np.array_equal(again.lines.points, renewed.lines.points)


def test_portions_hold_all_arcs_in_order():
    sizes = np.array([PORTION, 5, PORTION * 3, 7, 7])
    parts = portions(np.array([0, 1, 2, 4]), sizes)
    assert np.concatenate(parts).tolist() == [0, 1, 2, 4]
    assert len(parts) > 1
    assert portions(np.zeros(0, int), sizes) == []


def test_work_in_threads_comes_in_order():
    assert list(in_order(lambda n: n * n, iter(range(100)))) == [n * n for n in range(100)]


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda n: 1 // n, [3, 0, 1]))
