"""Labels on a scene's grid: from rasters of any grid, from polygons of any CRS."""

from __future__ import annotations

import json
import pickle
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor

import geopandas
import numpy as np
import pandas
import pytest
import shapely
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from geoseg.classes import IGNORE, LandClass
from geoseg.errors import SceneError, SettingsError
from geoseg.grid import Window
from geoseg.labels.labels import open_labels
from geoseg.scene import open_scene
from tests.scene.rasters import NORTH_UP, ramp, write

CLASSES = (
    LandClass(1, "corn", "#ffd300"),
    LandClass(2, "Soy beans", "#e8ffbf"),
    LandClass(7, "water", "#4b70a3"),
)
SHAPE = (40, 50)
pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore:'crs' was not provided"),
]


@pytest.fixture
def scene(tmp_path):
    return write(tmp_path / "scene.tif", ramp(2, *SHAPE))


def everything(labels):
    return labels.read(Window.from_shape(labels.shape))


def label_values(dtype="uint8", seed=0, values=(1, 2, 7)):
    return np.random.default_rng(seed).choice(np.array(values), (1, *SHAPE)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("as_scene", [True, False])
def test_a_raster_on_the_same_grid_is_read_as_it_is(scene, tmp_path, dtype, as_scene):
    values = label_values(dtype)
    path = write(tmp_path / "labels.tif", values)
    labels = open_labels(path, open_scene(scene) if as_scene else scene, CLASSES)
    found = everything(labels)
    assert (labels.shape, found.dtype) == (SHAPE, np.uint8)
    np.testing.assert_array_equal(found, values[0])


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ((1, 2, 255), {}, {1: 1, 2: 2, 255: IGNORE}),
        ((0, 1, 2), {}, {0: IGNORE, 1: 1, 2: 2}),
        ((1, 2, 7), {"ignore": [2]}, {1: 1, 2: IGNORE, 7: 7}),
        ((1, 2, 7), {"ignore": ["Corn"]}, {1: IGNORE, 2: 2, 7: 7}),
        ((1, 5, 24), {"remap": {1: 1, 5: 2}}, {1: 1, 5: 2, 24: IGNORE}),
        ((1, 5, 24), {"remap": {"1": 7, "5": 255, "24": 1}}, {1: 7, 5: IGNORE, 24: 1}),
        ((1, 2, 7), {"remap": {1: 2, 2: 1}, "ignore": [1]}, {1: IGNORE, 2: 1, 7: IGNORE}),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_what_values_mean(scene, tmp_path, values, options, expected, dtype):
    stored = label_values(dtype, values=values)
    if "ignore" in options and "Corn" in options["ignore"]:
        options = {"ignore": [1]}  # rasters hold numbers
    found = everything(open_labels(write(tmp_path / "labels.tif", stored), scene, CLASSES, **options))
    np.testing.assert_array_equal(found, np.vectorize(expected.get)(stored[0].astype(int)))


def test_nodata_masks_and_nan_are_no_label(scene, tmp_path):
    values = label_values()
    mask = np.random.default_rng(1).random(SHAPE) < 0.5
    masked = write(tmp_path / "a.tif", values, mask=(mask * 255).astype(np.uint8))
    np.testing.assert_array_equal(
        everything(open_labels(masked, scene, CLASSES)), np.where(mask, values[0], IGNORE)
    )
    declared = write(tmp_path / "b.tif", values, nodata=2)
    expected = np.where(values[0] == 2, IGNORE, values[0])
    np.testing.assert_array_equal(everything(open_labels(declared, scene, CLASSES)), expected)
    floats = np.where(values == 2, np.nan, values).astype(np.float32)
    holes = write(tmp_path / "c.tif", floats)
    np.testing.assert_array_equal(everything(open_labels(holes, scene, CLASSES)), expected)


@pytest.mark.parametrize("classes", [None, [*CLASSES, LandClass(0, "background", "#000000")]])
def test_zero_is_a_class_where_it_is_one(scene, tmp_path, classes):
    values = label_values(values=(0, 1))
    found = everything(open_labels(write(tmp_path / "labels.tif", values), scene, classes))
    np.testing.assert_array_equal(found, values[0])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_a_value_that_is_no_class_is_refused(scene, tmp_path, dtype):
    values = label_values(dtype)
    values[0, 30, 30] = 9
    labels = open_labels(write(tmp_path / "labels.tif", values), scene, CLASSES)
    assert (labels.read(Window(0, 0, 30, 50)) == values[0, :30]).all()
    with pytest.raises(SceneError, match=r"value 9, .*1 \(corn\).*--ignore 9"):
        everything(labels)


@pytest.mark.parametrize(("value", "dtype"), [(300, "uint16"), (-1, "int16"), (70_000, "int32")])
def test_ids_beyond_254_are_refused_without_classes(scene, tmp_path, value, dtype):
    values = label_values(dtype)
    values[0, 0, 0] = value
    with pytest.raises(SceneError, match=f"value {value}, .*0 to 254"):
        everything(open_labels(write(tmp_path / "labels.tif", values), scene))


def test_fractions_are_refused(scene, tmp_path):
    values = label_values("float32")
    values[0, 3, 3] = 1.5
    with pytest.raises(SceneError, match=r"1\.5.*whole number"):
        everything(open_labels(write(tmp_path / "labels.tif", values), scene, CLASSES))


@pytest.mark.parametrize(
    ("crs", "transform", "shape"),
    [
        ("EPSG:32614", Affine(30, 0, 500_000, 0, -30, 5_000_000), (25, 60)),
        ("EPSG:32614", Affine(10, 0, 500_100, 0, -10, 4_999_900), (80, 90)),
        ("EPSG:32613", Affine(25, 0, 971_900, 0, -25, 5_017_500), (40, 45)),
        ("EPSG:4326", Affine(3e-4, 0, -98.9951, 0, -3e-4, 45.1527), (30, 40)),
    ],
)
def test_another_grid_is_matched_by_nearest_neighbour(scene, tmp_path, crs, transform, shape):
    """Against GDAL's warper run on whole arrays."""
    values = np.random.default_rng(3).choice(np.array([0, 1, 2, 7], np.uint8), shape)
    path = write(tmp_path / "labels.tif", values[None], crs=crs, transform=transform, nodata=0)
    expected = np.zeros(SHAPE, np.uint8)
    reproject(
        values,
        expected,
        src_transform=transform,
        src_crs=crs,
        dst_transform=NORTH_UP,
        dst_crs="EPSG:32614",
        src_nodata=0,
        dst_nodata=0,
        resampling=Resampling.nearest,
        tolerance=0,
    )
    labels = open_labels(path, scene, CLASSES)
    found = everything(labels)
    assert (found != IGNORE).sum() > 200
    assert np.mean(found != np.where(expected == 0, IGNORE, expected)) < 0.002
    parts = [labels.read(Window(row, 0, 7 if row < 35 else 5, 50)) for row in range(0, 40, 7)]
    np.testing.assert_array_equal(np.vstack(parts), found)


def test_images_without_coordinates_match_pixel_by_pixel(tmp_path):
    bare = {"crs": None, "transform": None}
    scene = write(tmp_path / "scene.tif", ramp(3, *SHAPE), **bare)
    values = label_values()
    path = write(tmp_path / "labels.tif", values, **bare)
    np.testing.assert_array_equal(everything(open_labels(path, scene, CLASSES)), values[0])
    small = write(tmp_path / "small.tif", values[:, :30], **bare)
    with pytest.raises(SceneError, match=r"30 x 50 pixels.*40 x 50.*same number"):
        open_labels(small, scene, CLASSES)


def test_what_cannot_be_labels_is_refused(scene, tmp_path):
    with pytest.raises(SceneError, match="2 bands"):
        open_labels(scene, scene, CLASSES)
    with pytest.raises(SceneError, match=r"missing\.tif"):
        open_labels(tmp_path / "missing.tif", scene, CLASSES)
    with pytest.raises(SceneError, match=r"missing\.gpkg: no such file"):
        open_labels(tmp_path / "missing.gpkg", scene, CLASSES)
    far = write(tmp_path / "far.tif", label_values(), transform=Affine(30, 0, 900_000, 0, -30, 5_000_000))
    with pytest.raises(SceneError, match="does not overlap"):
        open_labels(far, scene, CLASSES)
    with pytest.raises(SettingsError, match="remapped from 4 to 9"):
        open_labels(write(tmp_path / "l.tif", label_values()), scene, CLASSES, remap={4: 9})


def draw_polygons(column, values, crs="EPSG:32614"):
    """A triangle over a rectangle, and one far away."""
    shapes = [
        shapely.box(500_090, 4_999_000, 500_910, 4_999_700),
        shapely.Polygon([(500_005, 4_999_950), (501_300, 4_999_400), (500_400, 4_998_910)]),
        shapely.box(900_000, 1, 900_900, 900),
    ]
    return geopandas.GeoDataFrame({column: values, "note": "x"}, geometry=shapes, crs="EPSG:32614").to_crs(
        crs
    )


def inside(shape):
    """Pixels whose centre is in a polygon, by shapely."""
    rows, cols = np.meshgrid(np.arange(SHAPE[0]) + 0.5, np.arange(SHAPE[1]) + 0.5, indexing="ij")
    x, y = NORTH_UP.a * cols + NORTH_UP.c, NORTH_UP.e * rows + NORTH_UP.f
    return shapely.contains_xy(shape, x, y)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp", ".fgb", ".parquet"])
@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("class_id", [1, 2, 7]),
        ("class_name", ["CORN", " soy beans", "water"]),
        ("Label", ["1", "2", "water"]),
    ],
)
def test_polygons_are_rasterised_by_pixel_centre(scene, tmp_path, suffix, column, values):
    frame = draw_polygons(column, values, "EPSG:4326" if suffix == ".geojson" else "EPSG:32614")
    path = tmp_path / f"labels{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_file(path)
    labels = open_labels(path, scene, CLASSES)
    rectangle, triangle, _ = draw_polygons(column, values).geometry
    expected = np.where(inside(triangle), 2, np.where(inside(rectangle), 1, IGNORE))
    expected[inside(triangle) & inside(rectangle)] = IGNORE  # they contradict each other
    np.testing.assert_array_equal(everything(labels), expected)


