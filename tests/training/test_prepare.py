"""From a recipe to ground, folds and chips."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely.geometry

from geoseg.errors import InputError, SettingsError
from geoseg.grid import Window
from geoseg.training import prepare as prepare_module
from geoseg.training.prepare import default_chip_size, hold_out, open_training_data, prepare_fold
from geoseg.training.recipe.recipe import load_recipe
from tests.training.labelled_scenes import make_files

HEAD = 'scenes = "scene.tif"\nlabels = "{labels}"\n[classes]\n2 = "corn"\n5 = "grass"\n7 = "water"\n'
SMALL = '[split]\nblock_size = "40px"\nfolds = 3\nbuffer = "4px"\n[chips]\nsize = 32\nbatch_size = 8\n'


@pytest.fixture
def prepare(tmp_path):
    make_files(tmp_path)

    def run(more="", labels="scene_labels.tif"):
        path = tmp_path / "crops.toml"
        path.write_text(HEAD.format(labels=labels) + SMALL + more)
        return prepare_fold(load_recipe(path))

    return run


def test_training_and_validation_share_no_pixel(prepare):
    prepared = prepare()
    whole = Window.from_shape(prepared.scenes[0].shape)
    trains = prepared.split.trains(0, whole)
    held = np.zeros(whole.shape, bool)
    for region in prepared.split.validation:
        held |= region.mask(whole)
    assert held.any()
    assert trains.any()
    assert not (trains & held).any()
    labels = prepared.scenes[0].read_labels(whole)
    assert prepared.cells[0].classes.tolist() == [(labels[trains] == i).sum() for i in range(3)]


def test_an_epoch_is_whole_steps(prepare):
    assert prepare("per_epoch = 100\n").per_epoch == 96
    assert prepare("per_epoch = 100\n[run]\naccumulate = 4\n").per_epoch == 96
    assert prepare("per_epoch = 100\n[run]\naccumulate = 4\n").steps == 3
    assert prepare("per_epoch = 1\n").per_epoch == 8
    assert prepare().per_epoch == 240  # the fewest by default


def test_epochs_are_as_long_whichever_fold_validates(prepare, monkeypatch):
    """About twice all labels; so the folds of a cross-validation and its last network learn equally long."""
    monkeypatch.setattr(prepare_module, "_FEWEST", 1)
    first = prepare()
    labelled = sum(int(cells.classes.sum()) for cells in first.all_cells)
    assert first.per_epoch == round(2 * labelled // 32**2 / 8) * 8
    opened = open_training_data(first.recipe)
    assert {hold_out(opened, fold).per_epoch for fold in (None, 0, 1, 2)} == {first.per_epoch}


def test_class_weights_by_id(prepare):
    weights = prepare('[loss]\nclass_weights = "manual"\nmanual = { "5" = 3.0 }\n').class_weights()
    assert weights.tolist() == [1, 3, 1]
    assert prepare().class_weights() is None


@pytest.mark.parametrize("method", ["inverse", "median", "effective"])
def test_class_weights_come_from_training_labels(prepare, method):
    prepared = prepare(f'[loss]\nclass_weights = "{method}"\n')
    counts = prepared.cells[0].classes
    weights = prepared.class_weights()
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1, rel=1e-5)
    assert weights[counts.argmin()] > weights[counts.argmax()]


def test_labels_from_polygons_are_the_same_as_from_their_raster(prepare, tmp_path):
    with rasterio.open(tmp_path / "scene_labels.tif") as raster:
        labels, transform = raster.read(1), raster.transform
    names = {2: "corn", 5: "grass", 7: "water"}
    shapes = [
        (shapely.geometry.shape(s), names[int(v)])
        for s, v in rasterio.features.shapes(labels, transform=transform)
        if v
    ]
    table = geopandas.GeoDataFrame(
        {"crop": [n for _, n in shapes]}, geometry=[s for s, _ in shapes], crs="EPSG:32614"
    )
    table.to_file(tmp_path / "fields.gpkg")
    by_polygon = prepare('[label_values]\ncolumn = "crop"\n', labels="fields.gpkg")
    by_raster = prepare()
    np.testing.assert_array_equal(by_polygon.all_cells[0].counts, by_raster.all_cells[0].counts)
    assert by_polygon.split.regions == by_raster.split.regions


def test_messages_name_the_recipe_and_its_keys_not_flags(prepare, tmp_path):
    path = tmp_path / "crops.toml"
    prepare()
    path.write_text('bands = ["red", "thermal"]\n' + path.read_text())
    recipe = load_recipe(path)
    with pytest.raises(InputError, match=r"crops.toml: .*no band thermal.*`bands`") as caught:
        prepare_fold(recipe)
    assert "--" not in str(caught.value)
    path.write_text(HEAD.format(labels="scene_labels.tif").replace('7 = "water"\n', "") + SMALL)
    recipe = load_recipe(path)
    with pytest.raises(InputError, match=r"\[label_values\] (ignore|remap)") as caught:
        prepare_fold(recipe)
    assert "--" not in str(caught.value)


def test_a_fold_without_labels_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="the validation fold holds no labels"):
        prepare_fold(load_recipe(_without_labels_in_the_fold(tmp_path)))


def _without_labels_in_the_fold(folder):
    make_files(folder)
    with rasterio.open(folder / "scene_labels.tif", "r+") as raster:
        labels = raster.read(1)
        labels[:40, :40] = 0
        raster.write(labels, 1)
        x, y = raster.transform * (0, 0)
    box = shapely.geometry.box(x, y - 300, x + 300, y)
    geopandas.GeoDataFrame({"fold": [0]}, geometry=[box], crs="EPSG:32614").to_file(folder / "folds.gpkg")
    path = folder / "empty.toml"
    split = '[split]\nmethod = "polygons"\npolygons = "folds.gpkg"\nbuffer = "0px"\n[chips]\nsize = 16\n'
    path.write_text(HEAD.format(labels="scene_labels.tif") + split)
    return path


@pytest.mark.parametrize(("side", "expected"), [(40, 64), (300, 64), (520, 128), (5000, 256)])
def test_default_chips_fit_the_blocks(side, expected):
    class Sized:
        shape = (side, side + 10)

    assert default_chip_size((Sized(),)) == expected
