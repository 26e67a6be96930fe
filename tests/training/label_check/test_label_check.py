"""What the label check counts: values, classes and their ground, polygons."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from scipy import ndimage

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.labels.labels import open_labels
from geoseg.progress import Silent
from geoseg.raster.pixel_sizes import measure_pixel_sizes
from geoseg.scene import open_scene
from geoseg.training.ground.folds import Region, make_split
from geoseg.training.ground.labelled_scene import LabelledScene, count_labels
from geoseg.training.label_check import polygon_faults as outlines_module
from geoseg.training.label_check import statistics as cover_module
from geoseg.training.label_check.polygon_faults import find_polygon_faults
from geoseg.training.label_check.statistics import measure_statistics
from geoseg.training.label_check.values import survey_values
from geoseg.training.recipe.recipe import load_recipe
from geoseg.training.recipe.settings import SplitSettings
from tests.training.labelled_scenes import CLASSES, PLACE, make_files, make_labelled_scene, write

RECIPE = """
scenes = "scene.tif"
labels = "labels.gpkg"
[classes]
2 = "corn"
5 = "grass"
7 = "water"
"""


@pytest.fixture
def recipe(tmp_path):
    make_files(tmp_path)

    def load(more=""):
        (tmp_path / "recipe.toml").write_text(RECIPE + more)
        return load_recipe(tmp_path / "recipe.toml")

    return load


# Values.


def test_values_of_a_raster(tmp_path, recipe):
    scene = open_scene(tmp_path / "scene.tif")
    values = np.zeros(scene.shape, np.int16)
    values[:10] = 2
    values[10:15] = 41
    values[15:18] = 300
    values[18:19] = -9999
    values[19:20, :7] = 255
    values[20:22] = 12
    labels = write(tmp_path / "labels.tif", values, nodata=-9999)
    found = survey_values(str(labels), scene, recipe("[label_values]\nignore = [12]\n"))
    width = scene.shape[1]
    assert (found.kind, found.column) == ("raster", None)
    assert found.empty == width + 7
    known = {value.value: (value.count, value.class_id, value.is_known) for value in found.values}
    assert known["2"] == (10 * width, 2, True)
    assert known["41"] == (5 * width, None, False)
    assert known["300"] == (3 * width, None, False)
    assert known["12"] == (2 * width, None, True)
    assert known["0"][1:] == (None, True)
    assert [value.value for value in found.unknown] == ["41", "300"]  # the frequent ones first
    assert [value.value for value in found.ignored] == ["0", "12"]
    remapped = survey_values(str(labels), scene, recipe('[label_values]\nremap = { "41" = 7 }\n'))
    assert {value.value: value.class_id for value in remapped.values}["41"] == 7
    assert not remapped.unknown


def test_values_that_are_not_whole_and_rasters_of_measurements(tmp_path, recipe):
    scene = open_scene(tmp_path / "scene.tif")
    values = np.full(scene.shape, 2, np.float32)
    values[0, :3] = 2.5
    found = survey_values(str(write(tmp_path / "half.tif", values)), scene, recipe())
    assert [(value.value, value.count) for value in found.unknown] == [("2.5", 3)]
    ndvi = np.random.default_rng(0).random(scene.shape).astype(np.float32)
    with pytest.raises(SceneError, match="not a class raster"):
        survey_values(str(write(tmp_path / "ndvi.tif", ndvi)), scene, recipe())


def test_values_of_polygons(tmp_path, recipe):
    frame = geopandas.GeoDataFrame(
        {"crop": ["corn", "Grass", "7", "barley", "barley", None, "fallow"], "farm": range(7)},
        geometry=[shapely.box(500000 + 100 * i, 5199000, 500050 + 100 * i, 5199050) for i in range(7)],
        crs="EPSG:32614",
    )
    frame.to_file(tmp_path / "labels.gpkg")
    more = '[label_values]\ncolumn = "crop"\nignore = ["fallow"]\n'
    found = survey_values(str(tmp_path / "labels.gpkg"), open_scene(tmp_path / "scene.tif"), recipe(more))
    assert (found.kind, found.column, found.empty) == ("polygons", "crop", 1)
    assert {value.value: value.class_id for value in found.values if value.is_known} == {
        "corn": 2, "Grass": 5, "7": 7, "fallow": None,
    }  # fmt: skip
    assert [(value.value, value.count) for value in found.unknown] == [("barley", 2)]


# Statistics of labels.


def split_of(grounds, **settings):
    cells = [count_labels(ground) for ground in grounds]
    options = {"block_size": "40px", "folds": 3, "buffer": "5px"} | settings
    return make_split(SplitSettings(**options), grounds, cells, chip_size=32, seed=0)


@pytest.mark.parametrize("rim", [0, 2])
def test_statistics_against_whole_arrays(tmp_path, rim):
    grounds = [
        make_labelled_scene(tmp_path, (150, 130), 0, "one", rim),
        make_labelled_scene(tmp_path, (90, 100), 1, "two", rim),
    ]
    split = split_of(grounds)
    statistics = measure_statistics(grounds, split, Silent())
    pixels, areas, patches, trains, validates, regions, training = np.zeros((7, 3))
    valid_count = nodata = lost = 0
    for number, ground in enumerate(grounds):
        whole = Window.from_shape(ground.shape)
        ids, (_, valid) = ground.labels.read(whole), ground.image.read(whole)
        indices = np.select([ids == 2, ids == 5, ids == 7], [0, 1, 2], 255)
        lost -= np.count_nonzero(indices != 255)
        if rim:
            high = ndimage.maximum_filter(np.where(indices == 255, -1, indices), 5, mode="nearest")
            low = ndimage.minimum_filter(np.where(indices == 255, 999, indices), 5, mode="nearest")
            indices = np.where(high > low, 255, indices)
        lost += np.count_nonzero(indices != 255)
        pixel_sizes = measure_pixel_sizes("EPSG:32614", PLACE, ground.shape)
        sizes = pixel_sizes.pixel_areas(0, 0, *ground.shape) * pixel_sizes.area_unit
        valid_count += valid.sum()
        nodata += ((indices != 255) & ~valid).sum()
        for i in range(3):
            patches[i] += ndimage.label(indices == i)[1]
            here = (indices == i) & valid
            pixels[i] += here.sum()
            areas[i] += sizes[here].sum()
            trains[i] += (here & split.trains(number, whole)).sum()
            for region in split.regions:
                if region.scene == number:
                    count = (here & region.mask(whole)).sum()
                    validates[i] += count * (region.fold == split.fold)
                    regions[i] += count > 0
                    training[i] += (count > 0) * (region.fold != split.fold)
    assert nodata > 0
    assert statistics.pixels.tolist() == pixels.tolist()
    assert statistics.hectares == pytest.approx(areas)
    assert statistics.patches.tolist() == patches.tolist()
    assert statistics.training.tolist() == trains.tolist()
    assert statistics.validation.tolist() == validates.tolist()
    assert statistics.regions.tolist() == regions.tolist()
    assert statistics.training_regions.tolist() == training.tolist()
    assert (statistics.valid, statistics.on_nodata, statistics.in_rim) == (valid_count, nodata, -lost)
    assert (statistics.labelled, statistics.empty_bands) == (pixels.sum(), ())
    assert (
        0 < statistics.training.sum() < statistics.labelled - statistics.validation.sum()
    )  # the buffer belongs to nobody


def test_statistics_of_folds_that_are_polygons(tmp_path):
    """A region's box holds pixels of others; what lies outside all polygons trains."""
    ground = make_labelled_scene(tmp_path)
    half = shapely.Polygon([(0, 0), (130, 0), (0, 150)])
    other = shapely.Polygon([(130, 20), (130, 150), (20, 150)])
    whole = Window.from_shape(ground.shape)
    regions = (Region(0, 0, whole, half), Region(0, 1, whole, other))
    split = replace(split_of([ground]), regions=regions, fold=0, buffers=(0,), method="polygons")
    statistics = measure_statistics([ground], split, Silent())
    ids, (_, valid) = ground.labels.read(whole), ground.image.read(whole)
    for i, ident in enumerate((2, 5, 7)):
        here = (ids == ident) & valid
        assert statistics.validation[i] == (here & regions[0].mask(whole)).sum()
        assert statistics.training[i] == (here & ~regions[0].mask(whole)).sum()
    assert statistics.regions.tolist() == [2, 2, 2]
    assert statistics.training_regions.tolist() == [1, 1, 1]


