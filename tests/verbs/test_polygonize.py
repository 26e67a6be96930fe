from __future__ import annotations

import json
import sqlite3

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
from affine import Affine

import geoseg
from geoseg.errors import OutputError, RunError, SceneError, SettingsError
from geoseg.maps.sidecar import class_table_xml
from geoseg.progress import Silent
from geoseg.verbs import polygonize as module
from geoseg.verbs.polygonize import polygonize
from tests.polygons.conftest import write_raster
from tests.saying import Saying

NAMES = [(1, "corn", (255, 211, 0)), (2, "soybeans", (38, 112, 0)), (7, "water", (75, 112, 163))]


@pytest.fixture
def class_map(tmp_path):
    classes = np.full((30, 40), 1, np.uint8)
    classes[3:6, 4:9] = 2  # 15 pixels
    classes[10, 10] = 7  # 1 pixel
    classes[20:, 20:] = 255
    path = tmp_path / "map.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=30,
        width=40,
        dtype="uint8",
        nodata=255,
        crs="EPSG:32614",
        transform=Affine(10, 0, 500_000, 0, -10, 5_200_000),
    ) as file:
        file.write(classes, 1)
    (tmp_path / "map.tif.aux.xml").write_text(class_table_xml(NAMES))
    return path


def rows(path):
    return pyogrio.read_dataframe(path, layer="polygons")


def table(path):
    return pyogrio.read_arrow(path, layer="polygons")[1].to_pylist()


def test_a_class_map_becomes_polygons(class_map, tmp_path):
    result = polygonize(class_map, tmp_path / "out.gpkg")
    found = rows(result.output)
    assert found["id"].tolist() == ["r0c0", "r3c4", "r10c10"]
    assert found["class_name"].tolist() == ["corn", "soybeans", "water"]
    assert found["pixel_count"].tolist() == [30 * 40 - 200 - 16, 15, 1]
    assert (result.polygons, result.left_out) == (3, 0)


@pytest.mark.parametrize("smooth", [None, 3])
def test_the_class_map_is_opened_once(class_map, tmp_path, monkeypatch, smooth):
    opened, really = [], rasterio.open
    scene = write_raster(tmp_path / "scene.tif", np.ones((30, 40), np.uint8), names=["red"])

    def count(path, *args, **options):
        opened.append(str(path))
        return really(path, *args, **options)

    monkeypatch.setattr(rasterio, "open", count)
    asked = {"min_area": "2px", "classes": ["corn"], "simplify": "2px", "smooth": smooth, "workers": 1}
    polygonize(class_map, tmp_path / "out.gpkg", stats=["red"], stats_from=scene, **asked)
    assert opened.count(str(class_map)) == 1


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"min_area": "2px"}, ["corn", "soybeans"]),
        ({"min_area": "15px"}, ["corn", "soybeans"]),
        ({"min_area": "0.1ha"}, ["corn", "soybeans"]),
        ({"min_area": "0.2ha"}, ["corn"]),
        ({"min_area": "1600m2"}, ["corn"]),
        ({"classes": ["corn", 7]}, ["corn", "water"]),
        ({"classes": ["2", "Water"]}, ["soybeans", "water"]),
        ({"classes": [99]}, []),
        ({"classes": ["corn", "water"], "min_area": "2px"}, ["corn"]),
    ],
)
def test_filters_leave_rows_out(class_map, tmp_path, filters, kept):
    everything = table(polygonize(class_map, tmp_path / "all.gpkg").output)
    result = polygonize(class_map, tmp_path / "out.gpkg", **filters)
    assert (result.polygons, result.left_out) == (len(kept), 3 - len(kept))
    found = table(result.output)
    assert [row["class_name"] for row in found] == kept
    assert found == [row for row in everything if row["class_name"] in kept]


def test_the_report_says_what_was_done(class_map, tmp_path):
    path = tmp_path / "out.json"
    result = polygonize(
        class_map, tmp_path / "out.fgb", min_area="2px", date="2024-07-31", block_size=7, report=path
    )
    report = json.loads(path.read_text())
    assert report == result.report
    assert report["settings"] == {
        "min_area": "2px",
        "classes": None,
        "date": "2024-07-31",
        "refine": None,
        "simplify": None,
        "smooth_borders": 0,
        "stats": None,
        "stats_from": None,
        "fiboa": False,
        "block_size": 7,
        "workers": result.report["settings"]["workers"],
        "max_memory": result.report["settings"]["max_memory"],
    }
    assert (report["polygons"], report["polygons_left_out"]) == (2, 1)
    assert {row["name"]: (row["pixels"], row["polygons"]) for row in report["classes"]} == {
        "corn": (984, 1),
        "soybeans": (15, 1),
        "water": (1, 0),
    }
    assert report["classes"][1]["area_ha"] == pytest.approx(0.15, rel=2e-3)
    assert report["outputs"]["polygons"].endswith("out.fgb")