def test_polygons_take_tables_flags_and_nulls(scene, tmp_path):
    frame = draw_polygons("kind", ["maize", None, "lake"])
    frame.to_file(tmp_path / "a.gpkg")
    with pytest.raises(SettingsError, match=r"--label-column.*kind, note"):
        open_labels(tmp_path / "a.gpkg", scene, CLASSES)
    with pytest.raises(SettingsError, match="no column crop"):
        open_labels(tmp_path / "a.gpkg", scene, CLASSES, column="crop")
    with pytest.raises(SceneError, match='"maize" is not a class; the classes are 1'):
        open_labels(tmp_path / "a.gpkg", scene, CLASSES, column="kind")
    table = {"Maize": 1, "lake": 7}
    found = everything(open_labels(tmp_path / "a.gpkg", scene, CLASSES, column="KIND", remap=table))
    np.testing.assert_array_equal(found == 1, inside(frame.geometry[0]))
    assert set(np.unique(found)) == {1, IGNORE}


def test_the_layer_of_polygons_is_found(scene, tmp_path):
    """Beside styles and points; but not guessed among several."""
    frame = draw_polygons("class", [1, 2, 7])
    path = tmp_path / "a.gpkg"
    frame.set_geometry(frame.centroid).to_file(path, layer="points")
    frame.to_file(path, layer="fields")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (everything(open_labels(path, scene, CLASSES)) == 2).any()
    frame.to_file(path, layer="more")
    with pytest.raises(SceneError, match=r"several layers of polygons \(fields, more\)"):
        open_labels(path, scene, CLASSES)


