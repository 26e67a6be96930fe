from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
import rasterio.features
import shapely
from affine import Affine

from geoseg.classes import LandClass
from geoseg.errors import SceneError, SettingsError
from geoseg.polygons.table.schema import arrow_schema
from geoseg.polygons.vectorise import parse_date
from geoseg.units import Area
from tests.polygons.conftest import UTM, write_raster
from tests.polygons.helpers import class_areas, trace_files
from tests.saying import Counting


def read(table) -> pa.Table:
    return pa.Table.from_batches(table.batches(), schema=arrow_schema())


def pixels_of(row, shape) -> np.ndarray:
    return rasterio.features.geometry_mask([shapely.from_wkb(row["geometry"])], shape, UTM, invert=True)


def test_every_column_against_the_pixels(small_map):
    table = trace_files(small_map.class_map, **small_map.rasters)
    rows = read(table).to_pylist()
    ids = np.array([1, 2, 7])
    names = {1: "corn", 2: "soybeans", 7: "water"}
    covered = np.zeros(small_map.classes.shape, int)
    for row in rows:
        inside = pixels_of(row, small_map.classes.shape)
        covered += inside
        first = np.argwhere(inside)[0]
        assert row["id"] == f"r{first[0]}c{first[1]}"
        assert set(small_map.classes[inside]) == {row["class_id"]}
        assert row["class_name"] == names[row["class_id"]]
        assert row["pixel_count"] == inside.sum()
        stored = small_map.confidence[inside].astype(int)
        assert row["confidence"] == stored.sum() / stored.size / 100
        assert row["confidence_min"] == stored.min() / 100
        sums = small_map.probabilities[:, inside].astype(int).sum(axis=1)
        assert row["runner_up"] == names[ids[np.where(ids == row["class_id"], -1, sums).argmax()]]
        around = np.pad(inside, 1)
        near = around[:-2, 1:-1] | around[2:, 1:-1] | around[1:-1, :-2] | around[1:-1, 2:]
        border = np.ones(inside.shape, bool)
        border[1:-1, 1:-1] = False
        assert row["touches_edge"] == bool(
            (near & (small_map.classes == 255)).any() or (inside & border).any()
        )
        assert row["date"] == datetime.date(2024, 7, 31)
        assert row["area_ha"] == pytest.approx(inside.sum() * 0.01, rel=2e-3)
    assert (covered == (small_map.classes != 255)).all()
    assert len(rows) > 20
    order = [tuple(map(int, row["id"][1:].split("c"))) for row in rows]
    assert order == sorted(order)


@pytest.mark.slow
@pytest.mark.parametrize("block_size", [1, 5, 16, 10_000])
def test_block_size_never_changes_the_table(small_map, block_size):
    expected = read(trace_files(small_map.class_map, **small_map.rasters))
    progress = Counting()
    table = trace_files(small_map.class_map, **small_map.rasters, block_size=block_size, progress=progress)
    assert read(table).equals(expected)
    rows, cols = small_map.classes.shape
    blocks = -(-rows // block_size) * -(-cols // block_size)
    assert progress.stages == [("tracing polygons", blocks, blocks)]


def test_classes_add_up_to_the_maps_areas_exactly(small_map):
    table = trace_files(small_map.class_map)
    areas, columns = table.areas_ha(), table.polygons.load().columns
    for item in class_areas(small_map.class_map):
        assert item.area_ha == areas[columns.class_ids == item.id].sum()
        assert item.pixels == columns.pixels[columns.class_ids == item.id].sum()


def test_nothing_is_made_up_without_rasters_crs_or_date(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.array([[1, 1, 9]], np.uint8), crs=None, transform=None)
    table = trace_files(path)
    rows = read(table).to_pylist()
    empty = ("area_ha", "perimeter_m", "confidence", "confidence_min", "runner_up", "date")
    assert all(row[name] is None for row in rows for name in empty)
    assert [row["class_name"] for row in rows] == ["class 1", "class 9"]
    assert shapely.from_wkb(rows[1]["geometry"]).bounds == (2, -1, 3, 0)
    with pytest.raises(SettingsError, match="20px"):
        table.filter(min_area=Area(1.0, False))


def test_pixels_without_confidence_do_not_count(tmp_path):
    classes = np.array([[1, 1, 2]], np.uint8)
    confidence = np.array([[40, 255, 255]], np.uint8)
    one, two = read(
        trace_files(
            write_raster(tmp_path / "a.tif", classes), confidence=write_raster(tmp_path / "c.tif", confidence)
        )
    ).to_pylist()
    assert (one["confidence"], one["confidence_min"]) == (0.4, 0.4)
    assert (two["confidence"], two["confidence_min"]) == (None, None)


def test_runner_up_ties_go_to_the_lowest_id(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.full((2, 2), 2, np.uint8))
    bands = np.full((3, 2, 2), 80, np.uint8)
    legend = [LandClass(value, name, "#000000") for value, name in ((1, "a"), (2, "b"), (5, "c"))]
    table = trace_files(path, probabilities=write_raster(tmp_path / "p.tif", bands), legend=legend)
    assert read(table)["runner_up"].to_pylist() == ["a"]


def test_the_runner_up_is_another_class_even_if_nothing_speaks_for_it(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.full((2, 2), 1, np.uint8))
    bands = np.zeros((3, 2, 2), np.uint8)
    bands[0] = 250
    legend = [LandClass(value, name, "#000000") for value, name in ((1, "a"), (2, "b"), (5, "c"))]
    probabilities = write_raster(tmp_path / "p.tif", bands)
    assert read(trace_files(path, probabilities=probabilities, legend=legend))["runner_up"].to_pylist() == [
        "b"
    ]
    bands[:] = 255
    probabilities = write_raster(tmp_path / "p.tif", bands)
    assert read(trace_files(path, probabilities=probabilities, legend=legend))["runner_up"].to_pylist() == [
        None
    ]


def test_ids_count_on_the_scenes_grid(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.array([[255, 3]], np.uint8))
    with rasterio.open(path, "r+") as file:
        file.update_tags(GEOSEG_ORIGIN="7,9")
    assert read(trace_files(path))["id"].to_pylist() == ["r7c10"]


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", None),
        ("uint8", 0),
        ("uint16", 65535),
        ("int16", -9999),
        ("int16", -1),
        ("uint32", 0),
        ("int32", None),
        ("int32", -2147483648),
        ("int64", 255),
        ("float32", np.nan),
        ("float32", -3.4028234663852886e38),
        ("float64", None),
    ],
)
def test_class_rasters_of_others(tmp_path, dtype, nodata):
    value = 255 if nodata is None else nodata
    path = write_raster(tmp_path / "a.tif", np.array([[value, 4], [254, value]], dtype), nodata=nodata)
    table = read(trace_files(path))
    assert table["class_id"].to_pylist() == [4, 254]
    assert table["touches_edge"].to_pylist() == [True, True]


