"""Single steps: cases with the answer written out, and settings that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import RunError, SettingsError
from geoseg.refine.holes import FillHoles
from geoseg.refine.step import RowFile
from geoseg.refine.survey import PatchSize
from geoseg.refine.windows import Close, Open, Smooth, over_squares
from tests.refine.arrays import refine_array
from tests.refine.test_contract import MAPS
from tests.refine.test_sieve import as_map
from tests.saying import Counting


def refine(step, *rows):
    return refine_array(as_map(*rows), [step])


def assert_map(found, *rows):
    np.testing.assert_array_equal(found, as_map(*rows))


class TestSmooth:
    def test_the_own_class_wins_a_tie(self):
        assert_map(refine(Smooth(3), "21", "12"), "21", "12")

    def test_else_the_lowest_class_does(self):
        assert_map(refine(Smooth(5), "11322"), "11122")

    def test_nodata_neither_votes_nor_changes(self):
        assert_map(refine(Smooth(3), "...", ".21", "..1"), "...", ".11", "..1")

    @pytest.mark.parametrize("size", [15, 17])
    def test_more_votes_than_a_byte_counts(self, size):
        classes = np.full((40, 40), 2, np.uint8)
        classes[18:23, 18:23] = 1  # in 17 x 17 pixels 25 votes against 264
        assert (refine_array(classes, [Smooth(size)]) == 2).all()


class TestOpen:
    def test_what_is_too_narrow_goes_to_what_is_around(self):
        found = refine(Open(2, 3), "1111111", "1222111", "1222221", "1222111", "1111111")
        assert_map(found, "1111111", "1222111", "1222111", "1222111", "1111111")

    def test_it_does_not_touch_what_ends_at_nodata_or_the_edge(self):
        assert_map(refine(Open(2, 3), "22.", "22."), "22.", "22.")
        assert_map(refine(Open(2, 3), "22111", "22111", "22111"), "22111", "22111", "22111")

    def test_probability_chooses_among_the_classes_around(self):
        classes = as_map("1113", "1213", "1113")
        probabilities = np.zeros((2, 3, 4), np.uint8)
        assert refine_array(classes, [Open(2, 3, (3, 9))], probabilities)[1, 1] == 1
        probabilities[1, 1, 1] = 200
        assert refine_array(classes, [Open(2, 3, (3, 9))], probabilities)[1, 1] == 1
        classes[0, 2] = 3
        probabilities[0, 1, 1] = 1
        assert refine_array(classes, [Open(2, 3, (3, 9))], probabilities)[1, 1] == 3
        probabilities[0, 1, 1] = 255
        assert refine_array(classes, [Open(2, 3, (3, 9))], probabilities)[1, 1] == 1

    def test_many_pixels_at_once(self, monkeypatch):
        monkeypatch.setattr("geoseg.refine.windows._PORTION", 3)
        classes = np.full((20, 20), 1, np.uint8)
        classes[::4] = 2
        assert (refine_array(classes, [Open(2, 3)])[1:-1] == 1).all()


class TestClose:
    def test_gaps_are_bridged(self):
        found = refine(Close(2, 3), "11111111", "12211221", "12211221", "12211221", "11111111")
        assert_map(found, "11111111", "12222221", "12222221", "12222221", "11111111")

    def test_nodata_stays_and_the_edge_is_no_part_of_the_class(self):
        assert_map(refine(Close(2, 3), "2.2", "212", "212"), "2.2", "222", "222")
        assert_map(refine(Close(2, 3), "221", "221", "221"), "221", "221", "221")


class TestFillHoles:
    def test_only_what_one_class_encloses(self):
        found = refine(FillHoles(PatchSize(4)), "111111", "121341", "111111", "133221", "111111")
        assert_map(found, "111111", "111111", "111111", "133221", "111111")

    def test_nodata_and_the_edge_are_no_enclosure(self):
        rows = ("1111", "12.1", "1111", "1211")
        assert_map(refine(FillHoles(PatchSize(9)), *rows), *rows)

    def test_size_is_of_the_whole_hole(self):
        rows = ("11111", "12341", "11111")
        assert_map(refine(FillHoles(PatchSize(3)), *rows), *rows)
        assert_map(refine(FillHoles(PatchSize(4)), *rows), "11111", "11111", "11111")

    def test_of_holes_in_holes_the_largest_counts(self):
        rows = ("1111111", "1222221", "1232121", "1222221", "1111111")
        assert_map(refine(FillHoles(PatchSize(15)), *rows), *["1111111"] * 5)
        smaller = refine(FillHoles(PatchSize(14)), *rows)
        assert_map(smaller, "1111111", "1222221", "1222221", "1222221", "1111111")

    def test_a_ring_around_an_island_that_stays_is_a_hole_too(self):
        rows = ("1111111", "1222221", "1211121", "1211121", "1222221", "1111111")
        assert_map(refine(FillHoles(PatchSize(15)), *rows), *["1111111"] * 6)

    @settings(max_examples=100, deadline=None)
    @given(classes=MAPS, least=st.integers(1, 20))
    def test_filled_holes_stay_filled(self, classes, least):
        step = FillHoles(PatchSize(least))
        filled = refine_array(classes, [step])
        np.testing.assert_array_equal(refine_array(filled, [step]), filled)


@pytest.mark.parametrize("make", [Smooth, lambda size: Open(1, size), lambda size: Close(1, size)])
@pytest.mark.parametrize("size", [-3, 0, 1, 2, 4, 257])
def test_windows_without_a_middle_are_refused(make, size):
    with pytest.raises(SettingsError, match=f"{size}: the window must be an odd number"):
        make(size)


@pytest.mark.parametrize("size", range(1, 12))
def test_squares_are_summed_whatever_their_side(size):
    pixels = np.random.default_rng(size).integers(0, 50, (13, 17))
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size))
    np.testing.assert_array_equal(over_squares(pixels, size, np.add), windows.sum((2, 3)))
    np.testing.assert_array_equal(over_squares(pixels > 9, size, np.logical_and), (windows > 9).all((2, 3)))


def test_steps_that_use_no_probabilities_do_not_read_them():
    from geoseg.refine.step import refine_map

    def never(_row, _height):
        raise AssertionError

    given = RowFile((4, 4))
    given.write(0, np.ones((4, 4), np.uint8))
    refine_map(given, [Smooth(3), Open(1, 3), FillHoles(PatchSize(3))], probabilities=never).close()


def test_progress_tells_of_every_pass():
    from geoseg.refine.step import refine_map

    progress = Counting()
    given = RowFile((10, 4))
    given.write(0, np.ones((10, 4), np.uint8))
    refine_map(given, [Smooth(3), FillHoles(PatchSize(3))], rows=3, progress=progress).close()
    once, twice = pytest.approx(40e-6), pytest.approx(80e-6)
    assert progress.stages == [("refining (smooth)", once, once), ("refining (fill holes)", twice, twice)]


def test_a_full_disk_is_said(monkeypatch):
    file = RowFile((3, 3))

    class Full:
        def seek(self, _to):
            pass

        def write(self, _bytes):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(file, "_file", Full())
    with pytest.raises(RunError, match="is the disk full"):
        file.write(0, np.zeros((1, 3), np.uint8))
