"""Several maps scored as one: the same as one map that holds them all."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.assess.compare import CHIP, ComparedMap, add_up, compare
from geoseg.assess.examples import draw_examples
from geoseg.assess.summary import summarise_labels
from tests.assess.maps import random_pair
from tests.assess.test_compare import CLASSES, TOLERANCES, prepare

BLOCK = 40
SHAPES = ((77, 120), (130, 90), (40, 41))


def compared(folder, arrays, name, **profile):
    (folder / name).mkdir()
    class_map, labels = prepare(folder / name, *arrays, **profile)
    return ComparedMap(
        name, class_map, labels, compare(class_map, labels, block=BLOCK, tolerances=TOLERANCES)
    )


def summary(counts, unit):
    return summarise_labels(counts, CLASSES, TOLERANCES, area_unit=unit, replicates=50)


def test_as_if_they_were_one_map(tmp_path):
    """Stacked with rows without a label in between, so that no block and no boundary holds two of them."""
    triples = [random_pair(seed, shape) for seed, shape in enumerate(SHAPES)]
    bare = {"crs": None, "transform": None}
    parts = [compared(tmp_path, triple, f"m{i}", **bare) for i, triple in enumerate(triples)]
    stacked = []
    for layer in range(3):
        filled = []
        for triple in triples:
            rows = -(-len(triple[layer]) // BLOCK) * BLOCK
            array = np.full((rows + BLOCK, max(s[1] for s in SHAPES)), 255, np.uint8)
            array[: triple[layer].shape[0], : triple[layer].shape[1]] = triple[layer]
            filled.append(array)
        stacked.append(np.concatenate(filled))
    whole = compared(tmp_path, stacked, "whole", **bare)
    total, unit = add_up(parts)
    assert unit is None
    assert summary(total, unit) == summary(whole.counts, None)
    assert len(total.sums.blocks()) == 2 * 3 + 4 * 3 + 1 * 2


def test_areas_add_up(tmp_path):
    triples = [random_pair(seed, shape) for seed, shape in enumerate(SHAPES[:2])]
    coarse = {"transform": prepare_place(90)}
    parts = [compared(tmp_path, triples[0], "fine"), compared(tmp_path, triples[1], "coarse", **coarse)]
    total, unit = add_up(parts)
    alone = [
        summary(part.counts, part.class_map.pixel_sizes().area_unit)["areas"]["classes"] for part in parts
    ]
    together = summary(total, unit)["areas"]
    assert together["unit"] == "ha"
    for row, first, second in zip(together["classes"], *alone, strict=True):
        assert row["mapped"] == pytest.approx(first["mapped"] + second["mapped"], rel=1e-6)
        assert second["mapped"] > 2 * first["mapped"] > 0


def prepare_place(pixel):
    from rasterio.transform import Affine

    return Affine(pixel, 0, 500_000, 0, -pixel, 5_000_000)


def test_without_a_crs_for_all_there_are_no_hectares(tmp_path):
    pair = random_pair(0)
    bare = {"crs": None, "transform": None}
    parts = [compared(tmp_path, pair, "placed"), compared(tmp_path, pair, "bare", **bare)]
    total, unit = add_up(parts)
    assert unit is None
    assert summary(total, unit)["areas"]["unit"] == "pixels"


def test_examples_come_from_the_right_map(tmp_path):
    """The worst chip of all lies in the second map, the best in the first."""
    good, bad = random_pair(0, (2 * CHIP, CHIP), noise=0.01), random_pair(1, (CHIP, CHIP), noise=0.9)
    parts = [compared(tmp_path, good, "one"), compared(tmp_path, bad, "two")]
    drawn = draw_examples(parts, CLASSES, [None, None])
    assert drawn[0].title == "best, one"
    assert drawn[-1].title.endswith(", two")
    known = (bad[0] != 255) & (bad[1] != 255)
    assert drawn[-1].accuracy == pytest.approx((bad[0] == bad[1])[known].mean())
    alone = draw_examples(parts[1:], CLASSES, [None])
    assert alone[0].title == "best"
    assert alone[0].pictures == drawn[-1].pictures
