"""The streamed COG: whatever comes in, in whatever pieces, GDAL reads it back, and the bytes are the same."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.errors import RunError
from geoseg.grid import Window
from geoseg.maps.cog import cog, pyramid
from geoseg.maps.cog.cog import StreamedCog
from geoseg.maps.cog.pyramid import HALVE, Pyramid
from tests.maps.cogs import assert_valid_cog, describe, pieces, read_level, smaller, stream

EASY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = st.one_of(st.integers(1, 40), st.integers(500, 530), st.sampled_from([1024, 1025, 1300]))


def some_pixels(shape, bands, seed, *, holes=True):
    """Patches of a few values; some windows are nodata altogether."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 7, (bands, -(-shape[0] // 9), -(-shape[1] // 9)), np.uint8)
    pixels = coarse.repeat(9, 1).repeat(9, 2)[:, : shape[0], : shape[1]].copy()
    pixels[rng.random(pixels.shape) < 0.1] = 100
    if holes:
        pixels[:, : shape[0] // 2, shape[1] // 3 :] = 255
    return pixels


@EASY
@given(rows=SIZES, cols=SIZES, bands=st.integers(1, 3), seed=st.integers(0, 99), data=st.data())
def test_gdal_reads_what_was_written_in_any_pieces(rows, cols, bands, seed, data, tmp_path):
    pixels = some_pixels((rows, cols), bands, seed)
    step = data.draw(st.tuples(st.integers(max(1, rows // 4), 600), st.integers(max(1, cols // 4), 600)))
    windows = data.draw(st.permutations(pieces((rows, cols), step)))
    path = stream(tmp_path / "map.tif", pixels, windows)
    with rasterio.open(path) as raster:
        assert raster.shape == (rows, cols)
        assert raster.nodata == 255
        assert np.array_equal(raster.read(), pixels)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        levels = len(raster.overviews(1))
        assert levels == len(pyramid.shapes((rows, cols), pyramid.TILE)) - 1
    expected = pixels
    for level in range(levels):
        expected = smaller(expected, HALVE["AVERAGE"])
        assert np.array_equal(read_level(path, level), expected)


@EASY
@given(seed=st.integers(0, 99), step=st.integers(130, 900), backwards=st.booleans())
def test_bytes_do_not_depend_on_the_pieces(seed, step, backwards, tmp_path):
    pixels = some_pixels((1100, 700), 2, seed)
    whole = stream(tmp_path / "a.tif", pixels, [Window(0, 0, 1100, 700)])
    windows = pieces((1100, 700), (step, step // 2))[:: -1 if backwards else 1]
    assert stream(tmp_path / "b.tif", pixels, windows).read_bytes() == whole.read_bytes()


def test_what_never_comes_is_nodata_like_what_came_as_nodata(tmp_path):
    pixels = some_pixels((1500, 1100), 1, 3)
    pixels[:, 600:] = 255
    written = stream(tmp_path / "a.tif", pixels, pieces((1500, 1100), (512, 512)))
    left_out = stream(tmp_path / "b.tif", pixels, pieces((600, 1100), (250, 512)))
    assert left_out.read_bytes() == written.read_bytes()


@pytest.mark.parametrize("limit", [0, 2**32])
@pytest.mark.parametrize("bands", [1, 3])
def test_classic_and_big_tiffs_are_valid_cogs(limit, bands, tmp_path, monkeypatch):
    monkeypatch.setattr(cog, "CLASSIC_LIMIT", limit)
    pixels = some_pixels((1300, 2100), bands, 1)
    path = stream(tmp_path / "map.tif", pixels, pieces((1300, 2100), (700, 900)))
    assert path.read_bytes()[:4] == (b"II\x2b\0" if limit == 0 else b"II\x2a\0")
    with rasterio.open(path) as raster:
        assert np.array_equal(raster.read(), pixels)
        assert raster.tags()["MADE_BY"] == "a test"
        assert raster.overviews(1) == [2, 4, 8]
    assert np.array_equal(read_level(path, 0), smaller(pixels, HALVE["AVERAGE"]))
    assert_valid_cog(path)


def test_the_file_just_below_the_limit_is_classic(tmp_path, monkeypatch):
    pixels = some_pixels((600, 600), 1, 1)
    size = len(stream(tmp_path / "a.tif", pixels, pieces((600, 600), (600, 600))).read_bytes())
    for limit, magic in ((size, 42), (size - 1, 43)):
        monkeypatch.setattr(cog, "CLASSIC_LIMIT", limit)
        path = stream(tmp_path / "b.tif", pixels, pieces((600, 600), (600, 600)))
        assert path.read_bytes()[2] == magic


def test_tiles_stand_between_their_size_and_their_last_bytes(tmp_path):
    """GDAL tells readers so in the text after the header, and they read both with one request."""
    path = stream(tmp_path / "map.tif", some_pixels((700, 1300), 1, 2), pieces((700, 1300), (512, 512)))
    data = path.read_bytes()
    assert b"BLOCK_LEADER=SIZE_AS_UINT4\nBLOCK_TRAILER=LAST_4_BYTES_REPEATED\n" in data[:300]
    places = [place for level in (None, 0, 1) for place in tile_places(path, level)]
    assert len(places) == 6 + 2 + 1
    for offset, size in places:
        assert int.from_bytes(data[offset - 4 : offset], "little") == size
        assert data[offset + size : offset + size + 4] == data[offset + size - 4 : offset + size]
    ends = sorted((offset + size + 4, offset - 4) for offset, size in places)
    assert all(end == start for (end, _), (_, start) in pairwise(ends))  # no gaps
    assert ends[-1][0] == len(data)
    full = [offset for offset, _ in tile_places(path, None)]
    assert full == sorted(full)
    assert full[0] > max(offset for level in (0, 1) for offset, _ in tile_places(path, level))


def tile_places(path, level):
    """(offset, bytes) of the tiles of a level, as GDAL tells."""
    options = {} if level is None else {"overview_level": level}
    with rasterio.open(path, **options) as raster:
        rows, cols = (-(-n // 512) for n in raster.shape)
        keys = [f"{col}_{row}" for row in range(rows) for col in range(cols)]
        found = [
            [raster.get_tag_item(f"BLOCK_{what}_{key}", "TIFF", bidx=1) for what in ("OFFSET", "SIZE")]
            for key in keys
        ]
    return [(int(offset), int(size)) for offset, size in found]


def test_empty_tiles_are_tiny(tmp_path):
    path = stream(tmp_path / "map.tif", np.full((1, 5000, 5000), 255, np.uint8), [])
    assert path.stat().st_size < 60_000


def test_only_tiles_that_are_incomplete_are_held():
    wide = Pyramid((2048, 4096), 1, HALVE["MODE"])
    most = 0
    for window in pieces((2048, 4096), (448, 448)):
        list(wide.add(window, np.zeros((1, *window.shape), np.uint8)))
        most = max(most, sum(tile.pixels.nbytes for tile in wide._open.values()))
    # Two rows of tiles of the first level are open at once, and one of each other.
    assert most <= (2 * 8 + 4 + 2 + 1) * 512 * 512


def test_a_pixel_that_comes_twice_is_refused():
    twice = Pyramid((600, 600), 1, HALVE["MODE"])
    tile = Window(0, 0, 512, 512)
    list(twice.add(tile, np.zeros((1, 512, 512), np.uint8)))
    with pytest.raises(RunError, match="written twice"):
        list(twice.add(tile, np.zeros((1, 512, 512), np.uint8)))


def test_closing_early_leaves_neither_thread_nor_file(tmp_path):
    before = threading.active_count()
    made = StreamedCog(
        (900, 900),
        1,
        halve=HALVE["MODE"],
        level=1,
        spool=tmp_path / "tiles",
        describe=describe,
        describe_overview=describe,
    )
    made.write(Window(0, 0, 600, 900), np.zeros((1, 600, 900), np.uint8))
    made.close()
    made.close()
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before


def test_the_caller_waits_rather_than_pile_up_windows(tmp_path, monkeypatch):
    go = threading.Event()
    keep = StreamedCog._keep
    monkeypatch.setattr(StreamedCog, "_keep", lambda self, tiles: (go.wait(20), keep(self, tiles)))
    pixels = some_pixels((1000, 100), 1, 0)
    done = []
    writing = threading.Thread(
        target=lambda: stream(tmp_path / "map.tif", pixels, pieces((1000, 100), (100, 100)), done)
    )
    writing.start()
    while len(done) < 2:
        pass
    writing.join(0.2)
    assert len(done) == 2
    go.set()
    writing.join()
    assert len(done) == 10
