"""The polygons of a real crop map."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.windows import Window

from geoseg.polygons.vectorise import class_areas, polygons_from_maps

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(
        "GEOSEG_DATA" not in os.environ, reason="GEOSEG_DATA does not say where the scenes are"
    ),
]


@pytest.fixture
def part(tmp_path):
    """A part of the map, a third of it nodata."""
    with rasterio.open(Path(os.environ["GEOSEG_DATA"], "dakota", "classes.tif")) as source:
        window = Window(3000, 3000, 800, 700)
        values = source.read(1, window=window)
        profile = source.profile | {
            "width": 800,
            "height": 700,
            "transform": source.window_transform(window),
        }
    path = tmp_path / "part.tif"
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
    return path, values, profile["nodata"]


def test_polygons_cover_a_real_map_exactly(part):
    path, values, nodata = part
    table = polygons_from_maps(path, block_size=256)
    shapes, columns = table.polygons.geometries(), table.polygons.columns
    assert len(table) > 1000
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert columns.pixels.sum() == (values != nodata).sum()
    for item in class_areas(path):
        mine = columns.class_ids == item.id
        assert columns.pixels[mine].sum() == item.pixels == (values == item.id).sum()
        assert table.areas_ha()[mine].sum() == item.area_ha
    whole = polygons_from_maps(path)
    assert np.array_equal(shapely.to_wkb(whole.polygons.geometries()), shapely.to_wkb(shapes))
