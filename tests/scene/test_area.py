"""An area of interest: the box it is cut to, and which pixels are inside whatever window is asked for."""

from __future__ import annotations

import geopandas
import numpy as np
import pandas
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import InputError, SceneError
from geoseg.grid import Window
from geoseg.scene import open_scene
from geoseg.scene.area import AreaOfInterest, read_area
from tests.conftest import make_scene

TRIANGLE = shapely.Polygon([(3.2, 1.1), (90.4, 40.0), (20.5, 77.7)])


def area_of(polygon) -> AreaOfInterest:
    left, top, right, bottom = polygon.bounds
    return AreaOfInterest(
        Window.from_bounds(int(top), int(left), int(np.ceil(bottom)), int(np.ceil(right))), polygon
    )


@given(st.integers(0, 70), st.integers(0, 80), st.integers(1, 30), st.integers(1, 30))
@settings(deadline=None, max_examples=30)
def test_a_pixel_is_inside_when_its_centre_is(row, col, height, width):
    window = Window(row, col, height, width)
    rows, cols = np.indices(window.shape)
    expected = shapely.contains_xy(TRIANGLE, cols + col + 0.5, rows + row + 0.5)
    assert np.array_equal(area_of(TRIANGLE).mask(window), expected)


def test_the_answer_does_not_depend_on_the_window():
    area = area_of(shapely.Point(1500, 1200).buffer(700).union(shapely.box(100.5, 100.5, 900.5, 400.5)))
    whole = area.mask(Window(0, 0, 2100, 2300))
    pieces = np.zeros_like(whole)
    for row in range(0, 2100, 333):
        for col in range(0, 2300, 517):
            window = Window(row, col, min(333, 2100 - row), min(517, 2300 - col))
            pieces[window.slices()] = area.mask(window)
    assert np.array_equal(whole, pieces)
    assert whole.any()
    assert not whole.all()


def test_the_box_is_whole_pixels_cut_to_the_scene(tmp_path):
    scene = open_scene(make_scene(tmp_path / "scene.tif", (150, 130)))
    polygon = shapely.box(499000, 5199555, 500404, 5199801)
    geopandas.GeoDataFrame(geometry=[polygon], crs="EPSG:32614").to_parquet(tmp_path / "aoi.parquet")
    assert read_area(tmp_path / "aoi.parquet", scene).window == Window(19, 0, 26, 41)


def test_polygons_beside_a_style_are_found_without_a_warning(tmp_path, recwarn):
    """As in the GeoPackages that geoseg itself writes."""
    scene = open_scene(make_scene(tmp_path / "scene.tif"))
    path = tmp_path / "fields.gpkg"
    pandas.DataFrame({"styleName": ["classes"]}).pipe(pyogrio.write_dataframe, path, layer="a_style")
    polygon = shapely.box(500100, 5199500, 500404, 5199801)
    frame = geopandas.GeoDataFrame(geometry=[polygon], crs="EPSG:32614")
    frame.to_file(path, layer="polygons", mode="a")
    assert read_area(path, scene).window == Window(19, 10, 31, 31)
    assert not [warning for warning in recwarn if "layer" in str(warning.message)]
    frame.to_file(path, layer="others", mode="a")
    with pytest.raises(InputError, match="several layers of polygons"):
        read_area(path, scene)


@pytest.mark.parametrize("crs", ["EPSG:32614", None])
def test_coordinates_without_a_crs_are_taken_to_be_the_scenes_and_that_is_noted(tmp_path, crs):
    scene = open_scene(make_scene(tmp_path / "scene.tif"))
    polygon = shapely.box(500100, 5199500, 500404, 5199801)
    geopandas.GeoDataFrame(geometry=[polygon], crs=crs).to_parquet(tmp_path / "aoi.parquet")
    area = read_area(tmp_path / "aoi.parquet", scene)
    assert area.window == Window(19, 10, 31, 31)
    assert area.assumed_crs == (crs is None)


def test_files_that_hold_no_area_are_refused(tmp_path):
    scene = open_scene(make_scene(tmp_path / "scene.tif"))
    geopandas.GeoDataFrame(geometry=[shapely.Point(500100, 5199900)], crs="EPSG:32614").to_file(
        tmp_path / "p.gpkg"
    )
    (tmp_path / "text.geojson").write_text("not json")
    with pytest.raises(InputError, match="no polygon"):
        read_area(tmp_path / "p.gpkg", scene)
    with pytest.raises(InputError, match="vector"):
        read_area(tmp_path / "text.geojson", scene)
    plain = open_scene(make_scene(tmp_path / "plain.tif", crs=None, transform=None))
    with pytest.raises(SceneError, match="transform"):
        read_area(tmp_path / "p.gpkg", plain)


def test_rows_outside_the_scene_or_without_an_area_are_counted(tmp_path):
    scene = open_scene(make_scene(tmp_path / "scene.tif"))
    shapes = [shapely.box(500100, 5199500, 500404, 5199801), shapely.box(0, 0, 9, 9), shapely.Point(0, 0)]
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32614").to_file(tmp_path / "aoi.gpkg")
    found = read_area(tmp_path / "aoi.gpkg", scene).omissions
    assert [(each.count, each.total, each.is_too_large) for each in found] == [(1, 3, True), (1, 3, False)]
    assert "outside scene" in found[1].reason