def test_statistics_does_not_depend_on_windows(tmp_path, monkeypatch):
    ground = make_labelled_scene(tmp_path)
    split = split_of([ground])
    whole = measure_statistics([ground], split, Silent())
    monkeypatch.setattr("geoseg.training.ground.labelled_scene.STREAM", 48)
    done = []
    cut = measure_statistics([ground], split, SimpleNamespace(advance=done.append))
    for name in ("pixels", "hectares", "patches", "regions", "training", "validation"):
        assert getattr(cut, name).tolist() == pytest.approx(getattr(whole, name).tolist()), name
    assert sum(done) == pytest.approx(ground.shape[0] * ground.shape[1] / 1e6)
    assert len(done) > 6


def test_statistics_without_crs_or_split_and_with_an_empty_band(tmp_path):
    scene_path, labels_path = make_files(tmp_path)
    with rasterio.open(scene_path) as source:
        values = source.read()
    values[1] = -9999
    bare = {"crs": None, "transform": rasterio.Affine.identity()}
    scene = open_scene(write(tmp_path / "bare.tif", values, nodata=-9999, **bare))
    ground = LabelledScene(scene, open_labels(labels_path, scene, CLASSES), (2, 5, 7))
    alone = measure_statistics([ground], None, Silent())
    assert alone.hectares is None
    assert alone.labelled > 0
    assert not alone.training.any()
    assert not alone.validation.any()
    assert alone.empty_bands == ()
    assert measure_statistics([ground], split_of([ground]), Silent()).empty_bands == (1,)
    assert cover_module.IGNORE == 255


