"""A file is known again by what it holds."""

from __future__ import annotations

import os
import sqlite3

import geopandas
import pytest
import shapely

from geoseg.scene import identity
from geoseg.scene.identity import file_states
from tests.conftest import make_scene


@pytest.fixture
def layer(tmp_path):
    def write(ids=(1, 2)):
        shapes = [shapely.box(i, 0, i + 1, 1) for i in range(len(ids))]
        geopandas.GeoDataFrame({"class_id": list(ids)}, geometry=shapes, crs=32614).to_file(
            tmp_path / "labels.gpkg", layer="labels"
        )
        return str(tmp_path / "labels.gpkg")

    return write


def look(path):
    """What QGIS does when a layer is opened and closed, and more."""
    with sqlite3.connect(path, isolation_level=None) as base:
        base.execute("pragma journal_mode=wal")
        base.execute("select * from labels").fetchall()
        base.execute("vacuum")
        base.execute("pragma journal_mode=delete")
    base.close()


def test_a_layer_that_somebody_looked_at_is_the_same(layer):
    path = layer()
    before, content = file_states([path]), open(path, "rb").read()  # noqa: SIM115
    look(path)
    assert open(path, "rb").read() != content  # noqa: SIM115
    assert file_states([path]) == before
    layer((1, 3))
    assert file_states([path]) != before


def test_a_raster_is_its_bytes_and_not_its_time(tmp_path):
    path = str(make_scene(tmp_path / "a.tif", shape=(20, 20)))
    before = file_states([path])
    os.utime(path, (1, 1))
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset/>")  # statistics, from QGIS
    assert file_states([path]) == before
    make_scene(tmp_path / "a.tif", shape=(20, 20), seed=1)
    assert file_states([path]) != before


def test_the_files_of_a_vrt_count(tmp_path):
    from rasterio.shutil import copy

    make_scene(tmp_path / "tile.tif", shape=(20, 20))
    copy(tmp_path / "tile.tif", tmp_path / "all.vrt", driver="VRT")
    assert sorted(file_states([str(tmp_path / "all.vrt")])) == ["all.vrt", "tile.tif"]


def test_of_large_files_the_time_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "_MOST_READ", 100)
    path = str(make_scene(tmp_path / "a.tif", shape=(20, 20)))
    before = file_states([path])
    os.utime(path, (1, 1))
    assert list(file_states([path])) == ["a.tif"]
    assert file_states([path]) != before


def test_a_tiff_is_not_opened_as_a_vector_file(tmp_path, monkeypatch):
    """What reads vector files takes a second to load, and most runs need none."""
    monkeypatch.setattr(identity, "is_vector", pytest.fail)
    assert file_states([str(make_scene(tmp_path / "a.tif", shape=(20, 20)))])
