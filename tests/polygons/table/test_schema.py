"""The published contract: what is written, what the page says, and what version 1 promised are the same."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pyogrio
import pytest

from geoseg.errors import InputError
from geoseg.polygons.table.schema import (
    COLUMNS,
    SCHEMA_VERSION,
    VERSION_KEY,
    arrow_schema,
    check_version,
)
from geoseg.polygons.writers.writing import write_polygons
from tests.polygons.helpers import trace_files

PAGE = Path(__file__).parents[3] / "docs" / "polygons.md"

# What version 1 promised when it was published. Lines may be added for columns that a version 1.x added; to change
# one of these is version 2, and breaks every pipeline that reads the table.
VERSION_1 = {
    "id": ("string", "", False),
    "class_id": ("int32", "", False),
    "class_name": ("string", "", False),
    "area_ha": ("double", "hectares", True),
    "perimeter_m": ("double", "metres", True),
    "pixel_count": ("int64", "pixels", False),
    "confidence": ("double", "0-1", True),
    "confidence_min": ("double", "0-1", True),
    "runner_up": ("string", "", True),
    "touches_edge": ("bool", "", False),
    "date": ("date32[day]", "day", True),
    "geometry": ("binary", "CRS", False),
}
WORDS = {
    "string": "text",
    "int32": "integer",
    "int64": "long integer",
    "float64": "real",
    "bool": "boolean",
    "date32": "date",
    "binary": "polygon",
}
GEOPACKAGE = {
    "text": "TEXT",
    "integer": "MEDIUMINT",
    "long integer": "INTEGER",
    "real": "REAL",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "polygon": "POLYGON",
}


def page_rows(first_cell):
    """Rows of the table of the page whose header begins so."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.fixture
def table(small_map):
    return trace_files(small_map.class_map, **small_map.rasters)


def test_version_1_is_kept():
    units = {column.name: column.unit for column in COLUMNS}
    found = {field.name: (str(field.type), units[field.name], field.nullable) for field in arrow_schema()}
    assert found == VERSION_1
    assert list(found) == list(VERSION_1)
    assert SCHEMA_VERSION.split(".")[0] == "1"


def test_the_page_says_the_same():
    said = [(name.strip("`"), kind, unit, null) for name, kind, unit, null, _ in page_rows("column")]
    meant = [(c.name, WORDS[c.kind], c.unit, "yes" if c.may_be_null else "") for c in COLUMNS]
    assert said == meant
    assert f"\nVersion {SCHEMA_VERSION}. " in PAGE.read_text(encoding="utf-8")


def test_geopackage_types_are_those_of_the_page(table, tmp_path):
    write_polygons(table, tmp_path / "out.gpkg")
    with closing(sqlite3.connect(tmp_path / "out.gpkg")) as database:
        found = {row[1]: row[2] for row in database.execute("PRAGMA table_info(polygons)")}
    assert {c.name: found[c.name] for c in COLUMNS} == {c.name: GEOPACKAGE[WORDS[c.kind]] for c in COLUMNS}
    assert {kind: name for kind, _, name, _ in page_rows("type")} == GEOPACKAGE


def test_flatgeobuf_types_are_those_of_the_page(table, tmp_path):
    write_polygons(table, tmp_path / "out.fgb")
    info = pyogrio.read_info(tmp_path / "out.fgb")
    found = dict(zip(info["fields"].tolist(), info["ogr_types"], strict=True))
    names = {"String": "OFTString", "Int": "OFTInteger", "Long": "OFTInteger64", "Double": "OFTReal"}
    said = {kind: cell.split(" ")[0] for kind, _, _, cell in page_rows("type")}
    for column in COLUMNS[:-1]:
        kind = said[WORDS[column.kind]]
        expected = names.get(kind) or {"Bool": "OFTInteger", "DateTime": "OFTDateTime"}[kind]
        assert found[column.name] == expected, column.name


@pytest.mark.parametrize("version", ["1", "1.0", "1.7"])
def test_the_same_major_version_is_read(version):
    check_version(version, "a.gpkg")


@pytest.mark.parametrize("version", ["2", "2.1", "10", "0.9", "one", ""])
def test_another_major_version_is_refused(version):
    with pytest.raises(InputError, match=re.escape(f"a.gpkg: a polygon table of version {version}, ")):
        check_version(version, "a.gpkg")


def test_a_table_without_a_version_is_refused():
    with pytest.raises(InputError, match=rf"b\.fgb: .*no {VERSION_KEY}"):
        check_version(None, "b.fgb")
