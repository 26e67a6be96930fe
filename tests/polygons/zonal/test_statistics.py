"""Statistics of other rasters over polygons: against numpy by hand, whatever the blocks."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.polygons.zonal.indices import INDICES, compute
from geoseg.polygons.zonal.request import zonal_of_scene
from geoseg.polygons.zonal.statistics import (
    MISSING,
    STATISTICS,
    Measure,
    Zonal,
    ZonalColumn,
    ZonalSums,
    ZonalValues,
    sum_block,
    zonal_arrays,
)
from geoseg.raster.components import find_runs
from geoseg.scene import open_scene
from tests.polygons.conftest import write_raster
from tests.polygons.helpers import noise, trace_files

SHAPE = (61, 47)


@pytest.fixture
def bands():
    random = np.random.default_rng(3)
    made = random.integers(1, 10_000, (3, *SHAPE)).astype(np.uint16)
    made[0, 10:14] = made[1, :, 30:40] = made[2, 5:8, 5:8] = 0  # nodata, where a test says so
    return made


@pytest.fixture
def class_map(tmp_path):
    classes = noise(SHAPE, sigma=2.0, classes=3)
    classes[20:24, 5:30] = 255
    return write_raster(tmp_path / "map.tif", classes)


def labels_of(class_map):
    """4-connected patches by hand: id -> mask."""
    import rasterio

    with rasterio.open(class_map) as file:
        classes = file.read(1)
    masks = {}
    for value in np.unique(classes[classes != 255]):
        labels, count = ndimage.label(classes == value)
        for number in range(1, count + 1):
            mask = labels == number
            row, column = np.argwhere(mask)[0]
            masks[f"r{row}c{column}"] = mask
    return masks


def by_hand(values, mask, statistic):
    inside = values[mask & ~np.isnan(values)]
    if statistic == "count":
        return inside.size
    if inside.size == 0:
        return None
    return {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}[statistic](inside)


def rows_of(class_map, scene, stats, corner=(0, 0), **options):
    table = trace_files(class_map, zonal=zonal_of_scene(stats, scene, corner), **options)
    return [row for batch in table.batches() for row in batch.to_pylist()]


def check(rows, masks, columns, rel=1e-9, abs_=0.0):
    """``columns``: name of a column -> (values of the scene, statistic)."""
    assert {row["id"] for row in rows} == set(masks)
    for row in rows:
        for name, (values, statistic) in columns.items():
            expected = by_hand(values, masks[row["id"]], statistic)
            if expected is None or statistic == "count":
                assert row[name] == expected
            else:
                assert row[name] == pytest.approx(expected, rel=rel, abs=abs_), (row["id"], name)


def test_stored_bands_are_exact(tmp_path, class_map, bands):
    path = write_raster(tmp_path / "scene.tif", bands, nodata=0, names=["red", "nir", "B8"])
    values = np.where(bands == 0, np.nan, bands.astype(float))
    asked = [f"red:{statistic}" for statistic in STATISTICS] + ["B8:max", "2"]
    columns = {f"red_{statistic}": (values[0], statistic) for statistic in STATISTICS}
    columns |= {"B8_max": (values[2], "max"), "band2_mean": (values[1], "mean")}
    check(rows_of(class_map, open_scene(path), asked), labels_of(class_map), columns)


@pytest.mark.parametrize("scale", [0.0001, -0.5])
def test_scale_and_offset_count(tmp_path, class_map, bands, scale):
    path = write_raster(tmp_path / "scene.tif", bands, names=["red", "nir", "B8"], nodata=None)
    scene = open_scene(path, scale=scale, offset=-0.1)
    values = bands[1] * scale - 0.1
    columns = {f"nir_{statistic}": (values, statistic) for statistic in STATISTICS}
    rows = rows_of(class_map, scene, [f"nir:{statistic}" for statistic in STATISTICS])
    check(rows, labels_of(class_map), columns, rel=1e-9, abs_=1e-12)


def test_values_below_the_lowest_count_as_it(tmp_path, class_map, bands):
    path = write_raster(tmp_path / "scene.tif", bands, names=["red", "nir", "B8"], nodata=None)
    scene = open_scene(path, scale=0.0001, offset=-0.1)
    layers = tuple(replace(layer, band=replace(layer.band, lowest=0.0)) for layer in scene.layers)
    values = (bands[1] * 0.0001 - 0.1).clip(0)
    assert (values == 0).any()
    columns = {f"nir_{statistic}": (values, statistic) for statistic in STATISTICS}
    clipped = replace(scene, layers=layers, all_layers=layers)
    rows = rows_of(class_map, clipped, [f"nir:{statistic}" for statistic in STATISTICS])
    check(rows, labels_of(class_map), columns, rel=1e-5, abs_=1e-7)


def test_numbers_of_more_than_16_bits(tmp_path, class_map):
    random = np.random.default_rng(5)
    values = random.normal(-3.0, 1e-3, SHAPE).astype(np.float32)
    values[3, 3:20] = np.nan
    values[30:33] = 9.96921e36  # a fill value that nobody declared
    path = write_raster(tmp_path / "scene.tif", values, nodata=None, names=["height"])
    expected = np.where(values > 1e30, np.nan, values).astype(float)
    columns = {f"height_{statistic}": (expected, statistic) for statistic in STATISTICS}
    rows = rows_of(class_map, open_scene(path), [f"height:{statistic}" for statistic in STATISTICS])
    check(rows, labels_of(class_map), columns, rel=1e-4, abs_=1e-8)


def test_indices(tmp_path, class_map, bands):
    path = write_raster(tmp_path / "scene.tif", bands, nodata=0, names=["red", "nir", "blue"])
    red, nir, blue = np.where(bands == 0, np.nan, bands * 1e-4)
    with np.errstate(invalid="ignore", divide="ignore"):
        ndvi = (nir - red) / (nir + red)
        evi = 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)
    evi[np.abs(evi) > 1000] = np.nan
    rows = rows_of(class_map, open_scene(path, scale=1e-4), ["ndvi", "ndvi:std", "NDVI:count", "evi:min"])
    columns = {
        "ndvi_mean": (ndvi, "mean"),
        "ndvi_std": (ndvi, "std"),
        "ndvi_count": (ndvi, "count"),
        "evi_min": (evi, "min"),
    }
    check(rows, labels_of(class_map), columns, rel=1e-4, abs_=2e-5)


@pytest.mark.parametrize("block_size", [1, 7, 16])
def test_blocks_and_threads_change_nothing(tmp_path, class_map, bands, block_size):
    values = bands.astype(np.float32) / 3
    path = write_raster(tmp_path / "scene.tif", values, nodata=0, names=["red", "nir", "B8"])
    asked = ["ndvi:std", "red:mean", "red:std", "B8:min", "B8:max"]
    whole = rows_of(class_map, open_scene(path), asked, workers=1)
    assert rows_of(class_map, open_scene(path), asked, block_size=block_size, workers=3) == whole


def test_a_map_that_is_a_part_of_the_scene(tmp_path, class_map):
    scene = np.arange(100 * 90, dtype=np.uint16).reshape(100, 90)
    path = write_raster(tmp_path / "scene.tif", scene, nodata=None, names=["red"])
    part = scene[12 : 12 + SHAPE[0], 30 : 30 + SHAPE[1]].astype(float)
    rows = rows_of(class_map, open_scene(path), ["red:mean"], corner=(12, 30))
    check(rows, labels_of(class_map), {"red_mean": (part, "mean")})


def test_where_the_scene_ends_there_are_no_values(tmp_path, class_map):
    scene = np.full((40, 30), 7, dtype=np.uint8)
    path = write_raster(tmp_path / "scene.tif", scene, nodata=None, names=["red"])
    values = np.full(SHAPE, np.nan)
    values[:35, :] = 7
    values[:, 25:] = np.nan
    rows = rows_of(class_map, open_scene(path), ["red:mean", "red:count"], corner=(5, 5))
    check(rows, labels_of(class_map), {"red_mean": (values, "mean"), "red_count": (values, "count")})


def test_exactextract_agrees(tmp_path, class_map, bands):
    exactextract = pytest.importorskip("exactextract")
    geopandas = pytest.importorskip("geopandas")
    from geoseg.polygons.writers.writing import write_polygons

    path = write_raster(tmp_path / "scene.tif", bands, nodata=0, names=["red", "nir", "B8"])
    zonal = zonal_of_scene(["red:mean", "red:std", "B8:max", "nir:count"], open_scene(path), (0, 0))
    write_polygons(trace_files(class_map, zonal=zonal), tmp_path / "out.gpkg")
    ours = geopandas.read_file(tmp_path / "out.gpkg", layer="polygons")
    theirs = exactextract.exact_extract(str(path), ours, ["mean", "stdev", "max", "count"], output="pandas")
    assert len(theirs) == len(ours)
    pairs = {"red_mean": "band_1_mean", "red_std": "band_1_stdev", "B8_max": "band_3_max"}
    for mine, its in (pairs | {"nir_count": "band_2_count"}).items():
        expected = theirs[its].to_numpy(float)
        assert ours[mine].to_numpy(float) == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True), mine


@settings(deadline=None)
@given(
    st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=40),
    st.booleans(),
)
def test_deviations_lose_nothing(numbers, same):
    """Values as large as can be, also if they are all alike: where plain sums of squares cancel."""
    if same:
        numbers = [numbers[0]] * len(numbers)
    values = np.array([numbers], dtype=np.int32)[None]
    found = sum_block(find_runs(np.zeros((1, len(numbers)), np.uint8)), ZonalValues(values, squares=True))
    exact = Fraction(sum(n * n for n in numbers), len(numbers)) - Fraction(sum(numbers), len(numbers)) ** 2
    made = deviation(found)
    assert made == pytest.approx(math.sqrt(exact), rel=1e-9, abs=1e-6)


def deviation(found: ZonalSums) -> float:
    made = Zonal(None, (0, 0), (Measure("x", (1,)),), (ZonalColumn("x_std", 0, "std"),))
    return zonal_arrays(made, found)[0][0].as_py()


def test_nothing_is_known_of_nothing():
    values = np.full((1, 1, 4), MISSING, np.int32)
    found = sum_block(find_runs(np.zeros((1, 4), np.uint8)), ZonalValues(values, squares=True, extremes=True))
    columns = tuple(ZonalColumn(f"x_{name}", 0, name) for name in STATISTICS)
    made = zonal_arrays(Zonal(None, (0, 0), (Measure("x", (1,)),), columns), found)
    assert [array[0].as_py() for array in made] == [None, None, None, None, 0]


# What the publications give for bands of 0.4 (nir), 0.1 (red), 0.08 (green), 0.05 (blue), 0.2 (swir16),
# 0.15 (swir22), 0.12 (rededge071), computed by hand.
BANDS = {
    "nir": 0.4,
    "red": 0.1,
    "green": 0.08,
    "blue": 0.05,
    "swir16": 0.2,
    "swir22": 0.15,
    "rededge071": 0.12,
}
KNOWN = {
    "ndvi": 0.3 / 0.5,
    "gndvi": 0.32 / 0.48,
    "ndre": 0.28 / 0.52,
    "ndwi": -0.32 / 0.48,
    "mndwi": -0.12 / 0.28,
    "ndmi": 0.2 / 0.6,
    "nbr": 0.25 / 0.55,
    "ndsi": -0.12 / 0.28,
    "ndbi": -0.2 / 0.6,
    "bsi": -0.15 / 0.75,
    "evi": 0.75 / 1.625,
    "evi2": 0.75 / 1.64,
    "savi": 0.45 / 1.0,
    "msavi": (1.8 - math.sqrt(1.8**2 - 2.4)) / 2,
}


@pytest.mark.parametrize("name", sorted(INDICES))
def test_formulas(name):
    index = INDICES[name]
    found = compute(index, [np.array([[BANDS[band]]]) for band in index.bands])
    assert found[0, 0] == pytest.approx(KNOWN[name], abs=1e-12)


@pytest.mark.parametrize("name", sorted(INDICES))
def test_a_missing_band_leaves_no_value(name):
    index = INDICES[name]
    for gone in range(len(index.bands)):
        bands = [np.full((1, 1), BANDS[band]) for band in index.bands]
        bands[gone][:] = np.nan
        assert np.isnan(compute(index, bands)).all()


def test_an_index_beside_a_pole_is_no_value():
    bands = [np.array([1.0, 1.0, 0.0]), np.array([-1.0, -1.0 + 1e-9, 0.0])]
    assert np.isnan(compute(INDICES["ndvi"], bands)).all()


def test_columns_are_written_before_the_geometry(tmp_path, class_map, bands):
    import pyarrow.parquet as pq

    from geoseg.polygons.table.schema import COLUMNS
    from geoseg.polygons.writers.writing import write_polygons

    path = write_raster(tmp_path / "scene.tif", bands, nodata=0, names=["red", "nir", "B8"])
    zonal = zonal_of_scene(["ndvi", "red:count"], open_scene(path), (0, 0))
    table = trace_files(class_map, zonal=zonal)
    write_polygons(table, tmp_path / "out.parquet")
    schema = pq.read_schema(tmp_path / "out.parquet")
    names = [column.name for column in COLUMNS]
    assert schema.names == [*names[:-1], "ndvi_mean", "red_count", "geometry", "bbox"]
    assert (str(schema.field("ndvi_mean").type), schema.field("ndvi_mean").nullable) == ("double", True)
    assert (str(schema.field("red_count").type), schema.field("red_count").nullable) == ("int64", False)
