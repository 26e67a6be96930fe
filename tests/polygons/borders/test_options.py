"""Simpler and rounder borders from the settings to the files."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from scipy import ndimage

from geoseg.errors import SettingsError
from geoseg.polygons.borders.options import BorderOptions
from geoseg.units import Length
from geoseg.verbs.polygonize import polygonize
from tests.saying import Saying

UTM = Affine(10, 0, 500_000, 0, -10, 5_200_000)


def write_map(path, classes, crs="EPSG:32614", transform=UTM):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=classes.shape[0],
        width=classes.shape[1],
        dtype="uint8",
        nodata=255,
        crs=crs,
        transform=transform,
    ) as file:
        file.write(classes, 1)
    return path


@pytest.fixture(scope="module")
def classes():
    random = np.random.default_rng(3)
    layers = [ndimage.gaussian_filter(random.standard_normal((90, 110)), 4) for _ in range(4)]
    out = np.argmax(layers, axis=0).astype(np.uint8)
    out[:12, :30] = 255
    return out


@pytest.fixture
def class_map(classes, tmp_path):
    return write_map(tmp_path / "map.tif", classes)


def table(path):
    return pyogrio.read_dataframe(path, layer="polygons")


def test_settings_of_borders():
    assert not BorderOptions.read(None, None)
    assert not BorderOptions.read(None, 0)
    assert BorderOptions.read("2px", None) == BorderOptions(Length(2.0, True), 0)
    assert BorderOptions.read(None, 3) == BorderOptions(None, 3)
    assert BorderOptions.read("2px", 1).to_json() == {"simplify": "2px", "smooth_borders": 1}
    for rounds in (-1, 5):
        with pytest.raises(SettingsError, match="--smooth-borders"):
            BorderOptions.read("2px", rounds)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
def test_every_format_takes_simplified_polygons(class_map, tmp_path, suffix):
    plain = polygonize(class_map, tmp_path / "plain.gpkg").output
    result = polygonize(class_map, tmp_path / f"out{suffix}", simplify="15m", smooth_borders=1)
    before = table(plain)
    if suffix == ".parquet":
        frame = pq.read_table(result.output).to_pandas()
        shapes = shapely.from_wkb(frame["geometry"].to_numpy())
    else:
        frame = table(result.output).set_index("id").loc[before["id"]].reset_index()
        shapes = frame.geometry.to_numpy()
    for column in ("id", "class_id", "class_name", "pixel_count", "touches_edge"):
        assert frame[column].tolist() == before[column].tolist(), column
    assert shapely.coverage_is_valid(shapes)
    assert shapely.is_valid(shapes).all()
    assert frame["area_ha"].to_numpy() == pytest.approx(shapely.area(shapes) / 1e4, rel=2e-3)
    assert not np.array_equal(frame["area_ha"], before["area_ha"])
    outer = shapely.length(shapely.get_exterior_ring(shapes))
    assert frame["perimeter_m"].to_numpy() == pytest.approx(outer, rel=2e-3)


def test_the_same_file_whatever_the_block_size(class_map, tmp_path):
    contents = set()
    for block_size in (None, 17, 64):
        path = tmp_path / f"{block_size}.parquet"
        polygonize(class_map, path, simplify="2px", block_size=block_size)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_filters_judge_polygons_as_they_were_and_change_no_border(class_map, tmp_path):
    plain = table(polygonize(class_map, tmp_path / "plain.gpkg", min_area="0.3ha", classes=[0, 2]).output)
    everything = table(polygonize(class_map, tmp_path / "all.gpkg", simplify="2px").output).set_index("id")
    kept = table(
        polygonize(class_map, tmp_path / "out.gpkg", simplify="2px", min_area="0.3ha", classes=[0, 2]).output
    )
    assert 2 < len(kept) < len(everything)
    assert kept["id"].tolist() == plain["id"].tolist()
    assert shapely.equals_exact(
        kept.geometry.to_numpy(), everything.loc[kept["id"]].geometry.to_numpy(), tolerance=0
    ).all()


def test_a_filter_judges_the_area_before(tmp_path):
    classes = np.zeros((40, 40), np.uint8)
    classes[::2, 10] = 1  # single pixels on a border between classes change their area when simplified
    classes[:, 11:] = 2
    path = write_map(tmp_path / "map.tif", classes)
    result = polygonize(path, tmp_path / "out.gpkg", simplify="2px", min_area="1px")
    assert result.left_out == 0


def test_the_report_and_one_line_say_what_changed(class_map, tmp_path):
    told, path = Saying(), tmp_path / "out.json"
    plain = table(polygonize(class_map, tmp_path / "plain.gpkg").output)
    result = polygonize(class_map, tmp_path / "out.gpkg", simplify="20m", report=path, progress=told)
    report = json.loads(path.read_text())
    assert report == result.report
    assert (report["settings"]["simplify"], report["settings"]["smooth_borders"]) == ("20m", 0)
    found = report["borders"]
    after = table(result.output)
    assert found["vertices_before"] == shapely.get_num_coordinates(plain.geometry.to_numpy()).sum()
    assert found["vertices"] == shapely.get_num_coordinates(after.geometry.to_numpy()).sum()
    moved = shapely.hausdorff_distance(
        shapely.boundary(plain.geometry.to_numpy()), shapely.boundary(after.geometry.to_numpy())
    ).max()
    assert moved <= found["moved_at_most_m"] * 1.002
    assert 10 < found["moved_at_most_m"] <= 20
    for row in found["classes"]:
        before, now = (frame[frame["class_id"] == row["id"]] for frame in (plain, after))
        change = now["area_ha"].sum() - before["area_ha"].sum()
        assert row["area_change_ha"] == pytest.approx(change, abs=1e-9)
        assert row["area_change_percent"] == pytest.approx(100 * change / before["area_ha"].sum(), abs=1e-3)
    # The areas of the report's classes stay those of the map.
    assert [row["area_ha"] for row in report["classes"]] == pytest.approx(
        plain.groupby("class_id")["area_ha"].sum().tolist()
    )
    (line,) = [line for line in told.lines if line.startswith("borders: ")]
    worst = max(found["classes"], key=lambda row: abs(row["area_change_percent"]))
    assert f"{found['vertices']:,}" in line
    assert f"{worst['name']} changed most in area, by {worst['area_change_percent']:+.2f} %" in line
    assert f"{found['moved_at_most_m']:.1f} m" in line


def test_nothing_is_told_of_borders_that_stay(class_map, tmp_path):
    told = Saying()
    result = polygonize(class_map, tmp_path / "out.gpkg", progress=told)
    assert "borders" not in result.report
    assert not [line for line in told.lines if "borders" in line]


def test_the_file_says_what_was_done(class_map, tmp_path):
    path = polygonize(class_map, tmp_path / "out.gpkg", simplify="2px", smooth_borders=2).output
    with closing(sqlite3.connect(path)) as database:
        stored = " ".join(str(row) for row in database.execute("SELECT metadata FROM gpkg_metadata"))
    assert "GEOSEG_SIMPLIFY" in stored
    assert "2px" in stored
    assert "GEOSEG_SMOOTH_BORDERS" in stored


def test_a_map_without_a_crs_is_counted_in_pixels(classes, tmp_path):
    path = write_map(tmp_path / "map.tif", classes, crs=None, transform=None)
    with pytest.raises(SettingsError, match="2px"):
        polygonize(path, tmp_path / "out.gpkg", simplify="10m")
    assert not (tmp_path / "out.gpkg").exists()
    told = Saying()
    found = polygonize(path, tmp_path / "out.gpkg", simplify="2px", progress=told).report["borders"]
    assert 1 < found["moved_at_most_px"] <= 2
    assert all(row["area_change_ha"] is None for row in found["classes"])
    assert any("px" in line for line in told.lines)


def test_a_tolerance_too_small_to_change_anything_is_told(class_map, tmp_path):
    told = Saying()
    result = polygonize(class_map, tmp_path / "a.gpkg", simplify="3m", progress=told)
    assert result.report["borders"]["vertices"] == result.report["borders"]["vertices_before"]
    assert "--simplify 3m removes none of the" in "".join(told.lines)
    assert "2px" in "".join(told.lines)
