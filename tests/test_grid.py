"""The chip grid, blocks and blending weights: geometry that everything else trusts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import SettingsError
from geoseg.grid import WEIGHT_ONE, Grid, Window, blending_weights, ramp, tiles


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    chip = draw(st.integers(1, 24))
    return Grid(
        shape=(draw(st.integers(1, 70)), draw(st.integers(1, 70))),
        chip_size=chip,
        overlap=draw(st.integers(0, chip // 2)),
    )


@st.composite
def windows_in(draw: st.DrawFn, shape: tuple[int, int]) -> Window:
    row, col = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
    return Window(row, col, draw(st.integers(1, shape[0] - row)), draw(st.integers(1, shape[1] - col)))


def all_chips(grid: Grid):
    return [chip for block in grid.blocks(1) for chip in grid.chips(block)]


@given(grids())
def test_the_number_of_chips_is_the_contracts(grid):
    for count, n in zip(grid.counts, grid.shape, strict=True):
        assert count == max(1, int(np.ceil((n - grid.overlap) / (grid.chip_size - grid.overlap))))
        assert (count - 1) * grid.stride + grid.chip_size >= n, "the last pixels are never predicted"
        assert (count - 1) * grid.stride < n, "a chip lies wholly beyond the scene"


@given(grids())
def test_weights_sum_to_one_at_every_pixel(grid):
    rows, cols = grid.shape
    total = np.zeros((rows + grid.chip_size, cols + grid.chip_size), np.int64)
    for chip in all_chips(grid):
        weights = grid.weights(chip)
        assert weights.min() >= 0
        total[chip.window.slices()] += weights
    assert np.all(total[:rows, :cols] == WEIGHT_ONE)


@given(st.integers(2, 64))
def test_weights_stay_within_a_step_of_sin_squared(overlap):
    chip = 2 * overlap + 3
    exact = np.ones(chip)
    exact[:overlap] = np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / overlap) ** 2
    exact[-overlap:] = exact[:overlap][::-1]
    weights = blending_weights(chip, overlap, (True, True, True, True))
    assert np.abs(weights / WEIGHT_ONE - np.outer(exact, exact)).max() <= 1.5 / WEIGHT_ONE


def test_the_ramp_rises_and_mirrors():
    rising = ramp(64)
    assert np.all(np.diff(rising) > 0)
    assert np.array_equal(rising[::-1], WEIGHT_ONE - rising)
    assert ramp(0).size == 0


@given(grids(), st.integers(1, 80))
def test_cores_tile_the_scene_and_chips_are_dealt_once(grid, block_size):
    owned = np.zeros(grid.shape, int)
    dealt: list[tuple[int, int]] = []
    for block in grid.blocks(block_size):
        owned[block.core.slices()] += 1
        dealt += [chip.index for chip in grid.chips(block)]
    assert np.all(owned == 1)
    assert sorted(dealt) == [(i, j) for i in range(grid.counts[0]) for j in range(grid.counts[1])]


@given(st.data(), grids(), st.integers(1, 80))
def test_blocks_of_a_window_hold_every_chip_that_touches_it(data, grid, block_size):
    window = data.draw(windows_in(grid.shape))
    blocks = grid.blocks(block_size, window)
    held = {chip.index for block in blocks for chip in grid.chips(block)}
    assert held == {chip.index for chip in all_chips(grid) if chip.window.intersection(window)}
    covered = np.zeros(grid.shape, int)
    for block in blocks:
        covered[block.core.slices()] += 1
    assert np.all(covered[window.slices()] == 1)


@given(grids(), st.integers(1, 80))
def test_the_reach_is_what_the_chips_cover(grid, block_size):
    for block in grid.blocks(block_size):
        mask = np.zeros(grid.shape, bool)
        for chip in grid.chips(block):
            mask[chip.window.slices()] = True
        rows, cols = np.nonzero(mask)
        assert block.reach == Window.from_bounds(rows[0], cols[0], rows.max() + 1, cols.max() + 1)
        assert block.core.intersection(block.reach) == block.core


@pytest.mark.parametrize(("chip", "overlap"), [(8, 5), (8, -1), (1, 1), (0, 0), (-4, 0)])
def test_impossible_settings_are_refused(chip, overlap):
    with pytest.raises(SettingsError, match=r"--overlap|--chip-size"):
        Grid((10, 10), chip, overlap)


def test_a_window_meets_another():
    a, b = Window(0, 0, 10, 10), Window(5, 8, 10, 10)
    assert a.intersection(b) == Window(5, 8, 5, 2)
    assert a.intersection(Window(10, 0, 3, 3)) is None
    assert Window(5, 8, 5, 2).slices(b) == (slice(0, 5), slice(0, 2))


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(1, 50))
def test_tiles_cover_every_pixel_once_in_row_order(shape, size):
    counts = np.zeros(shape, int)
    found = list(tiles(shape, size))
    for window in found:
        counts[window.slices()] += 1
        assert max(window.shape) <= size
    assert (counts == 1).all()
    assert found == sorted(found, key=lambda window: (window.row, window.col))


def test_a_grown_window_stays_inside_the_raster():
    assert Window(4, 5, 2, 3).grown(2, (20, 20)) == Window(2, 3, 6, 7)
    assert Window(1, 17, 2, 3).grown(2, (20, 20)) == Window(0, 15, 5, 5)
