"""Drawing a sample: right numbers, uniform, the same for every window, and readable after labelling."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import geopandas
import numpy as np
import pyogrio
import pytest

from geoseg.assess.sample import (
    LAYER,
    METADATA,
    OUTLINES,
    draw_sample,
    is_sample,
    random_numbers,
    read_sample,
    write_sample,
)
from geoseg.classes import LandClass
from geoseg.errors import InputError, SceneError
from geoseg.maps.class_map_file import open_class_map
from tests.assess.maps import NAMES, PLACE, patches, write


@pytest.fixture
def class_map(tmp_path):
    rng = np.random.default_rng(0)
    values = patches(rng, (200, 150), 9, [1, 1, 1, 2, 255])
    values[50:53, 60:70] = 7
    return open_class_map(write(tmp_path / "map.tif", values, names=NAMES))


def values_of(class_map):
    from geoseg.grid import Window

    return class_map.read(Window.from_shape(class_map.shape))


def test_numbers_and_strata(class_map):
    drawn = draw_sample(class_map, 120)
    values = values_of(class_map)
    assert np.bincount(drawn.classes)[7] == 20  # rare: half of an equal share
    assert drawn.rows.size == 120
    np.testing.assert_array_equal(values[drawn.rows, drawn.columns], drawn.classes)
    assert len(set(zip(drawn.rows.tolist(), drawn.columns.tolist(), strict=True))) == 120
    np.testing.assert_array_equal(drawn.pixels[[1, 2, 7]], [np.count_nonzero(values == i) for i in (1, 2, 7)])
    assert drawn.areas[1] == pytest.approx(drawn.pixels[1] * 0.09, rel=2e-3)


@pytest.mark.parametrize("size", [13, 64, 1000])
def test_windows_do_not_change_the_sample(class_map, size):
    expected, found = draw_sample(class_map, 120), draw_sample(class_map, 120, window_size=size)
    for name in ("rows", "columns", "classes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert not np.array_equal(draw_sample(class_map, 120, seed=1).rows, expected.rows)


def test_a_larger_sample_holds_the_smaller(class_map):
    small, large = ({(r, c) for r, c in zip(d.rows.tolist(), d.columns.tolist(), strict=True)} for d in (
        draw_sample(class_map, 60), draw_sample(class_map, 240)
    ))  # fmt: skip
    assert small < large


def test_every_pixel_is_as_likely_as_any_other(class_map):
    """Over many seeds, quarters of a class get what their pixels say (chi-squared with 3 degrees of freedom)."""
    values = values_of(class_map)
    rows, cols = np.nonzero(values == 1)
    quarter = (rows >= 100) * 2 + (cols >= 75)
    expected = np.bincount(quarter) / quarter.size
    found = np.zeros(4)
    for seed in range(40):
        drawn = draw_sample(class_map, 100, seed=seed)
        mine = drawn.classes == 1
        found += np.bincount((drawn.rows[mine] >= 100) * 2 + (drawn.columns[mine] >= 75), minlength=4)
    chi = ((found - expected * found.sum()) ** 2 / (expected * found.sum())).sum()
    assert chi < 16.3  # 0.1 %


def test_random_numbers_are_uniform():
    numbers = random_numbers(3, np.arange(500)[:, None], np.arange(400)[None, :])
    assert np.unique(numbers).size == numbers.size
    counts = np.bincount((numbers >> np.uint64(58)).ravel().astype(int), minlength=64)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 110  # 64 bins, 0.02 %
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.01


def test_the_order_of_points_does_not_give_the_classes_away(class_map):
    classes = draw_sample(class_map, 240).classes
    first = np.mean(classes[:120] == 1)
    assert abs(first - np.mean(classes[120:] == 1)) < 0.2


def test_too_few_points_are_refused(class_map):
    with pytest.raises(InputError, match="at least 6"):
        draw_sample(class_map, 5)


@pytest.fixture
def sample(class_map, tmp_path):
    path = tmp_path / "sample.gpkg"
    write_sample(path, draw_sample(class_map, 120), class_map, 0)
    return path


CLASSES = tuple(LandClass(i, name, "#112233") for i, name, _ in NAMES)


def fill(sample, path, column, **options):
    table = geopandas.read_file(sample, layer=LAYER)
    table["reference"] = [None if v is None else str(v) for v in column]
    table.to_file(path, layer=LAYER, **options)
    return path


def test_the_file_shows_where_but_not_what(sample, class_map):
    drawn = draw_sample(class_map, 120)
    assert [name for name, _ in pyogrio.list_layers(sample)] == [LAYER, OUTLINES, "layer_styles"]
    points, squares = (geopandas.read_file(sample, layer=layer) for layer in (LAYER, OUTLINES))
    assert [*points.columns] == ["id", "row", "col", "reference", "note", "geometry"]
    assert points["reference"].isna().all()
    assert points.crs == squares.crs == PLACE["crs"]
    np.testing.assert_array_equal(points.geometry.x, 500_000 + 30 * (drawn.columns + 0.5))
    np.testing.assert_array_equal(points.geometry.y, 5_000_000 - 30 * (drawn.rows + 0.5))
    np.testing.assert_allclose(squares.area, 900)
    assert squares.contains(points.geometry).all()
    strata = json.loads(pyogrio.read_info(sample, layer=LAYER)["layer_metadata"][METADATA])["strata"]
    assert sum(row["drawn"] for row in strata) == 120
    assert is_sample(sample)


def test_qgis_finds_a_list_of_classes(sample):
    """The style is where QGIS looks for it, and names every class, in order."""
    styles = pyogrio.read_dataframe(sample, layer="layer_styles", read_geometry=False)
    assert styles["f_table_name"].tolist() == [LAYER, OUTLINES]
    assert styles["useAsDefault"].all()
    root = ET.fromstring(styles["styleQML"][0])
    field = root.find("fieldConfiguration/field[@name='reference']/editWidget[@type='ValueMap']")
    assert [option.get("value") for option in field.iterfind(".//Option[@type='QString']")] == [
        "corn", "soybeans", "water"
    ]  # fmt: skip
    for qml in styles["styleQML"]:
        assert ET.fromstring(qml).find("renderer-v2/symbols/symbol/layer") is not None


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_filled_sample_is_read_back(sample, class_map, tmp_path, by):
    truth = draw_sample(class_map, 120).classes.astype(int)
    truth[::7] = 7
    names = {i: name for i, name, _ in NAMES}
    column = [names[v].upper() if by == "name" else v for v in truth.tolist()]
    meta = pyogrio.read_info(sample, layer=LAYER)["layer_metadata"]
    path = fill(sample, tmp_path / "filled.gpkg", column, layer_metadata=meta)
    found = read_sample(path, class_map, CLASSES)
    np.testing.assert_array_equal(found.labels, truth)
    np.testing.assert_array_equal(found.classes, draw_sample(class_map, 120).classes)
    assert (found.drawn, found.warnings) == (120, ())


def test_gaps_unsure_points_and_lost_metadata_are_told(sample, class_map, tmp_path):
    truth = draw_sample(class_map, 120).classes.astype(object)
    truth[:10], truth[10:15] = None, "unsure"
    path = fill(sample, tmp_path / "filled.gpkg", truth)
    with pytest.raises(SceneError, match='"unsure" is not a class'):
        read_sample(path, class_map, CLASSES)
    found = read_sample(path, class_map, CLASSES, ignore=["unsure"])
    assert found.labels.size == 105
    assert "has lost the record of its map" in found.warnings[0]
    assert [(each.count, each.total) for each in found.omissions] == [(15, 120)]


def test_what_is_no_filled_sample_of_this_map_is_refused(sample, class_map, tmp_path):
    with pytest.raises(InputError, match="no point has a label"):
        read_sample(sample, class_map, CLASSES)
    other = values_of(class_map)
    other[other == 1] = 2
    changed = open_class_map(write(tmp_path / "other.tif", other, names=NAMES))
    with pytest.raises(InputError, match=r"another map \(map\.tif\)"):
        read_sample(sample, changed, CLASSES)
    small = open_class_map(write(tmp_path / "small.tif", other[:50], names=NAMES))
    with pytest.raises(SceneError, match="beyond"):
        read_sample(sample, small, CLASSES)
    polygons = tmp_path / "polygons.gpkg"
    geopandas.read_file(sample, layer=OUTLINES).to_file(polygons)
    assert not is_sample(polygons)
    assert not is_sample(class_map.path)
    assert not is_sample(tmp_path / "missing.gpkg")


def test_a_map_without_coordinates(tmp_path):
    values = patches(np.random.default_rng(0), (60, 50), 6, [1, 2])
    bare = open_class_map(write(tmp_path / "map.tif", values, crs=None, transform=None))
    drawn = draw_sample(bare, 40)
    write_sample(tmp_path / "s.gpkg", drawn, bare, 0)
    points = geopandas.read_file(tmp_path / "s.gpkg", layer=LAYER)
    np.testing.assert_array_equal(points.geometry.x, drawn.columns + 0.5)
    np.testing.assert_array_equal(points.geometry.y, -(drawn.rows + 0.5))
    assert drawn.areas[1] == drawn.pixels[1]
