"""The contract of all formats; what only some promise is in ``test_writers_*``."""

from __future__ import annotations

import json
import re
import sqlite3
import weakref
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from click.testing import CliRunner

from geoseg.cli.polygonize import polygonize
from geoseg.cli.predict import predict
from geoseg.errors import OutputError, RunError
from geoseg.polygons.table import rows
from geoseg.polygons.table.schema import arrow_schema
from geoseg.polygons.writers import WRITERS
from geoseg.polygons.writers.writing import check_target, write_polygons, writer_for
from geoseg.units import Area
from tests.polygons.conftest import write_raster
from tests.polygons.helpers import trace_files

every_format = pytest.mark.parametrize("suffix", WRITERS)
TABLES = (".gpkg", ".fgb", ".parquet")
every_table = pytest.mark.parametrize("suffix", TABLES)
"""Formats that hold the table as it is, in the map's CRS."""


def read(path: Path) -> pa.Table:
    """The rows as any Arrow reader sees them, ordered by id, with the table's own types."""
    if path.suffix == ".parquet":
        table = pq.read_table(path, columns=arrow_schema().names)
    else:
        _, table = pyogrio.read_arrow(path, layer="polygons")
        table = table.rename_columns(
            {"wkb_geometry": "geometry"} if "wkb_geometry" in table.column_names else {}
        )
        table = table.select(arrow_schema().names)
    rows = table.to_pylist()
    for row in rows:
        row["date"] = row["date"] and (row["date"].date() if hasattr(row["date"], "date") else row["date"])
    rows.sort(key=lambda row: tuple(map(int, row["id"][1:].split("c"))))
    return pa.Table.from_pylist(rows, schema=arrow_schema())


