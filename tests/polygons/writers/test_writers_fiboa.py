"""GeoParquet with fiboa's columns, against fiboa's schemas and by fiboa's own validator."""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import referencing
import shapely
import yaml
from affine import Affine

from geoseg.errors import OutputError, SettingsError
from geoseg.polygons.table.schema import COLUMNS, arrow_schema
from geoseg.polygons.writers.fiboa import FIBOA, VECOREL
from geoseg.polygons.writers.writing import write_polygons
from tests.polygons.conftest import write_raster
from tests.polygons.helpers import trace_files

SCHEMAS = Path(__file__).parents[2] / "schemas" / "polygons"
SMALL = Affine(1e-4, 0, 10, 0, -1e-4, 50)
PROJJSON = Path(pyproj.datadir.get_data_dir()) / "projjson.schema.json"
ADDED = ["metrics:area", "metrics:perimeter", "determination:datetime", "determination:method"]
TYPES = {
    "float": pa.float32(),
    "double": pa.float64(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "date": pa.date32(),
    "date-time": pa.timestamp("ms", "UTC"),
    "geometry": pa.binary(),
}
"""Vecorel's data types in Parquet: https://github.com/vecorel/specification/blob/v0.1.0/geoparquet/datatypes.md"""


@pytest.fixture
def table(small_map):
    return trace_files(small_map.class_map, **small_map.rasters)


@pytest.fixture
def fields(table, tmp_path):
    write_polygons(table, tmp_path / "my-fields.parquet", fiboa=True)
    return tmp_path / "my-fields.parquet"


def schema_of(name):
    return yaml.safe_load((SCHEMAS / name).read_text(encoding="utf-8"))


def test_the_tables_columns_stay_and_fiboas_follow(table, fields, tmp_path):
    write_polygons(table, tmp_path / "plain.parquet")
    plain, found = pq.read_table(tmp_path / "plain.parquet"), pq.read_table(fields)
    ours = arrow_schema().names
    assert found.column_names == [*ours[:-1], *ADDED, "geometry", "bbox"]
    assert found.select(ours).replace_schema_metadata().equals(plain.select(ours).replace_schema_metadata())
    geo = [json.loads(file.schema.metadata[b"geo"]) for file in (plain, found)]
    assert geo[0] == geo[1]
    assert found.schema.metadata[b"GEOSEG_MODEL"] == b"dakota-crops 1.0"


def test_sizes_are_in_metres(fields):
    rows = pq.read_table(fields).to_pylist()
    geod = pyproj.Geod(ellps="WGS84")
    to = pyproj.Transformer.from_crs("EPSG:32614", "EPSG:4326", always_xy=True)
    for row in rows:
        shape = shapely.transform(shapely.from_wkb(row["geometry"]), to.transform, interleaved=False)
        area, perimeter = geod.geometry_area_perimeter(shape)
        assert row["metrics:area"] == pytest.approx(area, rel=1e-4)
        assert row["metrics:perimeter"] == pytest.approx(perimeter, rel=1e-4)
        assert row["determination:method"] == "auto-imagery"
        assert row["determination:datetime"] == datetime.datetime(2024, 7, 31, tzinfo=datetime.UTC)


def test_an_unknown_date_is_null(table, tmp_path):
    write_polygons(replace(table, date=None), tmp_path / "a.parquet", fiboa=True)
    column = pq.read_table(tmp_path / "a.parquet")["determination:datetime"]
    assert column.null_count == len(column) == len(table)


def test_a_polygon_without_a_size_has_null(table, tmp_path):
    columns = table.polygons.load().columns
    nowhere = np.arange(len(columns)) == 3  # as outside the CRS's domain
    columns = replace(columns, areas=np.where(nowhere, 0, columns.areas))
    nothing = replace(table, polygons=replace(table.polygons.load(), columns=columns))
    write_polygons(nothing, tmp_path / "a.parquet", fiboa=True)
    stored = pq.read_table(tmp_path / "a.parquet")
    assert (np.isnan(stored["metrics:area"].to_numpy()) == nowhere).all()
    assert stored["metrics:perimeter"].null_count == 0


def test_the_file_is_as_the_published_schemas_ask(fields):
    stored = pq.read_table(fields)
    collection = json.loads(stored.schema.metadata[b"collection"])
    assert collection["collection"] == "my-fields"
    assert collection["schemas"] == {"my-fields": [VECOREL, FIBOA]}
    core = schema_of("vecorel-v0.1.0.yaml")
    enumerated = core["properties"]["schemas"]["additionalProperties"]["contains"]["enum"]
    assert enumerated == [VECOREL]
    custom = collection["schemas:custom"]
    assert set(custom["properties"]) == {c.name for c in COLUMNS} - {"id", "geometry"}
    known, required = {}, set()
    for schema in (core, schema_of("fiboa-v0.3.0.yaml"), custom):
        known |= schema["properties"]
        required |= set(schema.get("required", []))
    assert required <= set(stored.column_names) | set(collection)
    for field in stored.schema:
        rule = known[field.name]
        assert field.nullable == (field.name not in required), field.name
        assert field.type == TYPES.get(rule["type"], field.type), field.name
        values = [value for value in stored[field.name].to_pylist() if value is not None]
        assert all(value in rule["enum"] for value in values if "enum" in rule)
        assert all(value > rule["exclusiveMinimum"] for value in values if "exclusiveMinimum" in rule)
        assert all(value <= rule["maximum"] for value in values if "maximum" in rule)


@pytest.mark.parametrize(
    ("crs", "fiboa"),
    [(None, False), ("EPSG:4326", False), ("EPSG:4326", True), ("EPSG:32614", False), ("EPSG:32614", True)],
)
def test_geo_metadata_is_valid_geoparquet(tmp_path, crs, fiboa):
    write_polygons(
        trace_files(write_raster(tmp_path / "a.tif", np.array([[1, 2]], np.uint8), crs=crs, transform=SMALL)),
        tmp_path / "a.parquet",
        fiboa=fiboa,
    )
    geo = json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"geo"])
    projjson = json.loads(PROJJSON.read_text(encoding="utf-8"))
    registry = referencing.Registry().with_contents(
        [(projjson["$id"], projjson)], default_specification=referencing.jsonschema.DRAFT7
    )
    schema = json.loads((SCHEMAS / "geoparquet-v1.1.0.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema, registry=registry).validate(geo)


def test_what_is_no_field_is_refused(tmp_path):
    large = write_raster(
        tmp_path / "a.tif",
        np.array([[1, 1, 2]], np.uint8),
        transform=Affine(25_000, 0, 500_000, 0, -25_000, 5_200_000),
    )
    table = trace_files(large)
    with pytest.raises(
        SettingsError, match=r"--fiboa: polygon r0c0 \(class 1\) has 1,2\d\d km2, .* --classes"
    ):
        write_polygons(table, tmp_path / "a.parquet", fiboa=True)
    assert not list(tmp_path.glob("*.parquet"))
    write_polygons(table.filter(classes={2}), tmp_path / "a.parquet", fiboa=True)
    assert pq.read_table(tmp_path / "a.parquet")["id"].to_pylist() == ["r0c2"]


@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb", "a.geojsonl", "a.pmtiles"])
def test_other_formats_do_not_take_fiboas_columns(table, tmp_path, name):
    with pytest.raises(
        OutputError, match=r"--fiboa goes into GeoParquet; give a name that ends in \.parquet"
    ):
        write_polygons(table, tmp_path / name, fiboa=True)


def validate(file):
    """What fiboa's validator says, in a Python that has it."""
    python = os.environ.get("GEOSEG_FIBOA_PYTHON")
    if python is None and importlib.util.find_spec("fiboa_cli") is not None:
        python = sys.executable
    if python is None:
        pytest.skip(
            "fiboa-cli needs pyarrow below 24: pip install it into an environment of its own and give that "
            "one's Python in GEOSEG_FIBOA_PYTHON"
        )
    script = Path(__file__).with_name("validate_fiboa.py")
    ran = subprocess.run(
        [python, script, file, SCHEMAS, PROJJSON], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_fiboas_own_validator_is_content(fields):
    assert validate(fields) == {"valid": True, "errors": [], "warnings": []}


def test_fiboas_own_validator_can_be_discontent(table, tmp_path):
    write_polygons(table, tmp_path / "plain.parquet")
    said = validate(tmp_path / "plain.parquet")
    assert not said["valid"]
    assert "Collection metadata" in said["errors"][0]
