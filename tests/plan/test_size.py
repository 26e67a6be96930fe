"""The cost model: what doubles doubles, workers share the work until something else bounds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from geoseg.grid import Grid
from geoseg.plan.size import RATES, core_seconds, wall_seconds

sys.path.insert(0, str(Path(__file__).parents[2] / "workflows" / "scale"))

from cluster import bytes_of, cluster_seconds, whole_scene

USUAL = {"chip": 512, "overlap": 64, "block": 2048, "bands": 6, "itemsize": 2, "classes": 9}


def work(side=8192, **changes):
    return whole_scene((side, side), **(USUAL | changes))


def test_the_work_is_that_of_the_grid():
    grid = Grid((5000, 7000), 512, 64)
    found = whole_scene((5000, 7000), **USUAL)
    blocks = grid.blocks(2048)
    assert found.size.chips == grid.counts[0] * grid.counts[1]
    assert found.blocks == len(blocks)
    assert found.size.computed == found.size.chips * 512**2 / 1e6
    assert found.size.pixels == 35_000_000
    assert found.block == blocks[0].core.width


def test_time_grows_with_the_pixels_and_no_faster():
    one, four = (core_seconds(work(side, polygons=True).size, 0.14) for side in (16384, 32768))
    assert {stage: four[stage] / one[stage] for stage in one} == pytest.approx(
        dict.fromkeys(one, 4), rel=0.03
    )


def test_stages_cost_by_what_they_handle():
    usual = core_seconds(work().size, 0.14)
    assert core_seconds(work().size, 0.28)["forward"] == 2 * usual["forward"]
    assert core_seconds(work(bands=12).size, 0.14)["read"] == 2 * usual["read"]
    assert core_seconds(work(classes=18).size, 0.14)["stitch"] == 2 * usual["stitch"]
    assert core_seconds(work(maps=3).size, 0.14)["write"] > usual["write"]
    assert usual["polygons"] == 0 < core_seconds(work(polygons=True).size, 0.14)["polygons"]
    assert core_seconds(work(chip=1024).size, 4 * 0.14)["forward"] < usual["forward"]  # less overlap


def test_cores_share_all_but_the_start_and_the_polygons():
    one, two = (wall_seconds(work().size, 0.14, cores) - RATES.start for cores in (1, 2))
    assert one == pytest.approx(2 * two)
    plain, traced = work().size, work(polygons=True).size
    polygons = [wall_seconds(traced, 0.14, n) - wall_seconds(plain, 0.14, n) for n in (1, 2)]
    assert polygons[0] == pytest.approx(polygons[1])
    one_chip = work(100).size
    assert wall_seconds(one_chip, 0.14, 64) == pytest.approx(wall_seconds(one_chip, 0.14, 1))


def test_workers_help_until_blocks_or_the_main_process_run_out():
    seconds = [cluster_seconds(work(100_000), 0.14, n) for n in (1, 10, 100, 1000)]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] / seconds[1] == pytest.approx(10, rel=0.05)
    huge = work(1_000_000)
    assert cluster_seconds(huge, 0.14, 10**5) == pytest.approx(
        RATES.start + RATES.write * 2 * huge.size.megapixels
    )
    assert cluster_seconds(work(2000), 0.14, 500) == cluster_seconds(work(2000), 0.14, 50)  # one block each


def test_what_is_moved_is_pixels_maps_and_margins():
    one = work(side=2048 * 4)
    moved = bytes_of(one)
    assert moved["maps"] == one.size.pixels * 2
    assert one.size.pixels * 12 < moved["read"] < 1.4 * one.size.pixels * 12
    assert moved["margins"] == one.blocks * 4 * 9 * (2 * 1792 * 64 + 64**2)
    assert moved["block"] * one.blocks == pytest.approx(
        moved["read"] + moved["maps"] + 2 * moved["margins"], rel=1e-6
    )