def test_broken_and_missing_geometries(scene, tmp_path):
    bow = shapely.Polygon(
        [(500_100, 4_999_907), (500_900, 4_999_111), (500_900, 4_999_900), (500_100, 4_999_100)]
    )
    frame = geopandas.GeoDataFrame({"class": [1, 2]}, geometry=[bow, None], crs="EPSG:32614")
    frame.to_file(tmp_path / "a.gpkg")
    labels = open_labels(tmp_path / "a.gpkg", scene, CLASSES)
    assert "Self-intersection" in labels.layer.reasons[0][1]
    np.testing.assert_array_equal(everything(labels) == 1, inside(shapely.make_valid(bow)))
    points = geopandas.GeoDataFrame({"class": [1]}, geometry=[shapely.Point(500_100, 4_999_900)], crs=32614)
    points.to_file(tmp_path / "p.gpkg")
    with pytest.raises(SceneError, match="no polygon"):
        open_labels(tmp_path / "p.gpkg", scene, CLASSES)
    draw_polygons("class", [1, 2, 7]).iloc[2:].to_file(tmp_path / "far.gpkg")
    with pytest.raises(SceneError, match="no labelled polygon on"):
        open_labels(tmp_path / "far.gpkg", scene, CLASSES)


def test_rows_that_label_nothing_are_counted(scene, tmp_path):
    frame = draw_polygons("class", ["corn", None, "water"])
    point = geopandas.GeoDataFrame({"class": ["corn"]}, geometry=[shapely.Point(0, 0)], crs="EPSG:32614")
    pandas.concat([frame, point]).to_file(tmp_path / "a.gpkg")
    found = open_labels(tmp_path / "a.gpkg", scene, CLASSES).omissions
    assert [(each.count, each.total, each.refuses) for each in found] == [
        (1, 4, True),  # no area
        (1, 4, False),  # no class
        (1, 4, False),  # beyond the scene
    ]


