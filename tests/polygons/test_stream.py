"""Polygons traced while blocks come: the table that the finished rasters give."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest
import rasterio

from geoseg.classes import LandClass
from geoseg.errors import RunError
from geoseg.polygons import builder
from geoseg.polygons.builder import MapToTrace, PolygonStream, TableBuilder
from geoseg.polygons.table.schema import arrow_schema
from geoseg.polygons.trace import trace
from geoseg.polygons.trace.block import BlockValues
from geoseg.polygons.vectorise import parse_date
from tests.polygons.conftest import CLASSES
from tests.polygons.helpers import trace_files


def begin(small_map, **options) -> PolygonStream:
    with rasterio.open(small_map.class_map) as file:
        source = MapToTrace(
            shape=file.shape,
            crs=file.crs,
            transform=file.transform,
            origin=(0, 0),
            classes=tuple(LandClass(value, name, "#000000") for value, name, _ in CLASSES),
            date=parse_date("2024-07-31"),
            provenance={"GEOSEG_MODEL": "dakota-crops 1.0", "ACQUISITION_DATE": "2024-07-31"},
            bands=[value for value, _, _ in CLASSES],
        )
    return PolygonStream(TableBuilder(source, small_map.folder, **options))


def blocks(small_map, height, widths):
    """Blocks of one height a row and of any widths."""
    rows, cols = small_map.classes.shape
    for row in range(0, rows, height):
        col = 0
        for width in [*widths, cols]:
            at = (slice(row, row + height), slice(col, min(col + width, cols)))
            if col < cols:
                yield BlockValues(
                    row,
                    col,
                    small_map.classes[at],
                    small_map.confidence[at],
                    small_map.probabilities[(slice(None), *at)],
                )
            col += width


def read(table) -> pa.Table:
    return pa.Table.from_batches(table.batches(), schema=arrow_schema())


@pytest.mark.parametrize(("height", "widths"), [(36, []), (11, [7, 20]), (5, [54, 1])])
def test_the_table_is_that_of_the_rasters(height, widths, small_map):
    traced = begin(small_map)
    for block in blocks(small_map, height, widths):
        traced.add(block)
    table, expected = traced.finish(), trace_files(small_map.class_map, **small_map.rasters)
    assert read(table).equals(read(expected))
    assert len(table) > 20
    assert [item.id for item in table.legend] == [item.id for item in expected.legend]
    assert (table.crs, table.date, table.provenance) == (expected.crs, expected.date, expected.provenance)
    assert traced.seconds > 0


@pytest.mark.parametrize("pixels", [1, 100, 700])
def test_strips_of_a_block_change_nothing(pixels, small_map, monkeypatch):
    expected = read(trace_files(small_map.class_map, **small_map.rasters))
    monkeypatch.setattr(builder, "STRIP_PIXELS", pixels)
    seen, trace_block = [], builder.trace_block

    def remember(block, *given, **options):
        seen.append(block.classes.size)
        return trace_block(block, *given, **options)

    monkeypatch.setattr(builder, "trace_block", remember)
    traced = begin(small_map)
    for block in blocks(small_map, 11, [20]):
        traced.add(block)
    assert read(traced.finish()).equals(expected)
    assert sum(seen) == small_map.classes.size
    assert max(seen) <= max(pixels, 11), "a strip is one column at least"


def test_large_polygons_can_be_refused(small_map, monkeypatch):
    def refuse(vertices):
        raise RunError(f"{vertices} are too many")

    monkeypatch.setattr(trace, "PORTION", 10)
    traced = begin(small_map, check=refuse)
    for block in list(blocks(small_map, 18, []))[:2]:
        traced.add(block)  # two may wait, so nothing is raised here
    with pytest.raises(RunError, match=r"\d+ are too many"):
        traced.finish()
    traced.close()


def test_what_goes_wrong_in_the_thread_is_raised(small_map, monkeypatch):
    def fail(*_args, **_options):
        raise RunError("the disk is full")

    monkeypatch.setattr(builder, "trace_block", fail)
    traced = begin(small_map)
    for block in blocks(small_map, 36, []):
        traced.add(block)
    with pytest.raises(RunError, match="disk is full"):
        traced.finish()
    traced.close()


def test_closing_early_ends_the_thread(small_map):
    before = threading.active_count()
    traced = begin(small_map)
    traced.add(next(blocks(small_map, 11, [7, 20])))
    traced.close()
    assert threading.active_count() == before
