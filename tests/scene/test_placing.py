"""Polygons on grids near the antimeridian, near the poles, and far from the polygons' own CRS."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import Affine

from geoseg.errors import SceneError
from geoseg.raster.georeference import Georeference
from geoseg.scene.placing import GridOf, place_polygons

SHAPE = (100, 160)
EAST = Affine(0.0008, 0, 179.936, 0, -0.0004, 60.04)
WEST = Affine(0.0008, 0, -180.064, 0, -0.0004, 60.04)
BEYOND = shapely.box(179.95, 59.99, 180.05, 60.03)
AREA = 125 * 75.0
"""Pixels of the 0.1 x 0.04 degrees, of which the grids hold 0.1 x 0.03."""


def grid(crs, transform, shape=SHAPE):
    return GridOf("scene.tif", shape, Georeference(rasterio.CRS.from_user_input(crs), transform))


def pixels(shape, where, crs=4326):
    """Area in pixels of a polygon on a grid, inside the grid."""
    series = geopandas.GeoSeries([shape], crs=crs)
    placed = place_polygons(np.asarray(series.values), series.crs, "a.gpkg", where)
    frame = shapely.box(0, 0, where.shape[1], where.shape[0])
    return shapely.area(shapely.intersection(placed, frame))[0]


WRITTEN = {
    "beyond 180": BEYOND,
    "beyond -180": shapely.box(-180.05, 59.99, -179.95, 60.03),
    "cut at 180": shapely.MultiPolygon([
        shapely.box(179.95, 59.99, 180, 60.03),
        shapely.box(-180, 59.99, -179.95, 60.03),
    ]),
    "not cut": shapely.Polygon([(179.95, 59.99), (-179.95, 59.99), (-179.95, 60.03), (179.95, 60.03)]),
    "another turn": shapely.box(539.95, 59.99, 540.05, 60.03),
}  # fmt: skip


@pytest.mark.parametrize("transform", [EAST, WEST], ids=["east", "west"])
@pytest.mark.parametrize("written", WRITTEN)
def test_across_the_antimeridian_in_degrees(written, transform):
    assert pixels(WRITTEN[written], grid(4326, transform)) == pytest.approx(AREA, rel=1e-6)


@pytest.mark.parametrize("crs", [32660, 3832, 3413])
def test_across_the_antimeridian_from_a_projection(crs):
    projected = geopandas.GeoSeries([BEYOND], crs=4326).to_crs(crs)[0]
    assert pixels(projected, grid(4326, EAST), crs) == pytest.approx(AREA, rel=1e-3)


@pytest.mark.parametrize("written", ["beyond 180", "beyond -180", "cut at 180", "not cut"])
def test_across_the_antimeridian_onto_a_projection(written):
    there = grid(32660, Affine(100, 0, 660000, 0, -100, 6660000))
    whole = pixels(WRITTEN["beyond 180"], there)
    assert whole > 1000
    assert pixels(WRITTEN[written], there) == pytest.approx(whole, rel=2e-3)


def test_both_ends_of_a_whole_turn():
    whole = grid(4326, Affine(1, 0, 0, 0, -1, 90), (180, 360))
    assert pixels(shapely.box(-20, -10, 20, 10), whole) == 800
    other = grid(4326, Affine(1, 0, -180, 0, -1, 90), (180, 360))
    assert pixels(shapely.box(170, -10, 190, 10), other) == 400
    assert pixels(shapely.box(-170, -10, 170, 10), other) == 6800  # round the Earth, not across 180
    world = shapely.box(-180, -90, 180, 90)
    assert place_polygons(np.array([world]), None, "a.gpkg", other)[0].equals(shapely.box(0, 0, 360, 180))


def test_a_pole_in_degrees_is_refused():
    cap = shapely.Point(0, 0).buffer(1e6)
    with pytest.raises(SceneError, match=r"a\.gpkg: a polygon holds a pole"):
        pixels(cap, grid(4326, Affine(1, 0, -180, 0, -1, 90), (180, 360)), 3413)


def test_large_areas_in_degrees_cover_a_projected_scene():
    """Their corners lie outside the projection's domain, and their edges are curved in it."""
    utm = grid(32614, Affine(30, 0, 500000, 0, -30, 5200000))
    for area in (shapely.box(-180, -90, 180, 90), shapely.box(-170, 20, -60, 70)):
        assert pixels(area, utm) == pytest.approx(SHAPE[0] * SHAPE[1])
    polar = grid(3413, Affine(50000, 0, -4000000, 0, -50000, 4000000), (160, 160))
    assert pixels(shapely.box(-180, 60, 180, 90), polar) == pytest.approx(13859, rel=0.01)


def test_what_the_projection_does_not_reach_is_none():
    utm = grid(32614, Affine(30, 0, 500000, 0, -30, 5200000))
    series = geopandas.GeoSeries([shapely.box(80, 10, 81, 11), shapely.box(-99, 46, -98, 47)], crs=4326)
    placed = place_polygons(np.asarray(series.values), series.crs, "a.gpkg", utm)
    assert utm.touches(placed).tolist() == [False, True]
