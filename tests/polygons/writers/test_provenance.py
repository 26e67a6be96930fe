"""What files of polygons say of where they come from, and that it is read back."""

from __future__ import annotations

import geopandas
import pytest
from shapely.geometry import box

from geoseg.errors import OutputError
from geoseg.polygons.provenance import choice_tags, table_provenance
from geoseg.polygons.writers.read_provenance import read_provenance
from geoseg.polygons.writers.writing import write_polygons
from geoseg.units import parse_area
from tests.polygons.helpers import trace_files


@pytest.fixture
def table(small_map):
    return trace_files(small_map.class_map, **small_map.rasters)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".pmtiles"])
def test_what_was_written_is_read(table, tmp_path, suffix):
    write_polygons(table, tmp_path / f"a{suffix}")
    assert read_provenance(tmp_path / f"a{suffix}") == dict(table.provenance)
    assert "GEOSEG_MODEL" in table.provenance


@pytest.mark.parametrize("suffix", [".geojsonl", ".geojsons"])
def test_a_format_without_a_place_for_it(table, tmp_path, suffix):
    write_polygons(table, tmp_path / f"a{suffix}")
    assert read_provenance(tmp_path / f"a{suffix}") is None


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
def test_files_of_others_say_nothing(tmp_path, suffix):
    path = tmp_path / f"polygons{suffix}"
    frame = geopandas.GeoDataFrame({"a": [1]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:32614")
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_file(path, layer="polygons")
    assert read_provenance(path) == {}


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".pmtiles"])
def test_a_file_that_is_none(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(b"nothing of the kind")
    with pytest.raises(OutputError, match=rf"a\{suffix} cannot be read: ") as caught:
        read_provenance(tmp_path / f"a{suffix}")
    assert "\n" not in str(caught.value)


def test_only_what_was_done_is_told():
    assert choice_tags(None, None, fiboa=False) == {}
    assert choice_tags(parse_area("450m2"), {7, 1}, fiboa=True) == {
        "GEOSEG_MIN_AREA": "0.045ha",
        "GEOSEG_CLASSES": "1, 7",
        "GEOSEG_FIBOA": "yes",
    }
    assert list(table_provenance({"GEOSEG_B": "1", "GEOSEG_A": "2"}, zonal=None)) == [
        "GEOSEG_POLYGONS_SCHEMA",
        "GEOSEG_A",
        "GEOSEG_B",
    ]
    found = table_provenance({}, zonal=None, without=["confidence", "probabilities"])
    assert found["GEOSEG_WITHOUT"] == "confidence, probabilities"
