"""Well-known binary from arrays is, byte for byte, what GEOS makes of the same polygons."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import SettingsError
from geoseg.polygons.table import wkb
from geoseg.polygons.table.wkb import polygons_as_wkb
from tests.polygons.helpers import noise, rasters, trace

TRANSFORMS = (Affine(10, 0, 5e5, 0, -10, 5.2e6), Affine(0.3, 0.1, -7, 0.2, 0.4, 3), Affine(0, 2, 1, 3, 0, 5))


def as_geos_has_them(polygons):
    points, rings, members = polygons.coordinates()
    kind = shapely.GeometryType.POLYGON
    return shapely.to_wkb(shapely.from_ragged_array(kind, points, (rings, members)), byte_order=1).tolist()


@settings(deadline=None, max_examples=60)
@given(rasters, st.sampled_from(TRANSFORMS))
def test_bytes_are_those_of_geos(classes, transform):
    polygons = trace(classes, transform=transform)
    if len(polygons):
        assert polygons_as_wkb(*polygons.coordinates()).to_pylist() == as_geos_has_them(polygons)


def test_polygons_with_many_holes():
    classes = np.ones((41, 41), np.uint8)
    classes[1:-1:2, 1:-1:2] = np.arange(400).reshape(20, 20) % 5
    polygons = trace(classes)
    assert polygons.columns.rings.max() > 200
    assert polygons_as_wkb(*polygons.coordinates()).to_pylist() == as_geos_has_them(polygons)


def test_no_polygons_are_no_values():
    none = polygons_as_wkb(np.zeros((0, 2)), np.zeros(1, np.int64), np.zeros(1, np.int64))
    assert none.to_pylist() == []


def test_what_no_column_can_hold_is_refused(monkeypatch):
    polygons = trace(noise((30, 30)))
    needed = sum(map(len, polygons_as_wkb(*polygons.coordinates()).to_pylist()))
    monkeypatch.setattr(wkb, "MAX_BYTES", needed)
    polygons_as_wkb(*polygons.coordinates())
    monkeypatch.setattr(wkb, "MAX_BYTES", needed - 1)
    with pytest.raises(SettingsError, match="clean the map up first"):
        polygons_as_wkb(*polygons.coordinates())
