"""Polygons on disk: the same rows as in memory, in order, whatever the runs and portions."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.polygons.table import rows, store
from geoseg.polygons.table import store as stored
from geoseg.polygons.table.rows import Columns
from geoseg.polygons.table.store import PolygonStore
from geoseg.polygons.trace import pending_nodes as pieces
from geoseg.polygons.trace.block import BlockValues
from geoseg.polygons.trace.trace import Tracer
from tests.polygons.helpers import noise, rasters, trace


def on_disk(classes, block_size=16, **options):
    made = PolygonStore(np.zeros(0, np.uint8))
    tracer = Tracer(classes.shape, None, made, **options)
    for row in range(0, classes.shape[0], block_size):
        for column in range(0, classes.shape[1], block_size):
            part = classes[row : row + block_size, column : column + block_size]
            tracer.add(BlockValues(row, column, part))
    return made.finish_on_disk(None, None, shape=classes.shape)


def values(columns):
    names = [field.name for field in fields(Columns) if not field.name.startswith("first_")]
    return {name: getattr(columns, name).tolist() for name in names if getattr(columns, name) is not None}


@pytest.mark.parametrize(("run", "portion", "mark"), [(1, 1, 1), (7, 5, 3), (64, 1000, 256), (10**6, 40, 2)])
def test_runs_and_portions_change_nothing(monkeypatch, run, portion, mark):
    classes = noise((90, 70), sigma=1.0)
    whole = trace(classes)
    monkeypatch.setattr(store, "RUN", run)
    monkeypatch.setattr(stored, "_MARK", mark)
    found = on_disk(classes)
    assert len(found) == len(whole)
    portions = list(found.records.portions(portion))
    assert sum(map(len, portions)) == len(whole)
    assert values(Columns.join(portions)) == values(whole.columns)
    begun = np.bincount(whole.columns.row).max()
    assert max(map(len, portions)) <= portion + begun
    assert np.array_equal(found.load().geometries(), whole.geometries())
    assert found.vertices == whole.vertices


def test_chosen_twice():
    classes = noise((60, 60), sigma=1.0)
    found, whole = on_disk(classes), trace(classes)
    first = whole.columns.pixels > 3
    second = whole.columns.class_ids[first] == 1
    kept = found.take(first).take(second)
    assert len(kept) == np.count_nonzero(second)
    assert values(kept.load().columns) == values(whole.take(np.flatnonzero(first)[second]).columns)
    assert len(found) == len(whole)


@pytest.mark.parametrize(("vertices", "count"), [(30, 1000), (10**6, 7), (40, 3)])
def test_batches_do_not_depend_on_portions(monkeypatch, vertices, count):
    monkeypatch.setattr(rows, "BATCH_VERTICES", vertices)
    monkeypatch.setattr(rows, "BATCH_POLYGONS", count)
    classes = noise((60, 60), sigma=1.0)
    whole = [len(batch) for batch in trace(classes).batches()]
    assert max(whole) <= count
    for portion in (1, 9, 10**6):
        monkeypatch.setattr(stored.Records.portions, "__defaults__", (portion,))
        found = on_disk(classes)
        assert [len(batch) for batch in found.batches()] == whole
    assert sum(whole) == len(found)


@pytest.mark.parametrize("place", [Affine(10, 0, 5, 0, -10, 7), Affine(3, 1, -8, 2, -4, 9)])
def test_bounds_are_those_of_all_batches(monkeypatch, place):
    monkeypatch.setattr(rows, "BATCH_POLYGONS", 7)
    whole = trace(noise((60, 60), sigma=1.0), transform=place)
    assert len(list(whole.batches())) > 5
    assert whole.bounds() == tuple(shapely.total_bounds(whole.geometries()))


def test_nothing_is_stored_of_nothing():
    found = on_disk(np.full((5, 5), 255, np.uint8))
    assert len(found) == 0
    assert list(found.batches()) == []
    assert found.bounds() is None
    assert len(found.load().geometries()) == 0


@settings(deadline=None, max_examples=60)
@given(rasters, st.integers(1, 4), st.integers(1, 20))
def test_polygons_that_wait_on_disk(classes, block_size, portion):
    before, pieces.PORTION = pieces.PORTION, portion
    try:
        found = on_disk(classes, block_size, junctions=True).load()
    finally:
        pieces.PORTION = before
    whole = trace(classes, junctions=True)
    assert values(found.columns) == values(whole.columns)
    assert np.array_equal(found.geometries(), whole.geometries())


@pytest.mark.parametrize("block_size", [3, 10, 64])
def test_a_polygon_as_large_as_the_map(block_size):
    """A comb with islands between its teeth: pieces that become one polygon only in the last row."""
    classes = np.zeros((64, 96), np.uint8)
    classes[:-1, ::4] = 1
    classes[5::9, 2::4] = 2
    found = on_disk(classes, block_size).load()
    whole = trace(classes, 128)
    assert np.array_equal(found.geometries(), whole.geometries())
    assert shapely.area(found.geometries()).sum() == classes.size


def test_the_largest_is_told_before_it_is_put_together(monkeypatch):
    from geoseg.polygons.trace import trace as module

    monkeypatch.setattr(module, "PORTION", 50)
    classes = np.zeros((40, 80), np.uint8)
    classes[1:-1, ::2] = 1
    classes[20, :] = 0
    told = []
    found = on_disk(classes, 8, check=told.append).load()
    largest = int((found.columns.vertices - found.columns.rings).max())
    assert told
    assert max(told) >= largest * 0.9
    assert max(told) <= largest


@pytest.mark.parametrize("block_size", [1, 2, 3])
def test_pieces_that_meet_at_a_corner_before_they_are_one(block_size):
    """Around the diagonal of ones the zeros are two pieces until the last row joins them."""
    classes = np.zeros((6, 9), np.uint8)
    classes[1, 7] = classes[2, 6] = classes[3, 5] = classes[0, 8] = 1
    found = on_disk(classes, block_size).load()
    whole = trace(classes)
    assert values(found.columns) == values(whole.columns)
    assert np.array_equal(found.geometries(), whole.geometries())
