"""What the formats of the web promise: GeoJSON text sequences and PMTiles."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio.warp
import shapely
from affine import Affine

from geoseg.errors import OutputError, SettingsError
from geoseg.polygons.writers.earth import lonlat_bounds, zoom_range
from geoseg.polygons.writers.writing import check_target, write_polygons
from tests.polygons.conftest import write_raster
from tests.polygons.helpers import trace_files


@pytest.fixture
def table(small_map):
    return trace_files(small_map.class_map, **small_map.rasters)


def rows_of(table):
    rows = [row for batch in table.batches() for row in batch.to_pylist()]
    for row in rows:
        row["date"] = row["date"] and row["date"].isoformat()
    return rows


def features(path):
    """The features, read as the two standards say, without GDAL."""
    texts = path.read_bytes()
    if path.suffix == ".geojsons":
        assert texts.startswith(b"\x1e")
        texts = texts.replace(b"\x1e", b"")
    assert texts.endswith(b"\n")
    assert b"\x1e" not in texts
    return [json.loads(line) for line in texts.splitlines()]


def as_lonlat(shapes, crs="EPSG:32614"):
    to = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return shapely.transform(shapes, to.transform, interleaved=False)


@pytest.mark.parametrize("suffix", [".geojsonl", ".geojsons"])
def test_a_sequence_holds_every_row_in_order(table, tmp_path, suffix):
    write_polygons(table, tmp_path / f"out{suffix}")
    found, expected = features(tmp_path / f"out{suffix}"), rows_of(table)
    assert {feature["type"] for feature in found} == {"Feature"}
    shapes = shapely.from_wkb([row.pop("geometry") for row in expected])
    said = [feature["properties"] for feature in found]
    for name in expected[0]:
        values, meant = ([row[name] for row in rows] for rows in (said, expected))
        # GDAL writes 15 digits where what follows looks like noise.
        assert values == (pytest.approx(meant, rel=1e-14) if isinstance(meant[0], float) else meant), name
    assert [list(feature["properties"]) for feature in found] == [list(row) for row in expected]
    theirs = np.array([shapely.geometry.shape(feature["geometry"]) for feature in found])
    assert shapely.equals_exact(theirs, as_lonlat(shapes), tolerance=0.75e-7).all()
    assert shapely.coverage_is_valid(theirs)
    outer, inner = shapely.get_exterior_ring(theirs), [r for p in theirs for r in p.interiors]
    assert shapely.is_ccw(outer).all()
    assert inner
    assert not shapely.is_ccw(inner).any()


def test_a_sequence_has_seven_decimals_and_none_that_say_nothing(table, tmp_path):
    write_polygons(table, tmp_path / "out.geojsonl")
    numbers = [
        str(value)
        for feature in features(tmp_path / "out.geojsonl")
        for ring in feature["geometry"]["coordinates"]
        for point in ring
        for value in point
    ]
    assert max(len(number.partition(".")[2]) for number in numbers) == 7


def test_a_south_up_map_has_the_winding_of_the_standard(tmp_path):
    up = Affine(10, 0, 500_000, 0, 10, 5_200_000)
    classes = write_raster(
        tmp_path / "a.tif", np.array([[1, 1, 1], [1, 2, 1], [1, 1, 1]], np.uint8), transform=up
    )
    write_polygons(trace_files(classes), tmp_path / "out.geojsonl")
    for feature in features(tmp_path / "out.geojsonl"):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.exterior.is_ccw
        assert not any(ring.is_ccw for ring in shape.interiors)


def test_a_sequence_without_rows_is_empty(table, tmp_path):
    write_polygons(table.take(np.zeros(len(table), bool)), tmp_path / "out.geojsons")
    assert (tmp_path / "out.geojsons").read_bytes() == b""


def across_the_antimeridian(tmp_path):
    place = Affine(10_000, 0, 700_000, 0, -10_000, 50_000)  # UTM 60 ends at 180 degrees, about x = 833,000
    return write_raster(tmp_path / "a.tif", np.full((2, 30), 1, np.uint8), crs="EPSG:32660", transform=place)


def test_a_sequence_cuts_polygons_at_the_antimeridian(tmp_path):
    table = trace_files(across_the_antimeridian(tmp_path))
    write_polygons(table, tmp_path / "out.geojsonl")
    (feature,) = features(tmp_path / "out.geojsonl")
    shape = shapely.geometry.shape(feature["geometry"])
    assert shape.geom_type == "MultiPolygon"
    west, east = sorted(part.bounds for part in shape.geoms)
    assert (west[0], east[2]) == (-180.0, 180.0)
    assert west[2] - west[0] + east[2] - east[0] < 3


def ring_and_hole(tmp_path, crs, west, step):
    """A ring of class 1 around class 2, 8 x 8 pixels, whose columns 3 and 4 meet at ``west + 4 * step``."""
    ids = np.ones((8, 8), np.uint8)
    ids[2:6, 2:6] = 2
    return write_raster(
        tmp_path / "a.tif", ids, crs=crs, transform=Affine(step, 0, west, 0, -step, 54 * step)
    )


@pytest.mark.parametrize(
    ("crs", "west", "step"),
    [
        ("EPSG:4326", 176, 1),  # both ways of writing it
        ("EPSG:4326", -184, 1),
        ("EPSG:4326", 536, 1),
        ("EPSG:4269", 176, 1),  # GDAL would refuse these degrees
    ],
)
def test_degrees_beyond_180_are_brought_back_and_cut(tmp_path, crs, west, step):
    table = trace_files(ring_and_hole(tmp_path, crs, west, step))
    write_polygons(table, tmp_path / "out.geojsonl")
    found = features(tmp_path / "out.geojsonl")
    assert [feature["properties"]["id"] for feature in found] == ["r0c0", "r2c2"]
    for feature, area, reach in zip(found, (48, 16), (4, 2), strict=True):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert shape.area == pytest.approx(area, rel=1e-5)
        left, right = sorted(part.bounds for part in shape.geoms)
        assert (left[0], left[2]) == pytest.approx((-180, -180 + reach), abs=1e-5)
        assert (right[0], right[2]) == pytest.approx((180 - reach, 180), abs=1e-5)
        assert all(part.exterior.is_ccw for part in shape.geoms)


def test_grads_from_paris_are_cut_where_longitudes_from_greenwich_are_180(tmp_path):
    zero = 200 - 2.5969213  # grads from Paris of the antimeridian
    table = trace_files(ring_and_hole(tmp_path, "EPSG:4807", zero - 4, 1))
    write_polygons(table, tmp_path / "out.geojsonl")
    for feature in features(tmp_path / "out.geojsonl"):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.geom_type == "MultiPolygon"
        assert shape.bounds[0] < -179.99
        assert shape.bounds[2] > 179.99


def test_degrees_that_end_at_180_up_to_rounding_are_not_cut(tmp_path):
    step = 0.1
    table = trace_files(ring_and_hole(tmp_path, "EPSG:4326", 180 - 8 * step + 1e-13, step))
    write_polygons(table, tmp_path / "out.geojsonl")
    for feature in features(tmp_path / "out.geojsonl"):
        assert feature["geometry"]["type"] == "Polygon"


def test_a_pixel_at_180_degrees_of_a_projection_keeps_its_area(tmp_path):
    place = Affine(100, 0, 20_036_900, 0, -100, 6_000_000)  # 180 degrees are at x = 20,037,508.3
    ids = np.arange(20 * 24).reshape(24, 20) % 3 + 1
    path = write_raster(tmp_path / "a.tif", ids.astype(np.uint8), crs="EPSG:3857", transform=place)
    assert_areas_on_the_ground(trace_files(path), tmp_path)


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3031"])
@pytest.mark.parametrize("off", [0, 30])
def test_polygons_around_and_beside_a_pole_keep_their_areas(tmp_path, crs, off):
    ids = np.ones((20, 20), np.uint8)
    ids[6:14, 6:14], ids[8:12, 8:12], ids[10:12, 10:] = (
        2,
        3,
        4,
    )  # rings around the pole, and a strip beside it
    place = Affine(100, 0, off - 1000, 0, -100, 1000 + off)
    table = trace_files(write_raster(tmp_path / "a.tif", ids, crs=crs, transform=place))
    assert_areas_on_the_ground(table, tmp_path)


def assert_areas_on_the_ground(table, folder):
    write_polygons(table, folder / "out.geojsonl")
    found, geod = features(folder / "out.geojsonl"), pyproj.Geod(ellps="WGS84")
    assert len(found) == len(table)
    for feature in found:
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert -180 <= shape.bounds[0] <= shape.bounds[2] <= 180
        area = abs(geod.geometry_area_perimeter(shape)[0]) / 10_000
        assert area == pytest.approx(feature["properties"]["area_ha"], rel=1e-3)


@pytest.mark.parametrize("west", [176, -184])
def test_tiles_on_both_sides_of_the_antimeridian_hold_what_crosses_it(tmp_path, west):
    path = tmp_path / "out.pmtiles"
    write_polygons(trace_files(ring_and_hole(tmp_path, "EPSG:4326", west, 1)), path)
    _, found = pyogrio.read_arrow(path, layer="polygons")  # the most detailed level
    shapes = shapely.from_wkb(found.column("wkb_geometry").to_pylist())
    to = pyproj.Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True)
    shapes = shapely.transform(shapes, to.transform, interleaved=False)
    ids = np.array(found.column("id").to_pylist())
    for one, reach, area in (("r0c0", 4, 48), ("r2c2", 2, 16)):
        joined = shapely.union_all(shapely.make_valid(shapes[ids == one]))
        assert joined.area == pytest.approx(area, rel=0.02)
        bounds = np.array([part.bounds for part in shapely.get_parts(joined)])
        assert bounds[:, 0].min() < -180 + reach < bounds[:, 2].max()
        assert bounds[bounds[:, 0] > 0, 0].min() == pytest.approx(180 - reach, abs=0.05)
    header = pyogrio.read_info(path, layer="polygons")
    assert header["total_bounds"] is not None


def test_another_planet_is_refused_before_any_work(tmp_path):
    with pytest.raises(OutputError, match="needs a map whose CRS ties it to the Earth"):
        check_target(tmp_path / "out.geojsonl", "+proj=longlat +R=3396190 +no_defs")


def test_tiles_hold_every_polygon_with_its_attributes(table, tmp_path):
    path = tmp_path / "out.pmtiles"
    write_polygons(table, path)
    assert pyogrio.list_layers(path).tolist() == [["polygons", "MultiPolygon"]]
    _, found = pyogrio.read_arrow(path, layer="polygons")  # the most detailed level
    pieces = {}
    for row in found.to_pylist():
        row.pop("mvt_id")
        shape = shapely.from_wkb(row.pop("wkb_geometry"))
        pieces.setdefault(row["id"], (row, []))[1].append(shape)
    expected = rows_of(table)
    shapes = {row["id"]: shapely.from_wkb(row.pop("geometry")) for row in expected}
    assert {i: row for i, (row, _) in pieces.items()} == {row["id"]: row for row in expected}
    to = pyproj.Transformer.from_crs("EPSG:32614", "EPSG:3857", always_xy=True)
    for i, shape in shapes.items():
        drawn = shapely.union_all(shapely.make_valid(np.array(pieces[i][1])))
        meant = shapely.transform(shape, to.transform, interleaved=False)
        # A pixel is 14.6 of these metres wide, and a tile has a step for every eighth or less of it.
        assert shapely.hausdorff_distance(drawn, meant) < 2.0
        assert drawn.area == pytest.approx(meant.area, rel=0.15)


def test_tiles_say_where_they_come_from(table, tmp_path):
    write_polygons(table, tmp_path / "out.pmtiles")
    said = pyogrio.read_info(tmp_path / "out.pmtiles", layer="polygons")["dataset_metadata"]
    assert said["name"] == "polygons"
    assert json.loads(said["description"]) == dict(table.provenance)
    assert (int(said["minzoom"]), int(said["maxzoom"])) == zoom_range(table)


def table_of(tmp_path, shape=(1, 1), crs="EPSG:3857", transform=None):
    """Polygons of a map of one class; without ``shape`` rows and columns cost nothing."""
    path = tmp_path / "place.tif"
    path.unlink(missing_ok=True)
    write_raster(path, np.ones((2, 2), np.uint8), crs=crs, transform=transform)
    table = trace_files(path)
    return replace(table, polygons=replace(table.polygons, shape=shape))


@pytest.mark.parametrize(
    ("pixels", "size"), [(512, 10.0), (4096, 10.0), (100_000, 30.0), (64, 0.1), (7, 5000.0)]
)
def test_zoom_levels_fit_the_map(tmp_path, pixels, size):
    table = table_of(tmp_path, (pixels, pixels // 2), transform=Affine(size, 0, 0, 0, -size, 0))
    lowest, highest = zoom_range(table)
    world = 2 * math.pi * 6_378_137
    tile, step = world / 2**lowest, world / 2**highest / 4096
    assert pixels * size <= tile < 2 * pixels * size or lowest == highest
    assert size / 16 < step <= size / 8


def test_zoom_levels_count_mercators_stretching(tmp_path):
    at = {}
    for crs, north in (("EPSG:32614", 0), ("EPSG:32614", 6_654_000)):  # the equator, and 60 degrees north
        place = Affine(20, 0, 500_000, 0, -20, north)
        at[north] = zoom_range(table_of(tmp_path, (4000, 4000), crs, place))
    assert [level - 1 for level in at[0]] == list(at[6_654_000])


def test_zoom_levels_stay_in_their_range(tmp_path):
    whole_earth = table_of(tmp_path, (180, 360), "EPSG:4326", Affine(1, 0, -180, 0, -1, 90))
    assert zoom_range(whole_earth) == (0, 0)
    assert zoom_range(table_of(tmp_path, (9, 9), transform=Affine(1e-4, 0, 0, 0, -1e-4, 0))) == (22, 22)
    rotated = table_of(tmp_path, (512, 512), transform=Affine(0, 10, 0, 10, 0, 0))
    assert zoom_range(rotated) == zoom_range(
        table_of(tmp_path, (512, 512), transform=Affine(10, 0, 0, 0, 10, 0))
    )


def test_bounds_are_those_of_the_raster(table, small_map):
    with rasterio.open(small_map.class_map) as file:
        expected = rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    assert lonlat_bounds(table) == pytest.approx(expected, abs=1e-9)


def test_tiles_are_refused_where_they_cannot_be_drawn(table, tmp_path):
    with pytest.raises(SettingsError, match="no polygon is left to draw"):
        write_polygons(table.take(np.zeros(len(table), bool)), tmp_path / "out.pmtiles")
    assert not list(tmp_path.glob("*out*"))
