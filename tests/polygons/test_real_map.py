"""The polygons of a real crop map."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.windows import Window

from geoseg.polygons.borders.change import change_borders
from geoseg.polygons.borders.options import BorderOptions
from geoseg.units import Length
from tests.polygons.helpers import class_areas, trace_files

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
    table = trace_files(path, block_size=256)
    shapes, columns = table.polygons.load().geometries(), table.polygons.load().columns
    assert len(table) > 1000
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert columns.pixels.sum() == (values != nodata).sum()
    for item in class_areas(path):
        mine = columns.class_ids == item.id
        assert columns.pixels[mine].sum() == item.pixels == (values == item.id).sum()
        assert table.areas_ha()[mine].sum() == item.area_ha
    whole = trace_files(path)
    assert np.array_equal(shapely.to_wkb(whole.polygons.load().geometries()), shapely.to_wkb(shapes))


@pytest.mark.parametrize(("tolerance", "rounds"), [(30.0, 0), (60.0, 0), (60.0, 2)])
def test_a_real_map_with_simpler_borders_is_a_valid_coverage(part, tolerance, rounds):
    path, _, _ = part
    table = trace_files(path, junctions=True)
    polygons, change = change_borders(table.polygons.load(), BorderOptions(Length(tolerance, False), rounds))
    shapes = polygons.geometries()
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    before = table.polygons.load().columns
    assert np.array_equal(polygons.columns.pixels, before.pixels)
    assert 0.5 * tolerance < change.moved <= (2.1 if rounds else 1.0001) * tolerance
    for item in class_areas(path):
        mine = before.class_ids == item.id
        limit = 0.02 + 2 / np.sqrt(mine.sum())  # few small patches change more
        assert change.pixels[mine].sum() == pytest.approx(item.pixels, rel=limit)
    again = change_borders(
        trace_files(path, junctions=True, block_size=256).polygons.load(),
        BorderOptions(Length(tolerance, False), rounds),
    )[0]
    assert np.array_equal(shapely.to_wkb(again.geometries()), shapely.to_wkb(shapes))
