"""Chips: read as predict reads, placed where labels are, the same for the same number and seed."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.classes import IGNORE
from geoseg.errors import GeosegError, SettingsError
from geoseg.grid import Window
from geoseg.models.transforms import parse_transforms
from geoseg.training.chips.chips import ChipPlace, ChipPlacer, ChipReader, TrainingChips, ValidationChips
from geoseg.training.ground.folds import NO_FOLD, Region, Split
from geoseg.training.ground.labelled_scene import LabelCells, count_labels, open_labelled_scenes
from geoseg.training.prepare import Moments, measure_bands
from geoseg.training.recipe.recipe import load_recipe
from geoseg.training.recipe.settings import AugmentSettings
from tests.training.labelled_scenes import field_map, make_files, make_labelled_scene, write

OFF = AugmentSettings(flips=None, turns=None, brightness=None, noise=None)


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return make_labelled_scene(tmp_path_factory.mktemp("ground"))


def held_out(window, buffer=4):
    return Split((Region(0, 0, window),), 0, (buffer,), "blocks")


def trained(ground, split):
    return [count_labels(ground, lambda window: split.trains(0, window))]


def test_labels_become_class_indices(ground):
    labels = ground.read_labels(Window.from_shape(ground.shape))
    expected = field_map(ground.shape)
    for index, value in enumerate((2, 5, 7)):
        np.testing.assert_array_equal(labels == index, expected == value)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels == IGNORE, expected == 0)


def test_the_rim_ignores_both_sides_of_borders_and_nothing_else(tmp_path):
    ground = make_labelled_scene(tmp_path, rim=2)
    plain = make_labelled_scene(tmp_path, rim=0).read_labels(Window.from_shape(ground.shape))
    rimmed = ground.read_labels(Window.from_shape(ground.shape))
    padded = np.pad(plain, 2, constant_values=IGNORE)
    for row, col in np.random.default_rng(0).integers((0, 0), ground.shape, (400, 2)):
        near = padded[row : row + 5, col : col + 5]
        differs = len(set(near[near != IGNORE].tolist())) > 1
        assert (rimmed[row, col] == IGNORE) == (plain[row, col] == IGNORE or differs)
    part = Window(20, 30, 40, 50)
    np.testing.assert_array_equal(ground.read_labels(part), rimmed[part.slices()])


@pytest.mark.parametrize("shape", [(150, 130), (33, 1100), (16, 16)])
def test_cells_count_every_label(tmp_path, shape):
    ground = make_labelled_scene(tmp_path, shape)
    cells = count_labels(ground)
    labels = ground.read_labels(Window.from_shape(shape))
    np.testing.assert_array_equal(cells.classes, [(labels == i).sum() for i in range(3)])
    row, col = cells.counts.shape[0] - 1, 0
    part = labels[row * cells.size :, : cells.size]
    assert cells.counts[row, col].tolist() == [(part == i).sum() for i in range(3)]


def test_labels_around_a_window(ground):
    cells = count_labels(ground)
    aligned = Window(32, 48, 64, 32)
    labels = ground.read_labels(aligned)
    assert cells.around(aligned) == (labels != IGNORE).sum()
    assert cells.around(Window(-200, 0, 100, 100)) == 0
    assert cells.around(Window(-10, -10, 500, 500)) == cells.classes.sum()


def test_moments_agree_with_numpy():
    rng = np.random.default_rng(0)
    values = (1e4 + rng.normal(0, 1, (3, 5000))).astype(np.float32)
    values[1, ::3] = np.nan
    moments = Moments(3)
    for part in np.array_split(values, 7, axis=1):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, np.nanmean(values.astype(float), axis=1), rtol=1e-9)
    np.testing.assert_allclose(moments.std, np.nanstd(values.astype(float), axis=1), rtol=1e-6)


def test_the_normalisation_knows_only_training_ground(ground):
    split = held_out(Window(60, 0, 90, 130), buffer=10)
    bands = measure_bands([ground], split)
    everything = Window.from_shape(ground.shape)
    values, valid = ground.image.read(everything)
    inside = values[:, valid & split.trains(0, everything)]
    assert [band.name for band in bands] == ["red", "nir"]
    for band, own in zip(bands, inside, strict=True):
        assert band.mean == pytest.approx(own.mean(dtype=float), rel=1e-5)
        assert band.std == pytest.approx(own.std(dtype=float), rel=1e-5)
        assert (band.low, band.high) == pytest.approx(np.percentile(own, [1, 99]), rel=1e-4)


def test_chips_are_normalised_as_predict_normalises(ground):
    split = held_out(Window(0, 100, 20, 20))
    bands = measure_bands([ground], split)
    reader = ChipReader((ground,), split, bands, 64)
    place = ChipPlace(0, Window(120, 10, 64, 64))  # reaches 34 rows below the scene
    values, labels = reader.normalise(reader.read(place))
    read, valid = ground.image.read(Window(120, 10, 30, 64))
    expected = (read[0] - np.float32(bands[0].mean)) / np.float32(bands[0].std)
    np.testing.assert_array_equal(values[0, :30], np.where(valid, expected, 0))
    assert not values[:, 30:].any()
    assert (labels[30:] == IGNORE).all()
    assert values.dtype == np.float32
    assert labels.dtype == np.uint8


def test_invalid_pixels_have_no_label(ground):
    split = held_out(Window(120, 100, 20, 20))
    reader = ChipReader((ground,), split, measure_bands([ground], split), 64)
    chip = reader.read(ChipPlace(0, Window(0, 0, 64, 64)))
    assert not chip.valid[:25, :26].any()
    assert (chip.labels[:25, :26] == IGNORE).all()
    assert not reader.normalise(chip)[0][:, ~chip.valid].any()


@pytest.fixture(scope="module")
def chips(ground):
    split = held_out(Window(60, 40, 40, 40))
    reader = ChipReader((ground,), split, measure_bands([ground], split), 32)
    return TrainingChips(reader, ChipPlacer(trained(ground, split), 32, 0.3), AugmentSettings(), seed=5)


class TestTrainingChips:
    def test_the_number_decides(self, chips):
        for number in (0, 7, 10**9):
            first, second = chips[number], chips[number]
            np.testing.assert_array_equal(first[0], second[0])
            np.testing.assert_array_equal(first[1], second[1])
        assert not np.array_equal(chips[0][0], chips[1][0])

    def test_the_seed_decides(self, chips):
        from dataclasses import replace

        assert not np.array_equal(chips[0][0], replace(chips, seed=6)[0][0])

    def test_workers_read_the_same_chips(self, chips):
        import pickle

        copy = pickle.loads(pickle.dumps(chips))
        np.testing.assert_array_equal(chips[3][0], copy[3][0])

    def test_shapes_and_dtypes(self, chips):
        values, labels = chips[0]
        assert (values.shape, values.dtype) == ((2, 32, 32), np.float32)
        assert (labels.shape, labels.dtype) == ((32, 32), np.uint8)
        assert set(np.unique(labels)) <= {0, 1, 2, IGNORE}


def test_chips_are_placed_where_labels_are(tmp_path):
    """A scene that is nine tenths empty wastes few chips."""
    labels = field_map((640, 640))
    labels[:, 64:] = 0
    ground = make_labelled_scene(tmp_path, (640, 640), holes=False)
    write(tmp_path / "scene_labels.tif", labels, nodata=0)
    split = held_out(Window(0, 600, 1, 1))
    reader = ChipReader((ground,), split, measure_bands([ground], split), 32)
    chips = TrainingChips(reader, ChipPlacer(trained(ground, split), 32, 0.3), OFF, 0)
    shares = [(chips[number][1] != IGNORE).mean() for number in range(60)]
    assert np.mean(shares) > 0.6
    assert min(shares) > 0


def test_rare_classes_are_drawn_as_often_as_asked():
    counts = np.zeros((20, 20, 3), np.uint32)
    counts[:, :, 0] = 256
    counts[4, 4] = (0, 256, 0)  # one cell of 400; class 2 is nowhere
    cells = [LabelCells(16, counts)]
    rng = np.random.default_rng(0)

    def hits(rare_share):
        placer = ChipPlacer(cells, 16, rare_share)
        centres = [placer.draw(rng).window for _ in range(600)]
        return np.mean([w.intersection(Window(64, 64, 16, 16)) is not None for w in centres])

    assert hits(0.0) < 0.05
    assert 0.42 < hits(0.9) < 0.52  # half of nine tenths, and a few by chance


def test_places_are_drawn_in_proportion_and_in_the_right_scene():
    first = np.zeros((2, 3, 2), np.uint32)
    second = np.zeros((4, 2, 2), np.uint32)
    first[1, 2, 0], second[3, 1, 0], second[0, 0, 1] = 300, 600, 100
    placer = ChipPlacer([LabelCells(16, first), LabelCells(16, second)], 1, 0.0)
    rng = np.random.default_rng(1)
    drawn = [placer._try(rng) for _ in range(3000)]
    where = [(p.scene, p.window.row // 16, p.window.col // 16) for p in drawn]
    for place, share in {(0, 1, 2): 0.3, (1, 3, 1): 0.6, (1, 0, 0): 0.1}.items():
        assert where.count(place) / 3000 == pytest.approx(share, abs=0.03)
    assert len(set(where)) == 3


def test_nothing_to_train_on_is_refused():
    with pytest.raises(SettingsError, match="no label is left"):
        ChipPlacer([LabelCells(16, np.zeros((2, 2, 3), np.uint32))], 32, 0.3)


def test_validation_chips_hold_every_label_of_their_ground_once(ground):
    window = Window(50, 20, 77, 90)
    split = held_out(window, buffer=8)
    reader = ChipReader((ground,), split, measure_bands([ground], split), 32)
    chips = ValidationChips(reader, [count_labels(ground)])
    counts = np.bincount(np.concatenate([chips[i][1].ravel() for i in range(len(chips))]), minlength=256)
    labels = ground.read_labels(window)
    _, valid = ground.image.read(window)
    assert counts[:3].tolist() == [((labels == i) & valid).sum() for i in range(3)]


def test_validation_ground_of_other_scenes_is_left_alone():
    split = Split(
        (Region(0, 0, Window(0, 0, 50, 50)), Region(1, NO_FOLD, Window(0, 0, 99, 99))), 0, (0, 0), "scenes"
    )
    assert not split.trains(0, Window(10, 10, 5, 5)).any()
    assert split.trains(1, Window(10, 10, 5, 5)).all()


class TestOpening:
    def recipe(self, folder, more="", classes='2 = "corn"\n5 = "grass"\n7 = "water"\n'):
        make_files(folder)
        path = folder / "r.toml"
        path.write_text(f'{more}scenes = "scene.tif"\nlabels = "scene_labels.tif"\n[classes]\n{classes}')
        return load_recipe(path)

    def test_all_bands_are_the_default(self, tmp_path):
        (ground,) = open_labelled_scenes(self.recipe(tmp_path))
        assert [band.common_name for band in ground.image.bands] == ["red", "nir"]

    def test_bands_can_be_chosen_and_ordered(self, tmp_path):
        (ground,) = open_labelled_scenes(self.recipe(tmp_path, 'bands = ["nir", 1]\n'))
        assert [band.number for band in ground.image.bands] == [2, 1]

    def test_a_label_that_is_no_class_is_refused_and_can_be_ignored(self, tmp_path):
        two = '2 = "corn"\n5 = "grass"\n'
        (ground,) = open_labelled_scenes(self.recipe(tmp_path, classes=two))
        with pytest.raises(GeosegError, match="7"):
            count_labels(ground)
        (ground,) = open_labelled_scenes(
            self.recipe(tmp_path, classes=two + "[label_values]\nignore = [7]\n")
        )
        assert count_labels(ground).classes.shape == (2,)

    def test_labels_are_remapped(self, tmp_path):
        more = '2 = "crop"\n9 = "other"\n[label_values]\nremap = { 2 = 2, 5 = 2, 7 = 9 }\n'
        (ground,) = open_labelled_scenes(self.recipe(tmp_path, classes=more))
        labels = field_map((150, 130))
        assert count_labels(ground).classes.tolist() == [np.isin(labels, [2, 5]).sum(), (labels == 7).sum()]


def test_transforms_of_the_package_to_start_from_come_before_mean_and_std(ground):
    split = held_out(Window(0, 100, 20, 20))
    plain = measure_bands([ground], split)
    bands = measure_bands([ground], split, [parse_transforms("log=50,sigmoid"), ()])
    assert (bands[0].low, bands[0].high) == (plain[0].low, plain[0].high)
    assert bands[1] == plain[1]
    values, _ = ground.image.read(Window(0, 0, 64, 64))
    transformed = 1 / (1 + np.exp(-np.log(1 + 50 * values[0])))
    place = ChipPlace(0, Window(0, 0, 64, 64))
    reader = ChipReader((ground,), split, bands, 64)
    chip = reader.read(place)
    found, _ = reader.normalise(chip)
    expected = (transformed - bands[0].mean) / bands[0].std
    np.testing.assert_allclose(found[0], np.where(chip.valid, expected, 0), atol=2e-4)
    again, _ = reader.normalise(chip)
    np.testing.assert_array_equal(again, found)