# Polygons. The scene is 150 x 130 pixels of 10 m from 500000, 5200000.


def box(col, row, width, height):
    return shapely.box(
        500000 + 10 * col, 5200000 - 10 * (row + height), 500000 + 10 * (col + width), 5200000 - 10 * row
    )


def polygon_faults(tmp_path, recipe, rows, **options):
    frame = geopandas.GeoDataFrame(
        {"crop": [name for name, _ in rows]}, geometry=[shape for _, shape in rows], crs="EPSG:32614"
    )
    frame = frame.to_crs(options["crs"]) if "crs" in options else frame
    frame.to_file(tmp_path / "labels.gpkg")
    return find_polygon_faults(str(tmp_path / "labels.gpkg"), open_scene(tmp_path / "scene.tif"), recipe())


def test_sound_polygons(tmp_path, recipe):
    found = polygon_faults(tmp_path, recipe, [("corn", box(0, 0, 20, 20)), ("grass", box(20, 0, 20, 20))])
    assert (found.count, found.invalid, found.outside, found.tiny, found.doubled) == (2, (), (), (), 0)
    assert (found.overlapping, found.contradicting, found.contradicted, found.contradicted_ha) == (0, 0, 0, 0)
    assert found.first is None


@pytest.mark.parametrize("crs", ["EPSG:32614", "EPSG:4326"])
def test_everything_that_can_be_wrong_with_polygons(tmp_path, recipe, crs):
    bow = shapely.Polygon([(500100, 5199900), (500200, 5199800), (500200, 5199900), (500100, 5199800)])
    rows = [
        ("corn", box(50, 50, 20, 20)),  # 1
        ("grass", box(60, 60, 20, 20)),  # 2: 10 x 10 pixels with 1
        (
            "corn",
            box(65, 50, 20, 12),
        ),  # 3: with 1 (5 x 12, same class), with 2 (15 x 2: 5 x 2 of it in 1 too)
        ("water", bow),  # 4
        ("water", box(400, 0, 10, 10)),  # 5: east of the scene
        ("corn", box(100, 100, 0.5, 0.9)),  # 6
        ("grass", box(5, 100, 10, 10)),  # 7
        ("grass", box(5, 100, 10, 10)),  # 8: 7 once more
        (None, box(30, 100, 10, 10)),  # 9: means nothing
        ("water", shapely.Point(500500, 5199500)),  # 10: no polygon
    ]
    found = polygon_faults(tmp_path, recipe, rows, crs=crs)
    assert (found.count, found.unlabelled, found.no_area) == (8, 1, 1)
    assert [number for number, _ in found.invalid] == [4]
    assert "Self-intersection" in found.invalid[0][1]
    assert (found.outside, found.tiny) == ((5,), (6,))
    assert (found.doubled, found.doubled_otherwise) == (1, 0)
    assert (found.overlapping, found.contradicting) == (2, 2)
    # 1 and 2 share 10 x 10, 2 and 3 share 15 x 2; 5 x 2 of both is the same ground
    assert found.contradicted == pytest.approx(100 + 30 - 10, rel=1e-3)
    pixel_sizes = measure_pixel_sizes("EPSG:32614", PLACE, (150, 130))
    hectares = pixel_sizes.pixel_areas(65, 65, 1, 1)[0, 0] * pixel_sizes.area_unit
    assert found.contradicted_ha == pytest.approx(120 * hectares, rel=1e-3)
    assert found.first == (1, 2)