def columns_in_order(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return [name for name in pq.read_schema(path).names if name != "bbox"]
    return [*pyogrio.read_info(path, layer="polygons")["fields"], "geometry"]


def provenance(path: Path) -> dict[str, str]:
    if path.suffix == ".parquet":
        metadata = {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}
        return {key: value for key, value in metadata.items() if key != "geo" and "ARROW" not in key}
    return pyogrio.read_info(path, layer="polygons")["layer_metadata"]


@pytest.fixture
def table(small_map):
    return trace_files(small_map.class_map, **small_map.rasters)


@every_table
def test_rows_come_back_as_they_were(table, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_polygons(table, path)
    expected = pa.Table.from_batches(table.batches(), schema=arrow_schema())
    found = read(path)
    assert found.drop(["geometry"]).equals(expected.drop(["geometry"]))
    theirs, ours = (shapely.from_wkb(t["geometry"].to_pylist()) for t in (found, expected))
    assert shapely.equals_exact(theirs, ours, tolerance=0).all()
    assert shapely.coverage_is_valid(theirs)
    assert columns_in_order(path) == arrow_schema().names


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
def test_rows_lie_in_the_order_of_ids(table, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_polygons(table, path)
    stored = (
        pq.read_table(path)["id"]
        if suffix == ".parquet"
        else pyogrio.read_arrow(path, layer="polygons")[1]["id"]
    )
    assert stored.to_pylist() == [i for batch in table.batches() for i in batch["id"].to_pylist()]


@every_table
def test_provenance_is_kept_once(table, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_polygons(table, path)
    assert provenance(path) == {
        "GEOSEG_POLYGONS_SCHEMA": "1.1",
        "GEOSEG_MODEL": "dakota-crops 1.0",
        "ACQUISITION_DATE": "2024-07-31",
    }


@every_format
def test_equal_tables_give_equal_files(small_map, tmp_path, suffix):
    for name, block_size in (("one", None), ("two", 7)):
        table = trace_files(small_map.class_map, **small_map.rasters, block_size=block_size)
        write_polygons(table, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


@every_table
def test_a_table_without_rows_is_a_good_file(table, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_polygons(table.filter(min_area=Area(1e9, True)), path)
    assert read(path).num_rows == 0
    assert columns_in_order(path) == arrow_schema().names


@every_table
@pytest.mark.parametrize("crs", [None, "EPSG:4326", "EPSG:32614"])
def test_the_crs_is_the_maps(tmp_path, suffix, crs):
    classes = write_raster(tmp_path / "a.tif", np.array([[1, 2]], np.uint8), crs=crs)
    path = tmp_path / f"out{suffix}"
    write_polygons(trace_files(classes), path)
    if suffix == ".parquet":
        stored = json.loads(pq.read_schema(path).metadata[b"geo"])["columns"]["geometry"]["crs"]
        stored = None if stored is None else pyproj.CRS.from_json_dict(stored)
    else:
        stored = pyogrio.read_info(path, layer="polygons")["crs"]
        stored = None if stored is None else pyproj.CRS(stored)
    assert (stored is None and crs is None) or stored == pyproj.CRS(crs)


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyboardInterrupt()], ids=repr)
@every_format
def test_the_file_appears_whole_or_not_at_all(small_map, tmp_path, suffix, monkeypatch, error):
    monkeypatch.setattr(rows, "BATCH_POLYGONS", 5)
    table = trace_files(small_map.class_map, **small_map.rasters)
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"the old file")
    before = sorted(tmp_path.iterdir())

    original = type(table).attributes

    def fail(self, portion):
        if portion.columns.row[0] > 0:
            raise error
        return original(self, portion)

    monkeypatch.setattr(type(table), "attributes", fail)
    is_fault = isinstance(error, OSError)
    with pytest.raises(
        RunError if is_fault else KeyboardInterrupt, match="no space left" if is_fault else None
    ):
        write_polygons(table, path)
    assert sorted(tmp_path.iterdir()) == before
    assert path.read_bytes() == b"the old file"


@every_format
def test_rows_are_never_held_all_at_once(small_map, tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(rows, "BATCH_POLYGONS", 5)
    table = trace_files(small_map.class_map, **small_map.rasters)
    alive, most = [], 0

    class Watched(np.ndarray):
        """Unlike its base class, an array that can be watched while it goes."""

    original = type(table.polygons.load()).coordinates

    def coordinates(portion):
        nonlocal most
        points, rings, polygons = original(portion)
        points = points.view(Watched)
        alive.append(len(portion))
        weakref.finalize(points, alive.remove, len(portion))
        most = max(most, sum(alive))
        return points, rings, polygons

    monkeypatch.setattr(type(table.polygons.load()), "coordinates", coordinates)
    write_polygons(table, tmp_path / f"out{suffix}")
    assert 5 <= most <= 15 < len(table)


def test_a_format_that_gdal_lacks_is_refused_at_once(monkeypatch):
    drivers = {name: kinds for name, kinds in pyogrio.list_drivers().items() if name != "GeoJSONSeq"}
    monkeypatch.setattr(pyogrio, "list_drivers", lambda: drivers | {"FlatGeobuf": "r"})
    with pytest.raises(
        OutputError, match=r"a\.geojsonl: the GDAL that pyogrio uses cannot write newline.* install"
    ):
        check_target(Path("a.geojsonl"), "EPSG:32614")
    with pytest.raises(OutputError, match=r"cannot write FlatGeobuf"):
        check_target(Path("a.fgb"), "EPSG:32614")
    assert check_target(Path("a.gpkg"), None).name == "GeoPackage"


@pytest.mark.parametrize("crs", [None, 'LOCAL_CS["mine",UNIT["metre",1]]'])
def test_formats_of_the_earth_refuse_maps_that_are_not_on_it(crs, tmp_path):
    for suffix in (".geojsonl", ".geojsons", ".pmtiles"):
        with pytest.raises(OutputError, match=rf"a{suffix}: .* needs a map whose CRS ties it to the Earth"):
            check_target(Path(f"a{suffix}"), crs)
    with pytest.raises(OutputError, match="fiboa needs a map whose CRS"):
        check_target(Path("a.parquet"), crs, fiboa=True)
    for suffix in TABLES:
        check_target(Path(f"a{suffix}"), crs)
    map_of_nowhere = write_raster(tmp_path / "a.tif", np.array([[1, 2]], np.uint8), crs=None)
    with pytest.raises(OutputError, match="ties it to the Earth"):
        write_polygons(trace_files(map_of_nowhere), tmp_path / "a.geojsonl")
    assert not list(tmp_path.glob("*geojsonl*"))


def test_stale_sidecars_go(table, tmp_path):
    path = tmp_path / "out.gpkg"
    for ending in ("", "-wal", "-journal"):
        (tmp_path / f"out.gpkg{ending}").write_bytes(b"old")
    write_polygons(table, path)
    assert [p.name for p in tmp_path.glob("*out.gpkg*")] == ["out.gpkg"]
    assert read(path).num_rows == len(table)


@pytest.mark.parametrize("name", ["out.shp", "out", "out.gpkg.txt"])
def test_other_endings_are_refused(name):
    with pytest.raises(OutputError, match=r"\.gpkg.*\.fgb.*\.parquet.*\.geojsonl.*\.geojsons.*\.pmtiles"):
        writer_for(Path(name))


@every_format
def test_users_read_of_it(suffix):
    for verb in (predict, polygonize):
        assert re.search(rf"\{suffix}\b", CliRunner().invoke(verb, ["--help"]).output)
    page = (Path(__file__).parents[3] / "docs" / "polygons.md").read_text("utf-8")
    assert f"\n| `{suffix}` | " in page


def test_endings_may_be_upper_case():
    assert writer_for(Path("OUT.GPKG")).name == "GeoPackage"


def test_geopackage_version_index_and_style(table, tmp_path):
    path = tmp_path / "out.gpkg"
    write_polygons(table, path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (10300,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        assert "rtree_polygons_geometry" in tables
        ((layer, column, default, qml),) = database.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchall()
    assert (layer, column, default) == ("polygons", "geometry", 1)
    style = ET.fromstring(qml)
    assert style.find("renderer-v2").get("attr") == "class_id"
    labels = {c.get("value"): c.get("label") for c in style.iterfind(".//category")}
    assert labels == {"1": "corn", "2": "soybeans", "7": "water"}
    colors = [
        option.get("value") for option in style.iterfind(".//symbol/layer/Option/Option[@name='color']")
    ]
    assert colors == ["255,211,0,255", "38,112,0,255", "75,112,163,255"]


def test_flatgeobuf_is_indexed(table, tmp_path):
    path = tmp_path / "out.fgb"
    write_polygons(table, path)
    info = pyogrio.read_info(path)
    assert info["layer_name"] == "polygons"
    assert info["capabilities"]["fast_spatial_filter"]


def test_geoparquet_metadata_and_covering(table, tmp_path):
    path = tmp_path / "out.parquet"
    write_polygons(table, path)
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["Polygon"]
    assert column["covering"] == {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}
    stored = pq.read_table(path)
    shapes = shapely.from_wkb(stored["geometry"].to_pylist())
    assert column["bbox"] == shapely.total_bounds(shapes).tolist()
    boxes = [tuple(box.values()) for box in stored["bbox"].to_pylist()]
    assert boxes == [tuple(bounds) for bounds in shapely.bounds(shapes).tolist()]
