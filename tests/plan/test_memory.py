"""Blocks and inferences within a limit: what is chosen fits, is the most that fits, and too little is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geoseg.errors import SettingsError
from geoseg.grid import Grid, Window
from geoseg.plan.measure import NetworkCost
from geoseg.plan.memory import choose_blocks, estimate_memory
from geoseg.plan.size import RunSize
from geoseg.units import parse_memory

COST = NetworkCost(process=100_000_000, loaded=200_000_000, per_inference=90_000_000, seconds=0.1)
CACHE = 50_000_000


def usual_size(width, pixels, **changes):
    usual = {"chips": 100, "chip": 512, "overlap": 64, "batch": 1, "bands": 6, "itemsize": 2, "classes": 9}
    return RunSize(pixels, width, **(usual | {"maps": 2, "streamed": 2} | changes))


def choose(limit, shape=(8192, 8192), chip=512, overlap=64, maps=2, streamed=2, cost=COST, **given):
    grid, window = Grid(shape, chip, overlap), Window.from_shape(shape)
    run = usual_size(
        shape[1],
        window.pixels,
        chips=grid.counts[0] * grid.counts[1],
        chip=chip,
        overlap=overlap,
        maps=maps,
        streamed=streamed,
    )
    options = {"block_size": None, "concurrency": 2, "cache": CACHE} | given
    return choose_blocks(grid, window, run, cost, int(limit), **options)


def least(**given):
    """The least that works, as the refusal says."""
    with pytest.raises(SettingsError) as refused:
        choose(1e6, **given)
    return parse_memory(re.search(r"give at least ([\d.]+GB)", str(refused.value))[1])


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 60_000),
    st.integers(1, 60_000),
    st.sampled_from([(64, 16), (512, 64), (512, 256), (1024, 64)]),
    st.floats(3e8, 2e10),
    st.integers(1, 8),
)
def test_what_is_chosen_stays_within_the_limit(rows, cols, chips, limit, concurrency):
    chip, overlap = chips
    try:
        found = choose(limit, (rows, cols), chip, overlap, concurrency=concurrency)
    except SettingsError as error:
        needed = parse_memory(re.search(r"give at least ([\d.]+GB)", str(error))[1])
        assert needed > limit
        found = choose(needed, (rows, cols), chip, overlap, concurrency=concurrency)
        assert found.concurrency == 1
        limit = needed
    assert found.estimate.total <= limit
    assert 1 <= found.concurrency <= concurrency
    assert found.block_size >= chip - overlap


@settings(deadline=None, max_examples=60)
@given(st.floats(3e8, 6e9), st.floats(1, 4), st.integers(1, 8))
def test_more_memory_never_gives_less(limit, more, concurrency):
    assume(limit > least(concurrency=concurrency))
    little, much = (choose(bytes_, concurrency=concurrency) for bytes_ in (limit, limit * more))
    assert (much.concurrency, much.block_size) >= (little.concurrency, little.block_size)


def test_blocks_shrink_before_inferences_are_given_up():
    sizes = [choose(limit, concurrency=2) for limit in (6e9, 1e9, 7.5e8, 5.8e8)]
    assert [found.concurrency for found in sizes] == [2, 2, 2, 1]
    assert sizes[0].block_size == 4 * 448
    assert sizes[0].block_size > sizes[1].block_size > sizes[2].block_size


def test_a_very_wide_scene_keeps_its_margins_on_disk():
    wide = (1500, 500_000)
    assert choose(64e9, wide).margins_on_disk is False
    found = choose(2.6e9, wide)
    assert found.margins_on_disk
    assert found.estimate.margins < 64 * 500_000 * 9 * 4 / 20
    assert choose(2.6e9, wide[::-1]).margins_on_disk is False  # tall is not wide


def test_what_the_user_asked_for_stands_or_is_refused_by_name():
    assert choose(4e9, block_size=900).block_size == 900
    assert choose(4e9, concurrency=1, fixed_concurrency=True).concurrency == 1
    with pytest.raises(SettingsError, match="leave --block-size 8192 out"):
        choose(1e9, block_size=8192)
    with pytest.raises(SettingsError, match="leave --concurrency 30 out"):
        choose(1e9, concurrency=30, fixed_concurrency=True)
    with pytest.raises(SettingsError, match="or leave --block-size 8192 and --chip-size 512 out"):
        choose(1e9, block_size=8192, asked_chips=True)


def test_the_least_does_not_depend_on_the_length_of_a_scene_and_hardly_on_its_width():
    assert least(shape=(8192, 8192)) == least(shape=(80_000, 8192))
    assert least(shape=(8192, 32_768)) < least(shape=(8192, 8192)) + 120e6


def test_every_part_grows_with_what_it_is_for():
    grid, window = Grid((9000, 9000), 512, 64), Window.from_shape((9000, 9000))
    block = grid.blocks(900, window)[0]
    run = usual_size(9000, window.pixels, streamed=1)

    def parts(block=block, cost=COST, blocks=9, concurrency=2, cache=CACHE, on_disk=False, **changes):
        return estimate_memory(
            replace(run, **changes),
            cost,
            block,
            blocks=blocks,
            concurrency=concurrency,
            cache=cache,
            margins_on_disk=on_disk,
        )

    usual = parts()
    larger = grid.blocks(1800, window)[0]
    assert parts(block=larger).pixels > usual.pixels
    assert parts(block=larger).sums > 3 * usual.sums
    assert parts(bands=12).pixels > 1.9 * usual.pixels
    assert parts(itemsize=4).pixels > usual.pixels
    assert parts(classes=18).sums == 2 * usual.sums
    assert parts(classes=18).margins == 2 * usual.margins
    assert parts(width=18_000).margins > usual.margins
    assert parts(width=18_000).tiles > 1.5 * usual.tiles
    assert parts(on_disk=True).margins < usual.margins / 2
    assert parts(maps=11).maps > 3 * usual.maps
    assert parts(streamed=11).tiles > 5 * usual.tiles
    assert parts(streamed=0).tiles == 0
    assert parts(concurrency=3).inferences == usual.inferences * 3 // 2
    assert parts(batch=2).inferences > usual.inferences
    assert parts(cache=10).cache == 10
    assert parts(pixels=10).cache == 120
    assert [parts(blocks=n).sums / usual.sums for n in (1, 2, 3)] == [0.5, 1, 1]
    assert parts(blocks=1).pixels < parts(blocks=2).pixels < parts(blocks=3).pixels == usual.pixels
    assert parts(traces=True).polygons > 0
    traced = parts(traced=10)
    assert 80e6 < traced.tracing < parts(traced=10, width=90_000).tracing
    assert parts(traced=10, block=larger).tracing < 2 * traced.tracing, "it is traced in strips"
    assert traced.total > usual.total
    for changed in (parts(concurrency=3), parts(width=18_000), parts(classes=18), parts(maps=11)):
        assert changed.total > usual.total


def test_small_blocks_at_the_edge_count_as_they_are():
    grid = Grid((4096, 4096), 512, 64)
    run = usual_size(4096, 4096**2)
    every = grid.blocks(1792)
    largest = max(every, key=lambda block: block.reach.pixels)
    options = {"blocks": len(every), "concurrency": 2, "cache": CACHE, "margins_on_disk": False}
    rough = estimate_memory(run, COST, largest, **options)
    exact = estimate_memory(run, COST, largest, **options, every=every)
    reaches = [block.reach.pixels for block in every]
    pairs = [a + b for a, b in pairwise(reaches)]
    assert exact.sums == max(pairs) * 4 * 9
    assert exact.pixels < rough.pixels
    assert exact.maps < rough.maps
    found = choose(2.5e9, (4096, 4096), block_size=1792)
    assert found.estimate.pixels == exact.pixels


def test_every_block_ahead_is_held_and_every_strip_that_is_read():
    """Four blocks are read ahead of an accelerator."""
    grid, window = Grid((9000, 9000), 512, 64), Window.from_shape((9000, 9000))
    block, blocks = grid.blocks(2048)[0], len(grid.blocks(2048))
    run = usual_size(9000, window.pixels)
    one, four, taller = (
        estimate_memory(
            replace(run, ahead=ahead, strip=strip),
            COST,
            block,
            blocks=blocks,
            concurrency=2,
            cache=CACHE,
            margins_on_disk=False,
        )
        for ahead, strip in ((1, 1024), (4, 1024), (1, 1536))
    )
    values, read = 4 * 6 + 1, 6 * (2 + 4 + 1) + 1
    assert four.pixels - one.pixels == 3 * block.reach.pixels * values
    assert taller.pixels - one.pixels == 512 * block.reach.width * read
    assert replace(four, pixels=one.pixels) == one
