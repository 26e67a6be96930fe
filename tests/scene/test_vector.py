"""Vector files of any kind: what is read, repaired, and counted as left out."""

from __future__ import annotations

import gzip
import json
import shutil

import geopandas
import numpy as np
import pytest
import shapely

from geoseg.errors import SceneError
from geoseg.scene.vector import is_vector, read_polygons, why_not_vector

SQUARE = shapely.box(500000, 5199000, 500300, 5199300)
TABLE = geopandas.GeoDataFrame({"crop": ["maïs"]}, geometry=[SQUARE], crs="EPSG:32614")


def write_geojson(path, *geometries):
    features = [
        {"type": "Feature", "properties": {"n": i}, "geometry": geometry}
        for i, geometry in enumerate(geometries)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [[list(point) for point in ring] for ring in rings]}


RING = [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)]


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("a.gpkg", "GPKG"),
        ("a.kml", "KML"),
        ("a.kmz", "LIBKML"),
        ("a.gml", "GML"),
        ("a.geojsonl", "GeoJSONSeq"),
        ("a.gdb", "OpenFileGDB"),
        ("a.shz", "ESRI Shapefile"),
        ("a.tab", "MapInfo File"),
        ("no_ending", "FlatGeobuf"),
    ],
)
def test_any_format_that_gdal_reads(tmp_path, name, driver):
    table = TABLE.to_crs(4326) if driver in ("KML", "LIBKML", "GeoJSONSeq") else TABLE
    table.to_file(tmp_path / name, driver=driver)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert is_vector(str(tmp_path / name))
    found = read_polygons(tmp_path / name, "--aoi")
    assert sorted(path.name for path in tmp_path.iterdir()) == before  # no .gfs, no index
    assert found.attributes["crop"].tolist() == ["maïs"]
    placed = geopandas.GeoSeries(found.shapes, crs=found.crs).to_crs(32614)
    assert placed.area.sum() == pytest.approx(SQUARE.area, rel=1e-3)
    assert (found.count, found.omissions, found.repaired) == (1, (), ())


def test_compressed_files(tmp_path):
    TABLE.to_file(tmp_path / "a.gpkg")
    TABLE.to_file(tmp_path / "b.geojson")
    shutil.make_archive(str(tmp_path / "c"), "zip", tmp_path, "a.gpkg")
    shutil.copy(tmp_path / "c.zip", tmp_path / "a.gpkg.zip")
    (tmp_path / "b.geojson.gz").write_bytes(gzip.compress((tmp_path / "b.geojson").read_bytes()))
    for name in ("c.zip", "a.gpkg.zip", "b.geojson.gz"):
        assert read_polygons(tmp_path / name, "--aoi").shapes[0].area == SQUARE.area, name


