"""Reading blocks: strips, what is wanted of them, and their values normalised."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import RunError
from geoseg.grid import Grid, Window
from geoseg.inference.reading import BlockReaders, Normalisation, strips_of
from geoseg.models.card import ModelBand
from geoseg.models.transforms import parse_transforms

GRID = Grid((100, 70), 16, 4)
UNIT = Normalisation(np.zeros(1, np.float32), np.ones(1, np.float32))


class Source:
    """A value for every pixel; remembers what was read by which thread, and waits where it is told to."""

    def __init__(self, wait_from=None, broken_from=None):
        self.seen, self.threads = [], {}
        self.wait_from, self.broken_from = wait_from, broken_from
        self.began, self.go = threading.Event(), threading.Event()

    def read_rows(self, window):
        self.began.set()
        if self.wait_from is not None and window.row >= self.wait_from:
            assert self.go.wait(20)
        if self.broken_from is not None and window.row >= self.broken_from:
            raise RunError("the file is damaged")
        self.seen.append(window)
        self.threads.setdefault(window.row, set()).add(threading.get_ident())
        rows, cols = np.indices(window.shape)
        values = ((rows + window.row) * 1000.0 + cols + window.col).astype(np.float32)[None]
        yield slice(0, window.height), values, rows >= 0


def whole_block():
    (block,) = GRID.blocks(1000)
    return block


def readers(source, *, area=None, rows=20, threads=2):
    return BlockReaders(source, UNIT, area=area, strip_rows=rows, threads=threads)


@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 200))
def test_strips_tile_a_window_and_end_at_multiples(row, height, rows):
    window = Window(row, 5, height, 7)
    strips = strips_of(window, rows)
    assert (strips[0].row, strips[-1].row_stop) == (row, window.row_stop)
    for upper, lower in pairwise(strips):
        assert upper.row_stop == lower.row
        assert lower.row % rows == 0
    assert all(strip.height <= rows and (strip.col, strip.width) == (5, 7) for strip in strips)


def test_a_block_is_read_whole_and_every_row_once():
    source = Source()
    reading = readers(source).begin(whole_block())
    assert len(list(reading.chips(list(GRID.chips(whole_block()))))) == GRID.counts[0] * GRID.counts[1]
    rows, cols = np.indices(GRID.shape)
    assert np.array_equal(reading.pixels.values[0], rows * 1000.0 + cols)
    assert sorted(window.row for window in source.seen) == [0, 20, 40, 60, 80]
    assert reading.tally.read > 0


def test_the_calling_thread_reads_the_same():
    here, there = readers(Source()).read(whole_block()), readers(Source()).begin(whole_block())
    chips = list(GRID.chips(whole_block()))
    assert list(here.chips(chips)) == list(there.chips(chips)) == chips
    assert np.array_equal(here.pixels.values, there.pixels.values)


def test_chips_come_as_soon_as_their_rows_are_there():
    source = Source(wait_from=40)
    chips = list(GRID.chips(whole_block()))
    coming = readers(source).begin(whole_block()).chips(chips)
    early = [chip for chip in chips if chip.window.row_stop <= 40]
    assert [next(coming) for _ in early] == early
    assert {window.row for window in source.seen} == {0, 20}
    source.go.set()
    assert list(coming) == chips[len(early) :]


def test_rows_stay_with_a_thread():
    source = Source()
    both = readers(source)
    for block in GRID.blocks(36):
        list(both.begin(block).chips(list(GRID.chips(block))))
    both.close()
    by_strip = {}
    for row, threads in source.threads.items():
        by_strip.setdefault(row // 20, set()).update(threads)
    assert all(len(threads) == 1 for threads in by_strip.values())
    assert len(set().union(*by_strip.values())) == 2


def test_closing_waits_for_what_is_read_and_begins_nothing():
    source = Source(wait_from=0)
    both = readers(source)
    both.begin(whole_block())
    assert source.began.wait(20)
    closing = threading.Thread(target=both.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive(), "a strip is being read"
    source.go.set()
    closing.join(20)
    assert not closing.is_alive()
    assert {window.row for window in source.seen} <= {0, 20}, "one strip in each thread, and none after it"


def test_nothing_is_read_where_nothing_is_to_be_mapped():
    source = Source()
    block = whole_block()
    reading = readers(source, area=lambda window: np.zeros(window.shape, bool)).begin(block)
    assert list(reading.chips(list(GRID.chips(block)))) == []
    assert source.seen == []


def test_only_chips_with_a_pixel_of_the_area_come():
    block = whole_block()
    wanted = np.zeros(GRID.shape, bool)
    wanted[50, 30] = True
    reading = readers(Source(), area=lambda window: wanted[window.slices()].copy()).begin(block)
    chips = list(reading.chips(list(GRID.chips(block))))
    assert chips
    assert all(chip.window.intersection(Window(50, 30, 1, 1)) for chip in chips)


@pytest.mark.parametrize("rows", [0, 20, 80])
def test_a_strip_that_cannot_be_read_is_told(rows):
    reading = readers(Source(broken_from=rows)).begin(whole_block())
    with pytest.raises(RunError, match="damaged"):
        list(reading.chips(list(GRID.chips(whole_block()))))


def test_rows_that_no_chip_waits_for_are_told_of_too():
    source = Source(broken_from=80)
    reading = readers(source).begin(whole_block())
    with pytest.raises(RunError, match="damaged"):
        list(reading.chips(list(GRID.chips(whole_block()))[:1]))


MEANS, STDS = np.array([0.5, -2], np.float32), np.array([0.25, 8], np.float32)


@pytest.fixture
def window():
    """Values of two bands, one of them NaN where a pixel is valid; and a mask. 150 rows: more than one part."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 150, 40)).astype(np.float32)
    values[0, rng.random((150, 40)) < 0.2] = np.nan
    return values, rng.random((150, 40)) < 0.8


@pytest.mark.parametrize("has_place", [True, False])
def test_every_pixel_by_the_numbers_of_its_band(window, has_place):
    values, valid = window
    expected = (values.astype(float) - MEANS[:, None, None]) / STDS[:, None, None]
    expected[:, ~valid] = 0
    expected[np.isnan(expected)] = 0
    place = np.full_like(values, 7) if has_place else None
    result = Normalisation(MEANS, STDS).apply(values, valid, place)
    assert result is (place if has_place else values)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_pixel_that_one_band_lacks_keeps_the_others(window):
    values, valid = window
    alone = np.isnan(values[0]) & valid
    assert alone.any()
    result = Normalisation(MEANS, STDS).apply(values, valid)
    assert not result[0, alone].any()
    assert result[1, alone].all()


def test_transforms_come_before_mean_and_std_and_invalid_pixels_are_0_after():
    chain = parse_transforms("scale=2,offset=1")
    normalisation = Normalisation.of([ModelBand("a", 3, 2, 0, 1, chain), ModelBand("b", 1, 4, 0, 1)])
    values = np.array([[[1.0, np.nan, 7.0]], [[5.0, 9.0, 7.0]]], np.float32)
    result = normalisation.apply(values, np.array([[True, True, False]]))
    np.testing.assert_array_equal(result, [[[0, 0, 0]], [[1, 2, 0]]])
    assert Normalisation.of([ModelBand("b", 1, 4, 0, 1)]).transforms == ()