def test_pixels_of_contradicting_polygons_are_counted(scene, tmp_path):
    frame = draw_polygons("class", [1, 2, 7]).iloc[:2]
    frame.to_file(tmp_path / "a.gpkg")
    both = int((inside(frame.geometry[0]) & inside(frame.geometry[1])).sum())
    (omission,) = open_labels(tmp_path / "a.gpkg", scene, CLASSES).omissions
    assert (omission.kind, omission.count, omission.refuses) == ("pixels", both, False)
    draw_polygons("class", [1, 1, 7]).iloc[:2].to_file(tmp_path / "b.gpkg")
    assert open_labels(tmp_path / "b.gpkg", scene, CLASSES).omissions == ()


def test_attributes_that_are_lists_are_no_class(scene, tmp_path):
    shape = shapely.geometry.mapping(draw_polygons("n", [1, 2, 7], "EPSG:4326").geometry[0])
    feature = {"type": "Feature", "properties": {"class": ["corn", "rice"]}, "geometry": shape}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(SceneError, match=r"a\.geojson.*rice.* is not a class"):
        open_labels(tmp_path / "a.geojson", scene, CLASSES)


def test_accents_are_compared_in_one_form(scene, tmp_path):
    """As macOS and others write them, with the accent after its letter."""
    classes = (LandClass(3, "forêt", "#00ff00"), LandClass(7, "Gewässer", "#0000ff"))
    apart = [unicodedata.normalize("NFD", name) for name in ("Forêt", "gewässer", "été")]
    draw_polygons(unicodedata.normalize("NFD", "espèce"), apart).to_file(tmp_path / "a.gpkg")
    labels = open_labels(tmp_path / "a.gpkg", scene, classes, column="espèce", ignore=["Été"])
    assert set(np.unique(everything(labels))) == {3, 7, IGNORE}


def test_255_that_is_not_declared_is_counted(scene, tmp_path):
    """In a file of 0 and 255 it is the foreground, so the run is refused; beside classes it is only said."""
    mask = write(tmp_path / "mask.tif", label_values(values=(0, 255)))
    (omission,) = open_labels(mask, scene, CLASSES).omissions
    assert (omission.kind, omission.total, omission.is_too_large) == ("pixels", 2000, True)
    assert "255" in str(omission)
    assert "--remap 255=" in omission.fix
    (omission,) = open_labels(write(tmp_path / "l.tif", label_values(values=(1, 2, 255))), scene).omissions
    assert (omission.count, omission.is_too_large) == (
        int((label_values(values=(1, 2, 255)) == 255).sum()),
        False,
    )
    remapped = open_labels(mask, scene, CLASSES, remap={255: 1})
    assert remapped.omissions == ()
    assert set(np.unique(everything(remapped))) == {1, IGNORE}
    assert open_labels(mask, scene, CLASSES, ignore=[255]).omissions == ()
    declared = write(tmp_path / "d.tif", label_values(values=(0, 255)), nodata=255)
    assert open_labels(declared, scene, CLASSES).omissions == ()


@pytest.mark.parametrize(("nodata", "options"), [(2, {}), (9, {"remap": {9: 1, 7: 7}})])
def test_a_nodata_value_that_is_a_class_is_said(scene, tmp_path, nodata, options):
    path = write(tmp_path / "labels.tif", label_values(values=(7, nodata)), nodata=nodata)
    (omission,) = open_labels(path, scene, CLASSES, **options).omissions
    assert (omission.kind, omission.count, omission.is_too_large) == ("classes", 1, True)
    assert "nodata" in str(omission)
    unused = write(tmp_path / "unused.tif", label_values(), nodata=0)
    assert open_labels(unused, scene, CLASSES).omissions == ()


def test_missing_numbers_are_no_label_whatever_255_means(scene, tmp_path):
    values = label_values("float32", values=(0, 255))
    values[0, 0, :9] = np.nan
    found = everything(open_labels(write(tmp_path / "l.tif", values), scene, CLASSES, remap={255: 1}))
    assert (found[0, :9] == IGNORE).all()


def test_files_that_are_neither_are_refused_with_both_reasons(scene, tmp_path):
    (tmp_path / "labels.doc").write_bytes(b"nothing that GDAL knows")
    with pytest.raises(SceneError, match=r"labels .*labels\.doc: .*; as a vector file: "):
        open_labels(tmp_path / "labels.doc", scene, CLASSES)


