"""Texts of rasters that are not in UTF-8."""

from __future__ import annotations

import numpy as np
import rasterio

from geoseg.raster.legend import read_legend
from geoseg.scene.opening import open_scene
from tests.scene.rasters import write

VALUES = np.full((2, 8, 8), 3, "uint8")


def test_names_of_bands_in_latin_1_are_read(tmp_path):
    path = write(tmp_path / "a.tif", VALUES, descriptions=("red", "2.2 Qm"))
    path.write_bytes(path.read_bytes().replace(b"Qm", b"\xb5m"))
    assert [band.name for band in open_scene(path).bands] == ["red", "2.2 µm"]


def test_class_names_beside_a_map_in_latin_1_are_read(tmp_path):
    path = write(tmp_path / "a.tif", VALUES[:1])
    names = "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category/><Category>Gew\xe4sser</Category>"
    (tmp_path / "a.tif.aux.xml").write_bytes(
        f"{names}</CategoryNames></PAMRasterBand></PAMDataset>".encode("latin-1")
    )
    with rasterio.open(path) as dataset:
        assert [(each.id, each.name) for each in read_legend(dataset)[0]] == [(1, "Gewässer")]
