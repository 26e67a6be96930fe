from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.polygons.borders.arcs import Lines, cut_arcs, end_position, stored_vertices
from geoseg.raster.ragged import group_starts
from tests.polygons.helpers import noise, rasters, trace
from tests.polygons.trace.test_trace import HARD


def arcs_of(classes, block_size=64):
    polygons = trace(classes, block_size, junctions=True)
    return polygons, cut_arcs(polygons)


def junctions_of(classes) -> set:
    """Corners of pixels where more than two boundaries meet, one by one."""
    around = np.pad(classes, 1, constant_values=255)
    found = set()
    for row, column in np.ndindex(classes.shape[0] + 1, classes.shape[1] + 1):
        (a, b), (c, d) = around[row : row + 2, column : column + 2]
        if sum(map(bool, (a != b, c != d, a != c, b != d))) > 2:
            found.add((row, column))
    return found


def assert_rings_are_made_of_arcs(classes):
    if (classes == 255).all():
        return
    polygons, arcs = arcs_of(classes)
    lines = arcs.read(np.arange(len(arcs)))
    single = np.split(lines.points, lines.starts[1:])
    stored = np.split(stored_vertices(polygons.file), group_starts(polygons.ring_sizes)[1:])
    parts = np.split(np.arange(arcs.arc.size), group_starts(arcs.parts)[1:])
    for ring, members in zip(stored, parts, strict=True):
        walk = []
        for part in members:
            line = single[arcs.arc[part]].tolist()
            walk += (line[::-1] if arcs.against[part] else line)[:-1]
        at = next(i for i, vertex in enumerate(ring.tolist()) if vertex == walk[0])
        assert walk == ring[at:-1].tolist() + ring[:at].tolist()


def assert_arcs_run_from_junction_to_junction(classes):
    if (classes == 255).all():
        return
    _, arcs = arcs_of(classes)
    expected = junctions_of(classes)
    lines = arcs.read(np.arange(len(arcs)))
    seen, sides = set(), set()
    for line, island in zip(np.split(lines.points, lines.starts[1:]), arcs.islands, strict=True):
        ends = {tuple(line[0].tolist()), tuple(line[-1].tolist())}
        inner = set(map(tuple, line[1:-1].tolist()))
        assert not inner & expected
        assert island == (not ends & expected)
        assert ends <= expected or (island and len(ends) == 1)
        seen |= ends & expected
        for one, other in zip(line[:-1].tolist(), line[1:].tolist(), strict=True):
            side = frozenset((tuple(one), tuple(other)))
            assert side not in sides, "an arc is there twice"
            sides.add(side)
    assert seen == expected


@pytest.mark.parametrize("name", HARD)
def test_hard_cases(name):
    assert_rings_are_made_of_arcs(HARD[name])
    assert_arcs_run_from_junction_to_junction(HARD[name])


@given(rasters)
@settings(deadline=None, max_examples=80)
def test_any_raster(classes):
    assert_rings_are_made_of_arcs(classes)
    assert_arcs_run_from_junction_to_junction(classes)


@given(rasters, st.sampled_from([1, 2, 3, 7]))
@settings(deadline=None, max_examples=60)
def test_arcs_do_not_depend_on_blocks(classes, block_size):
    if (classes == 255).all():
        return
    (_, one), (_, other) = arcs_of(classes), arcs_of(classes, block_size)
    everything = np.arange(len(one))
    assert np.array_equal(one.tails, other.tails)
    assert np.array_equal(one.heads, other.heads)
    assert np.array_equal(one.read(everything).points, other.read(everything).points)


def test_ends_are_where_their_keys_say():
    _, arcs = arcs_of(noise((40, 50)))
    chosen = np.arange(len(arcs))[::-3]
    lines = arcs.read(chosen)
    for keys, at in ((arcs.tails, lines.starts), (arcs.heads, lines.starts + lines.sizes - 1)):
        assert np.array_equal(lines.points[at], np.stack(end_position(keys[chosen]), axis=1))


def test_polygons_traced_without_junctions_are_refused():
    with pytest.raises(ValueError, match="without junctions"):
        cut_arcs(trace(np.zeros((2, 2), np.uint8)))


def test_lines_are_taken_in_the_order_given():
    lines = Lines(np.arange(14, dtype=np.int32).reshape(-1, 2), np.array([2, 3, 2]))
    taken = lines.take(np.array([2, 0]))
    assert taken.points[:, 0].tolist() == [10, 12, 0, 2]
    assert taken.sizes.tolist() == [2, 2]
    assert lines.line_of(np.array([0, 1, 2, 4, 5])).tolist() == [0, 0, 1, 1, 2]
