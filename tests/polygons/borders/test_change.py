"""Whole maps with simpler and rounder borders."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import SettingsError
from geoseg.polygons.borders.arcs import Lines, cut_arcs, end_position
from geoseg.polygons.borders.change import change_borders
from geoseg.polygons.borders.find_clashes import Junctions
from geoseg.polygons.borders.options import BorderOptions
from geoseg.polygons.borders.staircases import STEPS, staircases
from geoseg.raster.pixel_sizes import HECTARE, measure_pixel_sizes
from geoseg.units import Length
from tests.polygons.helpers import noise, rasters, trace
from tests.polygons.trace.test_trace import HARD, rows
from tests.raster.test_pixel_sizes import PLACES

DOWN = Affine(1, 0, 0, 0, -1, 0)


def percolating(size: int) -> np.ndarray:
    return (np.random.default_rng(2).random((size, size)) < 0.6).astype(np.uint8)


def slanted_fields(size: int) -> np.ndarray:
    row, column = np.indices((size, size))
    along, across = (column * 0.9 + row * 0.35) // 22, (row * 0.9 - column * 0.35) // 26
    return ((along + 3 * across).astype(int) % 5).astype(np.uint8)


def islands(size: int) -> np.ndarray:
    """Islands of many shapes and sizes, each alone in one large polygon or in another island."""
    random = np.random.default_rng(4)
    classes = np.zeros((size, size), np.uint8)
    for row in range(3, size - 14, 15):
        for column in range(3, size - 14, 15):
            height, width = random.integers(1, 11, 2)
            block = classes[row : row + height, column : column + width]
            block[:] = 1
            block[random.random(block.shape) < random.choice([0, 0, 0.15])] = 2
    return classes


MAPS = HARD | {
    "noise": noise((70, 80)),
    "fine noise": noise((50, 40), sigma=1.0, classes=3),
    "percolating": percolating(60),
    "slanted fields": slanted_fields(80),
    "islands": islands(80),
    "noise with holes": np.where(noise((60, 60), seed=9) == 0, 255, noise((60, 60))).astype(np.uint8),
}


def changed(classes, tolerance=None, rounds=0, block_size=64, **options):
    """The polygons of a map before and after."""
    polygons = trace(classes, block_size, junctions=True, **options)
    length = tolerance if tolerance is None or isinstance(tolerance, Length) else Length(tolerance, True)
    new, change = change_borders(polygons, BorderOptions(length, rounds))
    return polygons, new, change


def assert_a_valid_coverage(classes, tolerance, rounds=0) -> None:
    old, new, change = changed(classes, tolerance, rounds)
    if len(old) == 0:
        assert len(new) == 0
        return
    before, after = old.geometries(), new.geometries()
    assert shapely.is_valid(after).all()
    assert shapely.coverage_is_valid(after)
    for name in ("row", "column", "class_ids", "pixels", "rings", "touches_edge", "runner_up"):
        assert np.array_equal(getattr(new.columns, name), getattr(old.columns, name)), name
    assert (shapely.area(after) > 0).all()
    assert shapely.area(after) == pytest.approx(change.pixels)
    assert change.vertices == shapely.get_num_coordinates(after).sum()
    assert change.vertices_before == shapely.get_num_coordinates(before).sum()
    # What lies beside what is still the same: sides in common, one pair after the other.
    assert neighbours(before) == neighbours(after)
    # Borders are moved no farther than is said.
    moved = [
        shapely.hausdorff_distance(shapely.boundary(a), shapely.boundary(b))
        for a, b in zip(before, after, strict=True)
    ]
    assert max(moved) <= change.moved + 1e-9
    if not rounds and tolerance is not None:
        assert change.moved <= tolerance + 1e-9
    # The edge of the map is where it was.
    if not (classes == 255).any():
        whole = shapely.union_all(after)
        assert whole.equals(shapely.box(0, -classes.shape[0], classes.shape[1], 0))


def neighbours(shapes) -> set:
    tree = shapely.STRtree(shapes)
    one, other = tree.query(shapes, predicate="touches")
    shared = shapely.length(shapely.intersection(shapes[one], shapes[other])) > 1e-9
    return set(zip(one[shared].tolist(), other[shared].tolist(), strict=True))


@pytest.mark.parametrize("tolerance", [0.3, 1.0, 2.0, 30.0])
@pytest.mark.parametrize("name", MAPS)
def test_simplified_maps_are_valid_coverages(name, tolerance):
    assert_a_valid_coverage(MAPS[name], tolerance)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("tolerance", [None, 2.0])
@pytest.mark.parametrize("name", MAPS)
def test_smoothed_maps_are_valid_coverages(name, tolerance, rounds):
    assert_a_valid_coverage(MAPS[name], tolerance, rounds)


@given(rasters, st.sampled_from([0.4, 0.8, 1.0, 1.5, 2.5, 9.0]), st.sampled_from([0, 0, 1, 2]))
@settings(deadline=None, max_examples=100)
def test_any_map_is_a_valid_coverage(classes, tolerance, rounds):
    assert_a_valid_coverage(classes, tolerance, rounds)


@given(st.integers(0, 10**6), st.sampled_from([1.0, 2.0, 4.0]), st.sampled_from([0, 2]))
@settings(deadline=None, max_examples=25)
def test_any_map_with_larger_patches_is_a_valid_coverage(seed, tolerance, rounds):
    random = np.random.default_rng(seed)
    classes = noise(random.integers(5, 45, 2), sigma=random.choice([0.8, 1.5, 3.0]), classes=4, seed=seed)
    classes[classes == 3] = 255
    assert_a_valid_coverage(classes, tolerance, rounds)


@pytest.mark.parametrize("block_size", [1, 7, 30])
@pytest.mark.parametrize("name", ["noise", "islands", "percolating", "noise with holes", "spiral"])
def test_blocks_do_not_change_anything(name, block_size):
    classes = MAPS[name] if block_size > 1 else MAPS[name][:20, :20]
    pixel_sizes = measure_pixel_sizes("EPSG:32614", Affine(10, 0, 2e5, 0, -10, 5e6), classes.shape)
    for tolerance, rounds in ((2.0, 0), (1.0, 2)):
        one, other = (
            changed(classes, tolerance, rounds, size, pixel_sizes=pixel_sizes)[1]
            for size in (200, block_size)
        )
        assert rows(one) == rows(other)


@pytest.mark.parametrize(
    ("shape", "classes", "seed", "tolerance"),
    [((16, 40), 2, 960464, 4.0), ((56, 52), 4, 953320, 2.5), ((47, 57), 6, 774176, 1.5)],
)
def test_borders_that_got_vertices_back_stay_within_the_tolerance(shape, classes, seed, tolerance):
    assert_a_valid_coverage(noise(shape, 2.0, classes, seed), tolerance)


def test_portions_and_threads_do_not_change_anything(monkeypatch):
    classes = MAPS["noise"]
    expected = rows(changed(classes, 2.0, 1)[1])
    monkeypatch.setattr("geoseg.polygons.borders.resolve_clashes.PORTION", 50)
    monkeypatch.setattr("geoseg.polygons.borders.rings.PORTION", 30)
    monkeypatch.setattr("geoseg.polygons.borders.find_clashes.BAND_CELLS", 1)
    monkeypatch.setattr("geoseg.polygons.borders.arcs.PORTION", 20)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    assert rows(changed(classes, 2.0, 1)[1]) == expected


def test_junctions_stay():
    classes = MAPS["noise"]
    arcs = cut_arcs(trace(classes, junctions=True))
    row, column = end_position(np.unique(np.r_[arcs.tails, arcs.heads][np.tile(~arcs.islands, 2)]))
    for rounds in (0, 2):
        corners = shapely.get_coordinates(changed(classes, 3.0, rounds)[1].geometries())
        assert set(zip(column.tolist(), (-row).tolist(), strict=True)) <= set(map(tuple, corners.tolist()))


def test_an_island_is_not_left_on_the_other_side_of_a_border():
    classes = np.zeros((60, 60), np.uint8)
    classes[30:] = 1
    classes[30:33, 25:34] = 0  # a straight border would leave it out
    assert changed(classes, 4.0)[2].vertices == 10
    classes[31, 29] = 2
    assert_a_valid_coverage(classes, 4.0)
    _, new, _ = changed(classes, 4.0)
    assert new.geometries()[0].contains(new.geometries()[2].centroid) is False  # it is a hole of it
    assert len(new.geometries()[0].interiors) == 1


@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.parametrize("clashes", ["geoseg.polygons.borders.resolve_clashes.find_touching", "reordered"])
def test_where_all_lines_clash_the_old_borders_are_back(monkeypatch, clashes, rounds):
    """Nothing of what was done stays, not even moves that keep areas."""

    def everything(*given):
        lines = next(value for value in given if isinstance(value, Lines))
        return np.setdiff1d(np.arange(len(lines.points)), lines.starts + lines.sizes - 1)

    classes = MAPS["noise"]
    arcs = cut_arcs(trace(classes, junctions=True))
    raw = arcs.read(np.arange(len(arcs)))
    edge = (raw.points == 0) | (raw.points == np.array(classes.shape))
    base, _ = staircases(raw, arcs.islands, edge.any(axis=1))
    if clashes == "reordered":
        monkeypatch.setattr(Junctions, "reordered", everything)
    else:
        monkeypatch.setattr(clashes, everything)
    found = shapely.get_coordinates(changed(classes, 3.0, rounds)[1].geometries())
    expected = set(map(tuple, (base.points[:, ::-1] / STEPS * [1, -1]).tolist()))
    if rounds:  # islands begin in the middle of a side then
        assert expected <= set(map(tuple, found.tolist()))
    else:
        assert set(map(tuple, found.tolist())) == expected


def test_slanted_borders_become_straight():
    _, new, change = changed(MAPS["slanted fields"], 1.5)
    assert change.vertices_before / change.vertices > 6
    inside = ~new.columns.touches_edge
    assert inside.sum() > 3
    # A field has four corners; junctions may make two of one.
    assert shapely.get_num_coordinates(new.geometries()[inside]).max() <= 1 + 8


def test_far_fewer_vertices_and_areas_kept():
    classes = noise((400, 400), sigma=6, classes=6)
    old, _, change = changed(classes, 2.0)
    assert change.vertices_before / change.vertices >= 4
    off = np.abs(change.pixels - old.columns.pixels) / old.columns.pixels
    assert np.median(off) < 0.015
    assert np.quantile(off, 0.95) < 0.1
    theirs = shapely.coverage_simplify(old.geometries(), 2.0)
    assert shapely.get_num_coordinates(theirs).sum() > change.vertices
    assert np.median(np.abs(shapely.area(theirs) - old.columns.pixels) / old.columns.pixels) > 2 * np.median(
        off
    )
    _, _, smoothed = changed(classes, 2.0, 2)
    off = np.abs(smoothed.pixels - old.columns.pixels) / old.columns.pixels
    assert np.median(off) < 0.02


def test_small_islands_keep_area_and_four_corners():
    classes = MAPS["islands"]
    old, new, change = changed(classes, 3.0)
    assert old.columns.pixels.min() == 1
    inside = old.columns.pixels < 100
    off = np.abs(change.pixels - old.columns.pixels)[inside] / old.columns.pixels[inside]
    assert np.quantile(off, 0.9) < 0.1
    sizes = [len(ring.coords) for shape in new.geometries() for ring in (shape.exterior, *shape.interiors)]
    assert min(sizes) >= 4
    row, column = np.indices((40, 200))
    discs = np.zeros(row.shape, np.uint8)
    for radius in range(1, 9):
        discs[(row - 20) ** 2 + (column - 22 * radius) ** 2 <= radius**2] = 1
    for tolerance in (3.0, 50.0):
        _, round_ones, discs_change = changed(discs, tolerance)
        assert min(len(shape.exterior.coords) for shape in round_ones.geometries()) == 5
        if tolerance > 8:
            ours, theirs = discs_change.pixels[1:], round_ones.columns.pixels[1:]
            assert ours == pytest.approx(theirs, rel=0.03)
    single = old.columns.pixels == 1
    assert change.pixels[single] == pytest.approx(1)


def test_smoothing_rounds_corners_but_not_large_ones():
    classes = np.zeros((120, 120), np.uint8)
    classes[20:100, 20:100] = 1
    _, new, change = changed(classes, 2.0, 3)
    field = new.geometries()[1]
    assert len(field.exterior.coords) > 20
    assert field.hausdorff_distance(shapely.box(20, -100, 100, -20)) < 2
    assert 0.5 < change.moved < 4
    assert field.area == pytest.approx(6400, rel=1e-3)


def test_more_rounds_more_vertices():
    counts = [changed(MAPS["noise"], 2.0, rounds)[2].vertices for rounds in (0, 1, 2)]
    assert counts[0] * 1.3 < counts[1]
    assert counts[1] * 1.3 < counts[2]


def test_a_tolerance_that_no_corner_meets_changes_nothing():
    for name in ("noise", "islands", "checkerboard"):
        old, new, change = changed(MAPS[name], 0.1)
        assert shapely.equals(old.geometries(), new.geometries()).all()
        assert change.moved == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("place", PLACES)
def test_areas_and_perimeters_of_simplified_polygons(place):
    name, transform = PLACES[place]
    classes = noise((90, 120), sigma=4)
    classes[:9, :20] = 255
    pixel_sizes = measure_pixel_sizes(name, transform, classes.shape)
    old, new, _ = changed(classes, 2.0, pixel_sizes=pixel_sizes, transform=transform)
    shapes = new.geometries()
    assert shapely.coverage_is_valid(shapes)
    assert all(shape.exterior.is_ccw for shape in shapes)
    planar = shapely.area(shapes) / abs(transform.determinant)
    ratio = old.columns.areas * pixel_sizes.area_unit / old.columns.pixels
    assert new.columns.areas * pixel_sizes.area_unit == pytest.approx(planar * ratio, rel=1e-6)

    crs = pyproj.CRS(name).to_2d()
    base = crs.geodetic_crs
    base = (base.source_crs if base.is_derived else base).to_2d()  # the ellipsoid does not turn with the pole
    to_base = pyproj.Transformer.from_crs(crs, base, always_xy=True)
    degrees = math.degrees(base.axis_info[0].unit_conversion_factor)
    dense = shapely.segmentize(shapes, 5 * abs(transform.a))
    lonlat = shapely.transform(dense, lambda xy: np.stack(to_base.transform(*xy.T), axis=1) * degrees)
    areas, perimeters = np.transpose([crs.get_geod().geometry_area_perimeter(p) for p in lonlat])
    assert new.columns.perimeters * pixel_sizes.length_unit == pytest.approx(perimeters, rel=1e-4)
    assert new.columns.areas * pixel_sizes.area_unit * HECTARE == pytest.approx(np.abs(areas), rel=1e-4)


def test_metres_are_metres_where_pixels_are_not_square():
    transform = Affine(1e-4, 0, -100, 0, -1e-4, 60)  # 5.6 m wide, 11.1 m high
    classes = noise((80, 90), sigma=4)
    pixel_sizes = measure_pixel_sizes("EPSG:4326", transform, classes.shape)
    old, new, change = changed(classes, Length(11.0, False), pixel_sizes=pixel_sizes, transform=transform)
    assert not change.in_pixels
    assert 5 < change.moved <= 11.0
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", "+proj=laea +lat_0=60 +lon_0=-100", always_xy=True)
    before, after = (
        shapely.transform(p.geometries(), lambda xy: np.stack(to_metres.transform(*xy.T), axis=1))
        for p in (old, new)
    )
    moved = shapely.hausdorff_distance(shapely.boundary(before), shapely.boundary(after))
    assert 5 < moved.max() <= 11.0 * 1.005
    by_pixels = changed(classes, 1.0, pixel_sizes=pixel_sizes, transform=transform)[2]
    assert not by_pixels.in_pixels
    assert 5 < by_pixels.moved <= 11.2


def test_metres_without_a_crs_are_refused():
    with pytest.raises(SettingsError, match="2px"):
        changed(MAPS["noise"], Length(10.0, False))


def test_polygons_traced_without_junctions_are_refused():
    polygons = trace(MAPS["noise"])
    with pytest.raises(ValueError, match="without junctions"):
        change_borders(polygons, BorderOptions(Length(1.0, True)))


def test_a_map_without_polygons():
    _, new, change = changed(np.full((4, 5), 255, np.uint8), 2.0, 1)
    assert (len(new), change.vertices, change.moved) == (0, 0, 0)


def test_some_rows_taken_from_the_changed_ones():
    _, new, _ = changed(MAPS["noise"], 2.0)
    everything = new.geometries()
    chosen = np.arange(len(new))[::-3]
    assert shapely.equals_exact(new.take(chosen).geometries(), everything[chosen]).all()
