"""Blocks that are computed alone and joined later are the blocks of one process, number for number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.execute.block_store import BlockStore
from geoseg.execute.blocks import BlockRenderer, split_at_seams
from geoseg.grid import Grid, Window
from geoseg.inference.compute import BlockComputer, ComputedBlock, Ingredients
from geoseg.inference.reading import Normalisation
from geoseg.inference.stitching import BlockGraph, Margin
from geoseg.maps.kinds import ClassMap, ConfidenceMap, ProbabilityMap
from tests.conftest import TINY_CLASSES
from tests.inference.stitched import Stitcher
from tests.inference.test_stitching import FakeBackend, make_scene, neighbourhood


def finish_whole(renderer, stitched):
    """The block as it is without seams: all its pixels decided at once, from sums that are complete."""
    whole = ComputedBlock(stitched.block, stitched.total, stitched.valid, stitched.tally)
    return renderer.complete(renderer.render_interior(whole, ()), ())


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 8),
    st.integers(1, 60),
    st.integers(0, 99),
    st.booleans(),
    st.randoms(),
)
def test_any_order_makes_the_same_blocks(rows, cols, overlap, block_size, seed, whole, rng):
    scene = make_scene((rows, cols), seed=seed, holes=0.3 if seed % 3 else 0.995)
    grid = Grid((rows, cols), 16, overlap)
    unit = Normalisation(np.zeros(2, np.float32), np.ones(2, np.float32))
    window = Window(0, 0, rows, cols) if whole else Window(rows // 3, cols // 4, -(-rows // 2), -(-cols // 2))
    kinds = (ClassMap(TINY_CLASSES), ConfidenceMap(), ProbabilityMap(TINY_CLASSES))
    renderer = BlockRenderer(kinds, TINY_CLASSES, window, None)
    graph = BlockGraph(grid.blocks(block_size, window))
    ingredients = Ingredients(scene, FakeBackend(neighbourhood), grid, unit, 3)
    expected = [finish_whole(renderer, part) for part in Stitcher(ingredients).run(graph.blocks.values())]

    with BlockComputer(ingredients) as computer:
        alone = [
            computer.compute(block) for block in rng.sample(list(graph.blocks.values()), len(graph.blocks))
        ]
    margins = [
        Margin(place, computed.total.margin(place.window))
        for computed in alone
        if computed.total is not None
        for place in graph.sent(computed.block.index)
    ]
    rng.shuffle(margins)
    parts = {c.block.index: renderer.render_interior(c, graph.received(c.block.index)) for c in alone}
    for block in expected:
        mine = [margin for margin in margins if margin.place.owner == block.index]
        finished = renderer.complete(parts[block.index], mine)
        assert finished.window == block.window
        assert finished.counts == block.counts
        for name in {*finished.maps, *block.maps}:
            nothing = np.full((1, 1, 1), 255, np.uint8)
            ours, theirs = finished.maps.get(name, nothing), block.maps.get(name, nothing)
            assert np.array_equal(*np.broadcast_arrays(ours, theirs)), name


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 8), st.integers(1, 60), st.data())
def test_strips_and_the_rest_are_the_whole(rows, cols, overlap, block_size, data):
    grid = Grid((rows, cols), 16, overlap)
    graph = BlockGraph(grid.blocks(block_size))
    index = data.draw(st.sampled_from(list(graph.blocks)))
    core = graph.blocks[index].core
    inside, strips = split_at_seams(core, core, graph.received(index))
    count = np.zeros(grid.shape, int)
    for part in (*strips, *([inside] if inside else [])):
        count[part.slices()] += 1
    assert count[core.slices()].min() == count.max() == 1
    assert count.sum() == core.pixels
    for place in graph.received(index):
        common = inside.intersection(place.window) if inside else None
        assert common is None, "a margin reaches into what was called final"


@pytest.mark.parametrize("at", [(0, 0), (1, 1)])
def test_a_part_is_kept_as_it_is(tmp_path, at):
    scene = make_scene((60, 60), holes=0.1)
    grid = Grid((60, 60), 16, 4)
    unit = Normalisation(np.zeros(2, np.float32), np.ones(2, np.float32))
    renderer = BlockRenderer((ClassMap(TINY_CLASSES),), TINY_CLASSES, Window(0, 0, 60, 60), None)
    graph = BlockGraph(grid.blocks(24))
    with BlockComputer(Ingredients(scene, FakeBackend(neighbourhood), grid, unit, 3)) as computer:
        part = renderer.render_interior(computer.compute(graph.blocks[at]), graph.received(at))
    store = BlockStore(tmp_path)
    store.make()
    store.put_pending(part)
    kept = store.pending(at)
    assert [strip.window for strip in kept.strips] == [strip.window for strip in part.strips]
    for ours, theirs in zip(kept.strips, part.strips, strict=True):
        assert np.array_equal(ours.sums, theirs.sums)
        assert np.array_equal(ours.valid, theirs.valid)
    assert kept.rendered.counts == part.rendered.counts
    assert kept.rendered.tally == part.rendered.tally
    assert np.array_equal(kept.rendered.maps["classes"], part.rendered.maps["classes"])
    store.drop_pending(at)
    assert store.pending(at) is None