def test_names_from_a_raster_attribute_table_and_colors_from_the_palette(small_map):
    sidecar = small_map.folder / "map.tif.aux.xml"
    text = sidecar.read_text()
    start, stop = text.index("<CategoryNames>"), text.index("</CategoryNames>") + len("</CategoryNames>")
    sidecar.write_text(text[:start] + text[stop:])
    legend = trace_files(small_map.class_map).legend
    assert legend == (
        LandClass(1, "corn", "#ffd300"),
        LandClass(2, "soybeans", "#267000"),
        LandClass(7, "water", "#4b70a3"),
    )
    sidecar.unlink()
    assert trace_files(small_map.class_map).legend[0] == LandClass(1, "class 1", "#ffd300")


def refusals(folder):
    good = write_raster(folder / "good.tif", np.ones((3, 3), np.uint8))
    float_map = write_raster(folder / "float.tif", np.ones((3, 3), np.float32))
    complex_map = write_raster(folder / "complex.tif", np.ones((3, 3), np.complex64), nodata=None)
    lossy = write_raster(folder / "lossy.tif", np.ones((3, 3), np.uint8), compress="jpeg")
    shares = write_raster(folder / "shares.tif", np.full((3, 3), 0.25, np.float32), nodata=None)
    two_bands = write_raster(folder / "two.tif", np.ones((2, 3, 3), np.uint8))
    big = write_raster(folder / "big.tif", np.full((3, 3), 300, np.uint16), nodata=None)
    small = write_raster(folder / "small.tif", np.ones((2, 3), np.uint8))
    moved = write_raster(
        folder / "moved.tif", np.ones((3, 3), np.uint8), transform=Affine(10, 0, 500_010, 0, -10, 5_200_000)
    )
    other = write_raster(folder / "other.tif", np.ones((3, 3), np.uint8), crs="EPSG:32615")
    return [
        ((folder / "none.tif", {}), r"none.tif: there is no such file"),
        ((lossy, {}), r"lossy\.tif is compressed with JPEG, which changes values"),
        ((complex_map, {}), "holds complex64; it must be whole numbers"),
        ((shares, {}), r"holds the value 0\.25, which is no class"),
        ((two_bands, {}), "has 2 bands; it must have one"),
        ((big, {}), "holds the value 300, which is no class"),
        ((good, {"confidence": small}), "has 2 x 3 pixels"),
        ((good, {"confidence": moved}), "does not lie on the grid"),
        ((good, {"confidence": other}), "does not lie on the grid"),
        ((good, {"confidence": float_map}), "confidence raster .* holds float32"),
        ((good, {"probabilities": two_bands}), "has 2 bands, the class map 0 named"),
    ]


def test_rasters_that_cannot_be_used_are_refused(tmp_path):
    for (path, rasters), message in refusals(tmp_path):
        with pytest.raises(SceneError, match=message):
            trace_files(path, **rasters)


def test_a_map_placed_by_control_points_is_refused(tmp_path):
    from rasterio.control import GroundControlPoint as Point

    points = [Point(0, 0, 10, 50), Point(0, 3, 11, 50), Point(3, 0, 10, 49)]
    path = tmp_path / "gcps.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=3, width=3, dtype="uint8", gcps=points, crs="EPSG:4326"
    ) as file:
        file.write(np.ones((1, 3, 3), np.uint8))
    with pytest.raises(SceneError, match="--warp"):
        trace_files(path)


@pytest.mark.parametrize("block_size", [0, -3])
def test_a_block_has_at_least_one_pixel(small_map, block_size):
    with pytest.raises(SettingsError, match="at least 1"):
        trace_files(small_map.class_map, block_size=block_size)


def test_dates():
    day = datetime.date(2024, 7, 31)
    for date in ("2024-07-31", "2024-07-31T17:20:05Z", day, datetime.datetime(2024, 7, 31, 5, 4)):
        assert parse_date(date) == day
    assert parse_date(None) is None
    with pytest.raises(SettingsError, match="2024-07-31"):
        parse_date("last summer")


def test_float_classes_may_have_nan_beside_nodata(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.array([[np.nan, 3, -1, 254]], np.float32), nodata=-1)
    assert read(trace_files(path))["class_id"].to_pylist() == [3, 254]
