"""Other people's readers open what is written: ogrinfo, geopandas, duckdb."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from geoseg.files import publish
from geoseg.polygons.table import rows
from geoseg.polygons.writers.writing import stage_polygons, write_polygons
from tests.polygons.helpers import trace_files

REGION = (500_000, 5_199_900, 500_100, 5_200_000)


@pytest.fixture
def table(small_map):
    return trace_files(small_map.class_map, **small_map.rasters)


def inside(table):
    """Ids of the rows whose box meets the region."""
    boxes = shapely.box(*shapely.bounds(table.polygons.load().geometries()).T)
    met = shapely.intersects(boxes, shapely.box(*REGION))
    return {row for row, hit in zip(ids(table), met, strict=True) if hit}


def ids(table):
    return [i for batch in table.batches() for i in batch["id"].to_pylist()]


def ogrinfo(*arguments):
    if shutil.which("ogrinfo") is None:
        pytest.skip("needs ogrinfo (apt install gdal-bin)")
    ran = subprocess.run(["ogrinfo", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojsonl", ".geojsons"])
def test_ogrinfo_reads_without_a_warning(table, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_polygons(table, path)
    summary = ogrinfo("-ro", "-so", "-al", path)
    assert "Warning" not in summary
    assert f"Feature Count: {len(table)}" in summary
    name = "out" if "geojson" in suffix else "polygons"
    assert f"Layer name: {name}\n" in summary


def test_polygons_are_the_first_layer_under_every_name(table, tmp_path):
    for name in ("a.gpkg", "with space.gpkg", "layer_styles.gpkg"):
        publish([stage_polygons(table, tmp_path / name)])
        assert "1: polygons (Polygon)" in ogrinfo("-ro", tmp_path / name)


def test_geopandas_reads_geoparquet_by_region(table, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    path = tmp_path / "out.parquet"
    write_polygons(table, path)
    frame = geopandas.read_parquet(path)
    assert frame.crs == "EPSG:32614"
    part = geopandas.read_parquet(path, bbox=REGION)
    assert set(part["id"]) == inside(table)
    assert 0 < len(part) < len(frame)


def test_row_groups_are_strips_of_the_map(small_map, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BATCH_POLYGONS", 12)
    table = trace_files(small_map.class_map, **small_map.rasters)
    path = tmp_path / "out.parquet"
    write_polygons(table, path)
    metadata = pq.ParquetFile(path).metadata
    names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    assert metadata.num_row_groups == -(-len(table) // 12)
    tops, bottoms = [], []
    for i in range(metadata.num_row_groups):
        tops.append(metadata.row_group(i).column(names.index("bbox.ymax")).statistics.max)
        bottoms.append(metadata.row_group(i).column(names.index("bbox.ymin")).statistics.min)
    assert tops == sorted(tops, reverse=True)
    assert np.max(bottoms) > np.min(tops)  # readers can leave some out


def spatial_duckdb():
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb (pip install duckdb)")
    connection = duckdb.connect()
    found = importlib.util.find_spec("duckdb_extension_spatial")
    if found is not None:
        folder = Path(found.submodule_search_locations[0])
        for extension in folder.glob(f"extensions/v{duckdb.__version__}/spatial.duckdb_extension"):
            connection.execute(f"LOAD '{extension}'")
            return connection, True
    return connection, False


@pytest.mark.parametrize("fiboa", [False, True])
def test_duckdb_reads_geoparquet(table, tmp_path, fiboa):
    connection, _ = spatial_duckdb()
    path = tmp_path / "out.parquet"
    write_polygons(table, path, fiboa=fiboa)
    count, hectares = connection.execute(f"SELECT count(*), sum(area_ha) FROM '{path}'").fetchone()
    assert (count, hectares) == (len(table), pytest.approx(table.areas_ha().sum(), rel=1e-12))
    xmin, ymin, xmax, ymax = REGION
    rows = connection.execute(
        f"SELECT id FROM '{path}' WHERE bbox.xmin <= {xmax} AND bbox.xmax >= {xmin} "
        f"AND bbox.ymin <= {ymax} AND bbox.ymax >= {ymin}"
    ).fetchall()
    assert {row for (row,) in rows} == inside(table)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb"])
def test_duckdb_spatial_reads_geometries(table, tmp_path, suffix):
    connection, is_spatial = spatial_duckdb()
    if not is_spatial:
        pytest.skip("needs duckdb's spatial extension (pip install duckdb-extension-spatial)")
    path = tmp_path / f"out{suffix}"
    write_polygons(table, path)
    source, column = (f"'{path}'", "geometry") if suffix == ".parquet" else (f"ST_Read('{path}')", None)
    column = column or ("geometry" if suffix == ".gpkg" else "geom")
    rows = connection.execute(f"SELECT id, ST_Area({column}), ST_IsValid({column}) FROM {source}").fetchall()
    areas = dict(zip(ids(table), shapely.area(table.polygons.load().geometries()), strict=True))
    assert {row[0]: row[1] for row in rows} == pytest.approx(areas)
    assert all(row[2] for row in rows)


def test_a_sequence_is_one_object_a_line_for_anyone(table, tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb (pip install duckdb)")
    path = tmp_path / "out.geojsonl"
    write_polygons(table, path)
    rows = duckdb.execute(
        f"SELECT properties.id FROM read_json('{path}', format = 'newline_delimited')"
    ).fetchall()
    assert [row for (row,) in rows] == ids(table)
    assert json.loads(path.read_text().splitlines()[0])["type"] == "Feature"
