"""Labels and areas of any rectangles: a pixel is what its centre says, whatever is read at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import geopandas
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from geoseg.classes import IGNORE
from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.labels.labels import open_labels
from geoseg.scene import open_scene
from geoseg.scene.area import read_area
from tests.scene.rasters import ramp, write

SHAPE = (24, 30)
sides = st.tuples(st.integers(0, 23), st.integers(0, 29), st.integers(1, 12), st.integers(1, 12))
fields = st.lists(st.tuples(sides, st.sampled_from([1, 2, 7]), st.floats(-0.4, 0.4)), min_size=1, max_size=5)


@settings(max_examples=15)
@given(fields, st.tuples(st.integers(0, 23), st.integers(0, 29)))
def test_centres_decide(drawn, corner):
    with tempfile.TemporaryDirectory() as scratch:
        scene = open_scene(write(Path(scratch) / "scene.tif", ramp(2, *SHAPE)))
        to_map, expected, inside = (
            scene.georeference.transform,
            np.full(SHAPE, IGNORE, np.uint8),
            np.zeros(SHAPE, bool),
        )
        shapes, several = [], np.zeros(SHAPE, bool)
        for (row, col, height, width), value, shift in drawn:
            (left, top), (right, bottom) = (
                to_map @ (col + shift, row + shift),
                to_map @ (col + width + shift, row + height + shift),
            )
            shapes.append(box(left, bottom, right, top))
            part = (slice(row, row + height), slice(col, col + width))
            several[part] |= inside[part] & (expected[part] != value)
            expected[part], inside[part] = value, True
        expected[several] = IGNORE
        table = geopandas.GeoDataFrame(
            {"class_id": [value for _, value, _ in drawn]}, geometry=shapes, crs=scene.georeference.crs
        )
        table.to_file(Path(scratch) / "fields.fgb", spatial_index=False)
        labels, area = (
            open_labels(Path(scratch) / "fields.fgb", scene),
            read_area(Path(scratch) / "fields.fgb", scene),
        )
        for window in (Window.from_shape(SHAPE), Window.from_bounds(*corner, *SHAPE)):
            part = window.slices()
            np.testing.assert_array_equal(labels.read(window), expected[part])
            np.testing.assert_array_equal(area.mask(window), inside[part])


def test_edges_longer_than_any_in_degrees_are_refused(tmp_path):
    scene = open_scene(write(tmp_path / "scene.tif", ramp(2, *SHAPE)))
    geopandas.GeoDataFrame(geometry=[box(0, 0, 1e300, 1)], crs="EPSG:4326").to_file(tmp_path / "a.geojson")
    with pytest.raises(SceneError, match=r"a\.geojson: has an edge of 1e\+300 degrees"):
        read_area(tmp_path / "a.geojson", scene)
