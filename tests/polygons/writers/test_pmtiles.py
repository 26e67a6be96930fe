"""Vector tiles and their archive, read as the two specifications say."""

from __future__ import annotations

import gzip
import struct
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pmtiles.reader import MmapSource, Reader, all_tiles
from pmtiles.tile import Compression, TileType, tileid_to_zxy

from geoseg.polygons.table import rows
from geoseg.polygons.table.wkb import binary_values
from geoseg.polygons.writers.earth import MERCATOR_SIDE, zoom_range
from geoseg.polygons.writers.pmtiles import writer
from geoseg.polygons.writers.pmtiles.pieces import CELL, TilePolygons, without_small
from geoseg.polygons.writers.pmtiles.vector_tile import encode_shapes, encode_tile, varints
from geoseg.polygons.writers.writing import write_polygons
from tests.polygons.conftest import write_raster
from tests.polygons.helpers import noise, trace, trace_files


def read_varints(content: bytes) -> list[int]:
    values, value, shift = [], 0, 0
    for byte in content:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    assert shift == 0
    return values


def fields(content: bytes) -> list[tuple[int, object]]:
    """Field numbers and values of a message of protocol buffers."""
    found, at = [], 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(content):
        key = number()
        if key & 7 == 0:
            value = number()
        elif key & 7 == 1:
            value = content[at : at + 8]
            at += 8
        else:
            assert key & 7 == 2
            size = number()
            value = content[at : at + size]
            at += size
        found.append((key >> 3, value))
    return found


@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 300), max_size=30))
def test_varints(values):
    ends, written = varints(np.array(values, np.int64))
    parts = [written[a:b].tobytes() for a, b in pairwise(ends)]
    assert [read_varints(part) for part in parts] == [[value] for value in values]
    assert ends[-1] == written.size


def pen(commands: list[int]) -> list[list[tuple[int, int]]]:
    """The rings that the commands of a polygon draw."""
    rings, at, (x, y) = [], 0, (0, 0)
    while at < len(commands):
        kind, count = commands[at] & 7, commands[at] >> 3
        at += 1
        if kind == 7:
            assert count == 1
            continue
        if kind == 1:
            assert count == 1
            rings.append([])
        for _ in range(count):
            dx, dy = ((n >> 1) ^ -(n & 1) for n in commands[at : at + 2])
            at, x, y = at + 2, x + dx, y + dy
            rings[-1].append((x, y))
    return rings


def test_shapes_are_drawn_as_they_are():
    rings = [
        [(-80, -80), (4176, -80), (4176, 4176), (-80, 4176)],
        [(5, 5), (5, 9), (9, 9)],
        [(7, 7), (9000, 7), (7, 8)],
    ]
    points = np.array([point for ring in rings for point in ring], np.int64)
    ends, written = encode_shapes(points, np.array([0, 4, 7, 10]), np.array([0, 2, 3]))
    drawn = [pen(read_varints(written[a:b].tobytes())) for a, b in pairwise(ends)]
    assert drawn == [rings[:2], rings[2:]]


def test_a_tile_holds_attributes_of_every_kind():
    columns = pa.table(
        {
            "name": ["a", None, "ö" * 200],
            "number": pa.array([-3, 2**40, -3], pa.int64()),
            "real": pa.array([0.1, None, None], pa.float64()),
            "sure": [True, False, True],
        }
    )
    points = np.array([(0, 0), (1, 0), (1, 1)] * 3, np.int64)
    shapes = binary_values(*encode_shapes(points, np.arange(0, 10, 3), np.arange(4)))
    ((number, layer),) = fields(encode_tile("fields", columns, shapes))
    assert number == 3
    parts = fields(layer)
    keys, values, found = ([v for n, v in parts if n == field] for field in (3, 4, 2))
    assert [v for n, v in parts if n == 1] == [b"fields"]
    assert dict(parts)[5] == 4096
    assert dict(parts)[15] == 2

    def meaning(value):
        ((kind, content),) = fields(value)
        read = {
            1: lambda v: v.decode(),
            3: lambda v: struct.unpack("<d", v)[0],
            6: lambda v: (v >> 1) ^ -(v & 1),
            7: bool,
        }
        return read[kind](content)

    rows_found = []
    for feature in found:
        content = dict(fields(feature))
        assert content[3] == 3
        assert len(pen(read_varints(content[4]))) == 1
        tags = read_varints(content[2])
        pairs = zip(tags[::2], tags[1::2], strict=True)
        rows_found.append({keys[key].decode(): meaning(values[value]) for key, value in pairs})
    wanted = [{k: v for k, v in row.items() if v is not None} for row in columns.to_pylist()]
    assert rows_found == wanted
    assert len(values) == len(set(values))