def test_polygons_over_an_image_without_coordinates(tmp_path):
    """QGIS draws such an image with x = column and y = -row."""
    scene = write(tmp_path / "scene.tif", ramp(3, *SHAPE), crs=None, transform=None)
    frame = geopandas.GeoDataFrame({"class": [2]}, geometry=[shapely.box(10, -30, 20, -5)])
    frame.to_file(tmp_path / "a.gpkg")
    expected = np.full(SHAPE, IGNORE)
    expected[5:30, 10:20] = 2
    np.testing.assert_array_equal(everything(open_labels(tmp_path / "a.gpkg", scene, CLASSES)), expected)


def test_windows_do_not_change_rasterised_labels(tmp_path):
    """Many edges run exactly through pixel centres, where rounding decides which side they are on."""
    rng = np.random.default_rng(0)
    write(tmp_path / "scene.tif", np.zeros((1, 1000, 900), np.uint8), crs=None, transform=None)
    starts = rng.integers(10, 890, (4000, 1, 2)) + rng.integers(1, 10, (4000, 1, 1)) / 10
    triangles = shapely.polygons((starts + rng.integers(-4, 5, (4000, 3, 2)) * 2) * [1, -1])
    frame = geopandas.GeoDataFrame({"class": np.full(4000, 7)}, geometry=triangles)
    frame[shapely.area(triangles) > 0].to_file(tmp_path / "a.gpkg")
    labels = open_labels(tmp_path / "a.gpkg", tmp_path / "scene.tif", CLASSES)
    whole = everything(labels)
    for row, col in rng.integers(1, 899, (10, 2)).tolist():
        windows = [
            Window.from_bounds(*bounds)
            for bounds in ((0, 0, row, col), (0, col, row, 900), (row, 0, 1000, col), (row, col, 1000, 900))
        ]
        for window in windows:
            np.testing.assert_array_equal(labels.read(window), whole[window.slices()])


def test_tiles_of_rasterised_labels_join(tmp_path):
    """A polygon over the lattice's lines at 1024 pixels."""
    write(tmp_path / "scene.tif", np.zeros((1, 1100, 1200), np.uint8))
    disc = shapely.Point(500_000 + 30 * 1020, 5_000_000 - 30 * 1030).buffer(30 * 50.3)
    frame = geopandas.GeoDataFrame({"class": [7]}, geometry=[disc], crs="EPSG:32614")
    frame.to_file(tmp_path / "a.gpkg")
    found = everything(open_labels(tmp_path / "a.gpkg", tmp_path / "scene.tif", CLASSES))
    rows, cols = np.meshgrid(np.arange(1100) + 0.5, np.arange(1200) + 0.5, indexing="ij")
    expected = shapely.contains_xy(disc, 500_000 + 30 * cols, 5_000_000 - 30 * rows)
    np.testing.assert_array_equal(found == 7, expected)


def test_labels_can_be_pickled_and_read_in_threads(scene, tmp_path):
    values = label_values()
    raster = open_labels(write(tmp_path / "labels.tif", values), scene, CLASSES)
    draw_polygons("class", [1, 2, 7]).to_file(tmp_path / "a.gpkg")
    polygons = open_labels(tmp_path / "a.gpkg", scene, CLASSES)
    for labels in (raster, polygons):
        expected = everything(labels)
        again = pickle.loads(pickle.dumps(labels))
        np.testing.assert_array_equal(everything(again), expected)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(everything, [labels] * 12):
                np.testing.assert_array_equal(found, expected)
        labels.close()
        np.testing.assert_array_equal(everything(labels), expected)


def test_a_window_beyond_the_grid_is_refused(scene, tmp_path):
    labels = open_labels(write(tmp_path / "labels.tif", label_values()), scene, CLASSES)
    with pytest.raises(SceneError, match="not inside"):
        labels.read(Window(30, 0, 11, 5))


@pytest.mark.parametrize(
    ("driver", "options"),
    [("GTiff", {"compress": "jpeg"}), ("GTiff", {"compress": "lerc", "max_z_error": 2}), ("JP2OpenJPEG", {})],
)
def test_labels_whose_compression_changes_classes_are_refused(scene, tmp_path, driver, options):
    labels = write(tmp_path / "l.tif", label_values(), driver=driver, **options)
    with pytest.raises(SceneError, match=r"l\.tif is compressed with .*which changes values"):
        open_labels(labels, scene, CLASSES)
    whole = write(tmp_path / "w.tif", label_values(), compress="lerc")
    assert open_labels(whole, scene, CLASSES).omissions == ()