def test_what_is_no_vector_file(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.geojson").write_text("not json")
    assert why_not_vector(str(tmp_path / "a.csv")) == "it has no geometries"
    assert "b.geojson" in why_not_vector(str(tmp_path / "b.geojson"))
    with pytest.raises(SceneError, match=r"c\.gml: no such file \(labels\)"):
        read_polygons(tmp_path / "c.gml", "labels")


def test_collections_count_by_their_polygons(tmp_path):
    line = {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}
    other = polygon([(10, 0), (14, 0), (14, 4), (10, 4), (10, 0)])
    inner = {"type": "GeometryCollection", "geometries": [other]}
    nested = {"type": "GeometryCollection", "geometries": [polygon(RING), line, inner]}
    found = read_polygons(write_geojson(tmp_path / "a.geojson", nested, other), "--aoi")
    assert [shape.area for shape in found.shapes] == [32, 16]
    assert found.repaired == ((0, "a collection, of which the polygons are used"),)
    assert found.omissions == ()


def test_rows_without_an_area_are_counted(tmp_path):
    path = write_geojson(
        tmp_path / "a.geojson",
        polygon(RING),
        None,
        {"type": "Point", "coordinates": [1, 1]},
        {"type": "LineString", "coordinates": [[0, 0], [9, 9]]},
        {"type": "Polygon", "coordinates": []},
        polygon([(0, 0), (1, 1), (2, 2), (0, 0)]),
        polygon([(0, 0), (2, 0), (2, 2), (0, 0)]),
    )
    found = read_polygons(path, "labels")
    assert found.rows.tolist() == [0, 6]
    assert found.attributes["n"].tolist() == [0, 6]
    (omission,) = found.omissions
    assert (omission.kind, omission.count, omission.total, omission.is_too_large) == ("rows", 5, 7, True)
    for part in ("points 1", "lines 1", "empty 1", "without a geometry 1"):
        assert part in omission.reason


def test_rings_are_closed_and_bow_ties_repaired(tmp_path):
    path = write_geojson(
        tmp_path / "a.geojson",
        polygon(RING[:-1]),
        polygon([(0, 0), (4, 4), (4, 0), (0, 4), (0, 0)]),
        polygon([*RING[:2], *RING[1:]]),  # a point twice, which is valid
        polygon([(x, y, 7) for x, y in RING]),
    )
    found = read_polygons(path, "--aoi")
    assert [shape.area for shape in found.shapes] == [16, 8, 16, 16]
    assert not shapely.has_z(found.shapes).any()
    assert [number for number, _ in found.repaired] == [0, 1]
    assert found.repaired[0][1] == "a ring is not closed"


def test_curves_and_surfaces(tmp_path):
    (tmp_path / "a.csv").write_text(
        "n,WKT\n"
        '1,"CURVEPOLYGON(CIRCULARSTRING(0 0,4 0,4 4,0 4,0 0))"\n'
        '2,"MULTISURFACE(((10 10,14 10,14 14,10 10)))"\n'
        '3,"POLYGON ZM((0 0 1 2,1 0 1 2,1 1 1 2,0 0 1 2))"\n'
        '4,"TIN Z(((0 0 0,0 0 1,0 1 0,0 0 0)))"\n'
    )
    found = read_polygons(tmp_path / "a.csv", "labels")
    assert found.rows.tolist() == [0, 1, 2]
    assert found.crs is None
    assert "cannot be read 1" in found.omissions[0].reason


def test_broken_geometries_of_geoparquet_are_one_clear_line(tmp_path):
    import pyarrow
    import pyarrow.parquet

    TABLE.to_parquet(tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    broken = table.set_column(1, "geometry", pyarrow.array([b"\x01\x03"]))
    pyarrow.parquet.write_table(broken, tmp_path / "b.parquet")
    with pytest.raises(SceneError, match=r"b\.parquet \(labels\) cannot be read"):
        read_polygons(tmp_path / "b.parquet", "labels")


@pytest.mark.parametrize(("encoding", "named"), [("utf-8", False), ("cp1252", False), ("cp1252", True)])
def test_texts_of_shapefiles_that_do_not_say_their_encoding(tmp_path, encoding, named):
    names = ["forêt – dense", "Gewässer", "œuvre"]
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(3)]
    table = geopandas.GeoDataFrame({"classé": names, "n": [1, 2, 3]}, geometry=shapes, crs=32614)
    table.to_file(tmp_path / "a.shp", encoding=encoding)
    (tmp_path / "a.cpg").write_text("UTF-8") if named else (tmp_path / "a.cpg").unlink()
    attributes = read_polygons(tmp_path / "a.shp", "labels").attributes
    assert attributes["n"].tolist() == [1, 2, 3]
    assert attributes["classé"].tolist() == names


def test_an_unknown_crs_of_geopackage_is_none(tmp_path):
    import sqlite3

    TABLE.to_file(tmp_path / "a.gpkg", layer="a")
    with sqlite3.connect(tmp_path / "a.gpkg") as file:
        file.execute("UPDATE gpkg_geometry_columns SET srs_id = 0")
        file.execute("UPDATE gpkg_contents SET srs_id = 0")
    file.close()
    assert read_polygons(tmp_path / "a.gpkg", "--aoi").crs is None


def test_coordinates_that_are_no_numbers(tmp_path):
    endless = shapely.Polygon([(0, 0), (np.inf, 0), (4, 4), (0, 0)])
    geopandas.GeoDataFrame(geometry=[SQUARE, endless], crs=32614).to_parquet(tmp_path / "a.parquet")
    found = read_polygons(tmp_path / "a.parquet", "--aoi")
    assert found.rows.tolist() == [0]
    assert found.omissions[0].count == 1