@pytest.mark.parametrize("count", [1, 300, 30_000])
def test_every_tile_is_found(tmp_path, count):
    random = np.random.default_rng(count)
    ids = np.sort(random.choice(10**7, count, replace=False)).tolist()
    tiles = {number: random.bytes(random.integers(8, 40)) for number in ids}
    path = tmp_path / "a.pmtiles"
    writer.write_archive(path, tiles.items(), (-99.5, 46.0, -98.25, 47.5), {"name": "x"})
    with path.open("rb") as file:
        reader = Reader(MmapSource(file))
        assert reader.metadata() == {"name": "x"}
        for number in ids[:: -(-count // 300)]:  # every look reads a directory anew
            assert reader.get(*tileid_to_zxy(number)) == tiles[number]
        every = dict(all_tiles(MmapSource(file)))
        assert every == {tileid_to_zxy(number): content for number, content in tiles.items()}
        header = reader.header()
    assert (header["min_zoom"], header["max_zoom"]) == (tileid_to_zxy(ids[0])[0], tileid_to_zxy(ids[-1])[0])
    assert (header["tile_type"], header["tile_compression"]) == (TileType.MVT, Compression.GZIP)
    assert (header["min_lon_e7"], header["max_lat_e7"]) == (-995_000_000, 475_000_000)
    assert (header["center_lon_e7"], header["center_lat_e7"]) == (-988_750_000, 467_500_000)


def drawn(path, zoom, transform, shape):
    """The classes on a raster, polygons drawn one over the other as they come."""
    _, found = pyogrio.read_arrow(path, layer="polygons", ZOOM_LEVEL=str(zoom))
    shapes = shapely.from_wkb(found["wkb_geometry"].to_pylist())
    pairs = list(zip(shapes, found["class_id"].to_pylist(), strict=True))
    return rasterio.features.rasterize(pairs, shape, fill=255, transform=transform, dtype="uint8"), found


@pytest.mark.parametrize(("sigma", "least"), [(6.0, 0.55), (1.5, 0.2)])
def test_every_zoom_level_shows_the_classes(tmp_path, monkeypatch, sigma, least):
    classes = noise((600, 500), sigma=sigma, seed=5)
    transform = Affine(10, 0, -500_000, 0, -10, 700_000)
    table = trace_files(write_raster(tmp_path / "a.tif", classes, crs="EPSG:3857", transform=transform))
    highest = zoom_range(table)[1]
    lowest = highest - 3
    monkeypatch.setattr(writer, "zoom_range", lambda _: (lowest, highest))
    write_polygons(table, path := tmp_path / "a.pmtiles")
    shares = np.bincount(classes.ravel(), minlength=4) / classes.size
    for zoom in range(lowest, highest + 1):
        picture, found = drawn(path, zoom, transform, classes.shape)
        seen = np.bincount(picture.ravel(), minlength=256)[:4] / classes.size
        assert seen.sum() > (0.999 if zoom == highest else 0.8)
        assert np.abs(seen / seen.sum() - shares).max() < 0.05
        agree = (picture == classes)[picture != 255].mean()
        assert agree > (0.99 if zoom == highest else least)
        if zoom == highest:
            assert len(set(found["id"].to_pylist())) == len(table)


def test_large_polygons_are_cut_without_gaps(tmp_path):
    """A comb as large as the map with islands: pieces in all tiles, each as large as it should be there."""
    classes = np.zeros((700, 900), np.uint8)
    classes[:-1, ::40] = 1
    classes[5::90, 20::40] = 2
    transform = Affine(10, 0, 0, 0, -10, 0)
    table = trace_files(write_raster(tmp_path / "a.tif", classes, crs="EPSG:3857", transform=transform))
    write_polygons(table, path := tmp_path / "a.pmtiles")
    highest = zoom_range(table)[1]
    _, found = pyogrio.read_arrow(path, layer="polygons")
    shapes = shapely.from_wkb(found["wkb_geometry"].to_pylist())
    assert shapely.is_valid(shapes).all()
    area = shapely.area(shapes).sum()
    assert area == pytest.approx(classes.size * 100, rel=2e-3)
    assert shapely.union_all(shapes).area == pytest.approx(area, rel=1e-4)
    step = MERCATOR_SIDE / 2**highest / 4096
    assert step <= 10 / 8
    with path.open("rb") as file:
        tiles = [tile for _, tile in all_tiles(MmapSource(file))]
    assert len(tiles) > 8
    for tile in tiles:
        layer = dict(fields(gzip.decompress(tile)))[3]
        for number, feature in fields(layer):
            if number == 2:
                rings = pen(read_varints(dict(fields(feature))[4]))
                points = np.concatenate(rings)
                assert points.min() >= -80
                assert points.max() <= 4096 + 80
                signs = [
                    sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(r, r[1:] + r[:1], strict=True))
                    for r in rings
                ]
                assert signs[0] > 0
                assert all(sign < 0 for sign in signs[1:])
                assert all(a != b for r in rings for a, b in zip(r, r[1:] + r[:1], strict=True))


def test_small_polygons_are_drawn_as_an_overview_would_show_them():
    """Noise on the grid of cells: every cell has the class of the pixel that its middle lies in."""
    classes = np.random.default_rng(3).integers(0, 250, (64, 64)).astype(np.uint8)
    polygons = trace(classes, transform=Affine(10, 0, 0, 0, 10, 0))
    found = TilePolygons(np.arange(len(polygons)), *polygons.coordinates())
    cells = without_small(found)
    assert len(cells.rows) == (640 // CELL) ** 2
    boxes = cells.boxes
    assert (boxes[:, 2:] - boxes[:, :2] == CELL).all()
    column, row = ((boxes[:, :2] + CELL / 2) // 10).astype(int).T
    assert (classes[row, column] == polygons.columns.class_ids[cells.rows]).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)


def test_cells_of_polygons_with_holes():
    """Middles in holes and in notches do not count; shapely says which do."""
    classes = np.random.default_rng(4).integers(0, 2, (160, 160)).astype(np.uint8)
    polygons = trace(classes, transform=Affine(4, 0, 0, 0, 4, 0))
    shapes = polygons.geometries()
    small = np.flatnonzero((shapely.area(shapes) < CELL**2) & (shapely.area(shapely.envelope(shapes)) > 400))
    assert shapely.get_num_interior_rings(shapes[small]).sum() > 20
    found = TilePolygons(np.arange(len(polygons)), *polygons.coordinates()).take(small)
    cells = without_small(found)
    middles = (np.stack(np.meshgrid(*[np.arange(20)] * 2), axis=-1).reshape(-1, 2) + 0.5) * CELL + 1e-6
    inside = shapely.contains_xy(shapes[small][:, None], middles[None, :, 0], middles[None, :, 1])
    shape, cell = np.nonzero(inside)
    wanted = sorted(zip(small[shape].tolist(), (middles[cell] - 1e-6 - CELL / 2).tolist(), strict=True))
    assert sorted(zip(cells.rows.tolist(), cells.boxes[:, :2].tolist(), strict=True)) == wanted
    assert len(wanted) > 20


def test_large_polygons_lose_small_holes_only():
    classes = np.zeros((60, 60), np.uint8)
    classes[10:13, 10:13] = 1  # 30 x 30 steps: smaller than a cell
    classes[30:34, 30:34] = 2
    polygons = trace(classes, transform=Affine(10, 0, 0, 0, 10, 0))
    drawn = without_small(TilePolygons(np.arange(3), *polygons.coordinates()))
    areas = dict(zip(drawn.rows.tolist(), shapely.area(drawn.as_geometries()).tolist(), strict=True))
    assert areas == {0: 600 * 600 - 1600, 1: CELL**2, 2: 1600}


def test_what_is_drawn_does_not_depend_on_batches(tmp_path, monkeypatch):
    classes = noise((300, 300), sigma=1.0)
    table = trace_files(write_raster(tmp_path / "a.tif", classes))
    write_polygons(table, tmp_path / "one.pmtiles")
    monkeypatch.setattr(rows, "BATCH_POLYGONS", 150)
    write_polygons(table, tmp_path / "two.pmtiles")
    assert (tmp_path / "one.pmtiles").read_bytes() == (tmp_path / "two.pmtiles").read_bytes()