def test_an_existing_file_is_kept_unless_told_otherwise(class_map, tmp_path):
    output = tmp_path / "out.gpkg"
    output.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--overwrite"):
        polygonize(class_map, output)
    assert output.read_bytes() == b"mine"
    polygonize(class_map, output, overwrite=True)
    assert len(rows(output)) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"output": "out.shp"}, OutputError, r"\.gpkg or \.fgb or \.parquet"),
        ({"output": "no/out.gpkg"}, OutputError, "no folder"),
        ({"min_area": "large"}, SettingsError, r"0\.5ha"),
        ({"classes": ["maize"]}, SettingsError, r"corn \(1\), soybeans \(2\), water \(7\)"),
        ({"classes": [300]}, SettingsError, "no class"),
        ({"classes": "corn"}, SettingsError, "list"),
        ({"date": "yesterday"}, SettingsError, "2024-07-31"),
        ({"block_size": 0}, SettingsError, "at least 1"),
        ({"class_map": "none.tif"}, SceneError, r"none\.tif"),
        ({"confidence": "none.tif"}, SceneError, r"none\.tif"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(class_map, tmp_path, arguments, error, message):
    given = {"class_map": class_map, "output": "out.gpkg"} | arguments
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        polygonize(given.pop("class_map"), tmp_path / given.pop("output"), **given)
    assert sorted(tmp_path.iterdir()) == before


def test_fiboas_columns_on_request(class_map, tmp_path):
    result = polygonize(class_map, tmp_path / "crops.parquet", classes=["corn"], fiboa=True)
    stored = pq.read_table(result.output)
    assert stored["id"].to_pylist() == ["r0c0"]
    assert stored["metrics:area"].to_pylist() == pytest.approx([1e4 * stored["area_ha"][0].as_py()])
    assert list(json.loads(stored.schema.metadata[b"collection"])["schemas"]) == ["crops"]
    assert result.report["settings"]["fiboa"] is True


def test_a_format_that_cannot_hold_the_map_is_refused_before_tracing(class_map, tmp_path, monkeypatch):
    with rasterio.open(class_map, "r+") as file:
        file.crs = rasterio.crs.CRS()
    monkeypatch.setattr(module, "trace_class_map", None)
    for name, fiboa in (("a.pmtiles", False), ("a.geojsonl", False), ("a.parquet", True)):
        with pytest.raises(OutputError, match="needs a map whose CRS ties it to the Earth"):
            polygonize(class_map, tmp_path / name, fiboa=fiboa)
    with pytest.raises(OutputError, match="--fiboa goes into GeoParquet"):
        polygonize(class_map, tmp_path / "a.gpkg", fiboa=True)


def test_a_failed_run_leaves_nothing(class_map, tmp_path, monkeypatch):
    def fail(*_):
        raise RunError("the disk is full")

    monkeypatch.setattr(module, "stage_json", fail)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RunError, match="disk is full"):
        polygonize(class_map, tmp_path / "out.gpkg", report=tmp_path / "r.json")
    assert sorted(tmp_path.iterdir()) == before


def test_progress_counts_blocks(class_map, tmp_path):
    seen = []

    class Counting(Silent):
        def stage(self, name, total, unit):
            seen.append((name, total, unit))
            return super().stage(name, total, unit)

        def advance(self, done):
            seen.append(done)

    polygonize(class_map, tmp_path / "out.gpkg", block_size=16, progress=Counting())
    assert seen == [("tracing polygons", 6, "blocks")] + [1] * 6


def test_the_style_has_the_maps_names(class_map, tmp_path):
    output = polygonize(class_map, tmp_path / "out.gpkg").output
    database = sqlite3.connect(output)
    (style,) = database.execute("SELECT styleQML FROM layer_styles").fetchone()
    database.close()
    assert all(f'label="{name}"' in style for _, name, _ in NAMES)


@pytest.mark.parametrize("given", [["grass, hay and pasture"], ["corn, Grass, hay and pasture"], ["1", 2]])
def test_class_names_may_hold_commas(tmp_path, given):
    path = write_raster(tmp_path / "map.tif", np.arange(16, dtype=np.uint8).reshape(4, 4) % 3)
    names = [(0, "corn", (1, 2, 3)), (1, "grass, hay and pasture", (4, 5, 6)), (2, "hay", (7, 8, 9))]
    (tmp_path / "map.tif.aux.xml").write_text(class_table_xml(names))
    result = polygonize(path, tmp_path / "out.gpkg", classes=given)
    expected = {"1": [1, 2]}.get(given[0], [0, 1] if "corn" in given[0] else [1])
    assert result.report["settings"]["classes"] == expected


def test_how_many_are_written_and_left_out_is_told(class_map, tmp_path):
    told = Saying()
    total = polygonize(class_map, tmp_path / "a.gpkg", progress=told).polygons
    polygonize(class_map, tmp_path / "b.gpkg", classes=["77"], progress=told)
    assert told.lines == [
        f"writing {total} polygons to {tmp_path / 'a.gpkg'}",
        f"writing 0 polygons to {tmp_path / 'b.gpkg'}, leaving out {total}",
    ]


@pytest.mark.parametrize("value", [255, float("inf"), float("-inf")])
def test_a_value_that_is_neither_class_nor_nodata_is_never_left_out_silently(tmp_path, value):
    """255 beside another nodata value, and infinities: to leave them out would hide that the map is not ours."""
    classes = np.full((20, 20), 1.0, np.float32)
    classes[3, 4], classes[5, 6] = value, 0
    write_raster(tmp_path / "map.tif", classes, nodata=0)
    with pytest.raises(SceneError, match="which is no class"):
        geoseg.polygonize(tmp_path / "map.tif", tmp_path / "a.gpkg")
    with pytest.raises(SceneError, match="which is no class"):
        geoseg.evaluate(tmp_path / "map.tif", tmp_path / "map.tif")