def test_contradictions_beyond_the_scene_do_not_count(tmp_path, recipe):
    rows = [("corn", box(-20, 0, 30, 10)), ("grass", box(-20, 0, 24, 10)), ("corn", box(-50, 0, 10, 10))]
    found = polygon_faults(tmp_path, recipe, rows)
    assert found.contradicted == pytest.approx(40)
    assert found.outside == (3,)


def test_the_same_outline_with_another_class(tmp_path, recipe):
    turned = shapely.Polygon(
        list(box(5, 5, 10, 10).exterior.coords)[2:-1] + list(box(5, 5, 10, 10).exterior.coords)[:2]
    )
    found = polygon_faults(
        tmp_path, recipe, [("corn", box(5, 5, 10, 10)), ("grass", turned), ("corn", turned)]
    )
    assert (found.doubled, found.doubled_otherwise) == (2, 1)
    assert (found.overlapping, found.contradicting, found.contradicted) == (1, 2, pytest.approx(100))


def test_many_polygons_are_compared_in_portions(tmp_path, recipe, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [
        (str(rng.choice(["corn", "grass"])), box(*(rng.random(2) * 100), *(2 + rng.random(2) * 20)))
        for _ in range(40)
    ]
    whole = polygon_faults(tmp_path, recipe, rows)
    monkeypatch.setattr(outlines_module, "_AT_ONCE", 7)
    assert polygon_faults(tmp_path, recipe, rows) == whole
    shapes, names = [shape for _, shape in rows], [name for name, _ in rows]
    pairs = [(i, j) for i in range(40) for j in range(i) if shapes[i].intersection(shapes[j]).area > 0]
    assert whole.contradicting == sum(names[i] != names[j] for i, j in pairs)
    assert whole.overlapping == sum(names[i] == names[j] for i, j in pairs)
    ground = shapely.union_all([shapes[i].intersection(shapes[j]) for i, j in pairs if names[i] != names[j]])
    inside = ground.intersection(box(0, 0, 130, 150))
    assert whole.contradicted == pytest.approx(inside.area / 100)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_polygons_without_a_crs_on_a_scene_without_one(tmp_path, recipe):
    """X = column, y = -row, as QGIS draws such a scene; there are no hectares."""
    with rasterio.open(tmp_path / "scene.tif") as source:
        values = source.read()
    write(tmp_path / "scene.tif", values, nodata=-9999, crs=None, transform=rasterio.Affine.identity())
    frame = geopandas.GeoDataFrame(
        {"crop": ["corn", "grass"]}, geometry=[shapely.box(5, -20, 15, -10), shapely.box(10, -20, 30, -10)]
    )
    frame.to_file(tmp_path / "labels.gpkg")
    found = find_polygon_faults(str(tmp_path / "labels.gpkg"), open_scene(tmp_path / "scene.tif"), recipe())
    assert (found.contradicted, found.contradicted_ha, found.outside) == (pytest.approx(50), None, ())
