"""Class names and colours from the ``.vat.dbf`` that ArcGIS keeps beside a raster, as the real CDL has it."""

from __future__ import annotations

import numpy as np
import pandas
import pyogrio
import pytest
import rasterio

import geoseg
from geoseg.raster.legend import read_value_table
from tests.scene.rasters import write

CDL = {
    "VALUE": [0, 1, 5, 176],
    "RED": [0.0, 1.0, 0.149, 0.91],
    "GREEN": [0.0, 0.827, 0.439, 1.0],
    "BLUE": [0.0, 0.0, 0.0, 0.749],
    "CLASS_NAME": ["Background", "Corn", "Soybeans", "Grass/Pasture"],
    "OPACITY": [0.0, 1.0, 1.0, 1.0],
}


def put(raster, columns):
    pyogrio.write_dataframe(pandas.DataFrame(columns), f"{raster}.dbf", driver="ESRI Shapefile")
    (raster.parent / f"{raster.name}.dbf").rename(raster.with_name(raster.name + ".vat.dbf"))
    return raster


def test_the_table_of_the_cropland_data_layer(tmp_path):
    names, colors = read_value_table(put(tmp_path / "cdl.tif", CDL))
    assert names == {0: "Background", 1: "Corn", 5: "Soybeans", 176: "Grass/Pasture"}
    assert colors == {0: "#000000", 1: "#ffd300", 5: "#267000", 176: "#e8ffbf"}


@pytest.mark.parametrize("column", ["Class_Name", "LABEL", "Category"])
def test_columns_are_called_many_things(tmp_path, column):
    columns = {"Value": [3], "Count": [12], column: [" wheat "], "Red": [1], "Green": [255], "Blue": [0]}
    assert read_value_table(put(tmp_path / "a.tif", columns)) == ({3: "wheat"}, {3: "#01ff00"})


def test_numbers_are_not_names(tmp_path):
    assert read_value_table(put(tmp_path / "a.tif", {"Value": [3], "Class": [7], "Count": [1]})) == ({}, {})


@pytest.mark.parametrize("content", [None, b"", b"not a dbf at all"])
def test_without_a_table_nothing_is_known(tmp_path, content):
    if content is not None:
        (tmp_path / "a.tif.vat.dbf").write_bytes(content)
    assert read_value_table(tmp_path / "a.tif") == ({}, {})


def test_rows_without_a_value_are_left_out(tmp_path):
    columns = {"Value": [3.0, float("nan"), 7.0], "Label": ["wheat", "nothing", None]}
    assert read_value_table(put(tmp_path / "a.tif", columns)) == ({3: "wheat"}, {})


def test_values_that_are_no_numbers_say_nothing(tmp_path):
    columns = {"Value": ["a", "b"], "Label": ["wheat", "corn"]}
    assert read_value_table(put(tmp_path / "a.tif", columns)) == ({}, {})


def test_a_table_without_values_says_nothing(tmp_path):
    assert read_value_table(put(tmp_path / "a.tif", {"NAME": ["corn"]})) == ({}, {})


def test_polygons_are_named_by_it(tmp_path):
    values = np.repeat(np.array([[[1, 5, 176, 9]]], "uint8"), 6, axis=1)
    raster = put(write(tmp_path / "cdl.tif", values), CDL)
    geoseg.polygonize(raster, tmp_path / "fields.fgb")
    table = pyogrio.read_dataframe(tmp_path / "fields.fgb")
    assert dict(zip(table.class_id, table.class_name, strict=True)) == {
        1: "Corn",
        5: "Soybeans",
        176: "Grass/Pasture",
        9: "class 9",
    }


def test_gdals_own_sidecar_comes_first(tmp_path):
    raster = put(write(tmp_path / "a.tif", np.full((1, 4, 4), 5, "uint8")), CDL)
    with rasterio.open(raster):
        pass
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames>'
        + "".join(f"<Category>{name}</Category>" for name in ("", "", "", "", "", "soy"))
        + "</CategoryNames></PAMRasterBand></PAMDataset>"
    )
    geoseg.polygonize(raster, tmp_path / "fields.fgb")
    assert pyogrio.read_dataframe(tmp_path / "fields.fgb").class_name.tolist() == ["soy"]
