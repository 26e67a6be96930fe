"""Folds: no leak between them, every class in each, the same every time."""

from __future__ import annotations

import json
from dataclasses import replace

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.classes import IGNORE
from geoseg.errors import InputError, SettingsError
from geoseg.grid import Window
from geoseg.training.chips.chips import (
    ChipPlacer,
    ChipReader,
    TrainingChips,
    ValidationChips,
    core_labels,
    cut_region,
)
from geoseg.training.ground.folds import Region, Split, balance, cut, in_pixels, make_split
from geoseg.training.ground.labelled_scene import count_labels
from geoseg.training.ground.split_files import write_split
from geoseg.training.prepare import measure_bands
from geoseg.training.recipe.settings import AugmentSettings, SplitSettings
from tests.training.labelled_scenes import CLASSES, PLACE, make_labelled_scene


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return make_labelled_scene(tmp_path_factory.mktemp("ground"), (200, 170))


def split_of(ground, chip_size=32, seed=0, **options):
    grounds = (ground,) if not isinstance(ground, tuple) else ground
    return make_split(
        SplitSettings(**options), grounds, [count_labels(g) for g in grounds], chip_size=chip_size, seed=seed
    )


class Poisoned:
    """A scene whose values are a code of the pixel they come from."""

    def __init__(self, shape):
        self.shape = shape

    def read(self, window):
        rows, cols = np.mgrid[window.row : window.row_stop, window.col : window.col_stop]
        return (rows * 10000.0 + cols).astype(np.float32)[None].repeat(2, axis=0), np.ones(window.shape, bool)


class FakeGround:
    def __init__(self, shape, labels):
        self.shape, self.image, self.array, self.class_ids, self.rim = (
            shape,
            Poisoned(shape),
            labels,
            (2, 5, 7),
            0,
        )

    def read_labels(self, window):
        return self.array[window.slices()].copy()

    def windows(self):
        yield Window.from_shape(self.shape)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(60, 160),
    cols=st.integers(60, 160),
    block=st.integers(20, 60),
    buffer=st.integers(0, 20),
    chip=st.sampled_from([16, 32, 48, 96, 200]),
    fold=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_no_pixel_that_a_training_chip_reads_is_validation_ground_or_its_buffer(
    rows, cols, block, buffer, chip, fold, seed
):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (rows, cols)).astype(np.uint8)
    ground = FakeGround((rows, cols), labels)
    cells = [count_labels(ground)]
    try:
        options = SplitSettings(block_size=f"{block}px", buffer=f"{buffer}px", folds=3, fold=fold)
        split = make_split(options, [ground], cells, chip_size=chip, seed=seed)
        training = [count_labels(ground, lambda window: split.trains(0, window))]
        placer = ChipPlacer(training, chip, 0.5)
    except SettingsError:
        return  # too few blocks, or nothing left beside the buffer
    forbidden = np.zeros((rows, cols), bool)
    for region in split.validation:
        w = region.window
        forbidden[
            max(0, w.row - buffer) : w.row_stop + buffer, max(0, w.col - buffer) : w.col_stop + buffer
        ] = True
    read_by_validation = np.zeros((rows, cols), bool)
    reader = ChipReader((ground,), split, (None, None), chip)
    off = AugmentSettings(flips=None, turns=None, brightness=None, noise=None)
    chips = TrainingChips(reader, placer, off, seed)
    for number in range(4):
        read = chips.chip(number)
        where = read.values[0][np.isfinite(read.values[0])].astype(int)
        assert not forbidden[where // 10000, where % 10000].any()
        assert not ((read.labels != IGNORE) & ~read.valid).any()
    validation = ValidationChips(reader, cells)
    for place, _core, region in validation.places:
        read = reader.read(place, region)
        where = read.values[0][np.isfinite(read.values[0])].astype(int)
        read_by_validation[where // 10000, where % 10000] = True
    assert not (read_by_validation & ~forbidden).any()


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(20, 150), st.integers(20, 150)),
    block=st.integers(10, 80),
    buffer=st.integers(0, 30),
    chip=st.sampled_from([16, 32, 64]),
)
def test_every_validation_pixel_is_scored_once(shape, block, buffer, chip):
    regions = tuple(Region(0, i % 2, window) for i, window in enumerate(cut(shape, block)))
    split = Split(regions, 0, (buffer,), "blocks")
    scored = np.zeros(shape, int)
    for region in split.validation:
        for window, core in cut_region(region, split, shape, chip):
            labels = core_labels(np.zeros(window.shape, np.uint8), window, core, region)
            rows, cols = np.nonzero(labels != IGNORE)
            np.add.at(scored, (rows + window.row, cols + window.col), 1)
    wanted = np.zeros(shape, int)
    for region in split.validation:
        wanted[region.window.slices()] = 1
    np.testing.assert_array_equal(scored, wanted)


@settings(deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.integers(1, 400))
def test_blocks_tile_the_scene_with_nearly_equal_sides(shape, size):
    blocks = cut(shape, size)
    count = np.zeros(shape, int)
    for window in blocks:
        count[window.slices()] += 1
    assert (count == 1).all()
    for side in ("height", "width"):
        assert np.ptp([getattr(window, side) for window in blocks]) <= 1


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(0, 99), st.integers(10, 60))
def test_balance_fills_every_fold_and_repeats(folds, seed, blocks):
    counts = np.random.default_rng(seed).integers(0, 1000, (blocks, 4))
    first = balance(counts, folds, seed)
    np.testing.assert_array_equal(first, balance(counts, folds, seed))
    assert set(first) == set(range(folds))


def test_balance_spreads_rare_classes():
    rng = np.random.default_rng(1)
    counts = rng.integers(500, 1000, (50, 3))
    counts[:, 2] = 0
    counts[[3, 11, 12, 13, 14], 2] = 40  # neighbours, mostly
    chosen = balance(counts, 5, seed=0)
    per_fold = np.array([counts[chosen == fold].sum(axis=0) for fold in range(5)])
    assert (per_fold[:, 2] == 40).all()
    share = per_fold[:, 0] / per_fold[:, 0].sum()
    assert 0.15 < share.min() <= share.max() < 0.25


def test_blocks_cover_labels_and_folds_differ(ground):
    splits = [split_of(ground, folds=4, fold=fold, block_size="40px") for fold in range(4)]
    assert len({split.regions for split in splits}) == 1
    held = [set(split.validation) for split in splits]
    assert all(a.isdisjoint(b) for i, a in enumerate(held) for b in held[:i])
    assert set.union(*held) == set(splits[0].regions)


def test_the_default_buffer_is_a_quarter_of_a_chip(ground):
    assert split_of(ground, chip_size=48).buffers == (12,)


def test_lengths_in_metres(ground):
    assert in_pixels("640m", "buffer", ground) == 64  # pixels of 10 m; UTM's scale is within a percent
    assert in_pixels("1.28km", "buffer", ground) == 128
    assert in_pixels("7px", "buffer", ground) == 7
    with pytest.raises(SettingsError, match=r"\[split\] buffer \"seven\" is not a length"):
        in_pixels("seven", "buffer", ground)


def test_metres_need_a_scene_that_knows_its_pixels(ground):
    from geoseg.raster.georeference import Georeference

    lost = replace(ground, image=replace(ground.image, georeference=Georeference()))
    with pytest.raises(SettingsError, match="give pixels"):
        in_pixels("640m", "buffer", lost)


def test_too_few_blocks_are_refused(ground):
    with pytest.raises(SettingsError, match=r"folds need .* smaller block_size"):
        split_of(ground, block_size="150px", folds=5)


def test_named_scenes_validate(tmp_path):
    grounds = tuple(make_labelled_scene(tmp_path, seed=i, name=f"s{i}") for i in range(3))
    split = split_of(grounds, method="scenes", validation_scenes=("s1",), buffer="0px")
    assert [region.scene for region in split.validation] == [1]
    everything = Window.from_shape(grounds[0].shape)
    assert split.trains(0, everything).all()
    assert not split.trains(1, everything).any()
    with pytest.raises(SettingsError, match="every scene"):
        split_of(grounds, method="scenes", validation_scenes=("s0", "s1", "s2"))


def test_scenes_are_shared_among_folds(tmp_path):
    grounds = tuple(make_labelled_scene(tmp_path, seed=i, name=f"s{i}") for i in range(3))
    held = [split_of(grounds, method="scenes", folds=3, fold=fold).validation[0].scene for fold in range(3)]
    assert sorted(held) == [0, 1, 2]
    with pytest.raises(SettingsError, match="give more scenes, or fewer folds"):
        split_of(grounds, method="scenes", folds=5)


class TestPolygons:
    @pytest.fixture
    def layer(self, tmp_path):
        def write(folds, column="fold", crs="EPSG:32614", name="folds.gpkg"):
            x, y = PLACE * (40, 30)
            shapes = [shapely.Point(x, y).buffer(200), shapely.box(x + 500, y - 900, x + 900, y - 500)]
            table = geopandas.GeoDataFrame({column: folds}, geometry=shapes, crs="EPSG:32614").to_crs(crs)
            table.to_file(tmp_path / name)
            return tmp_path / name

        return write

    @pytest.mark.parametrize("crs", ["EPSG:32614", "EPSG:4326"])
    def test_polygons_are_placed_on_the_scene(self, ground, layer, crs):
        split = split_of(ground, method="polygons", polygons=layer([0, 1], crs=crs), fold=0, buffer="8px")
        everything = Window.from_shape(ground.shape)
        rows, cols = np.mgrid[0.5:200, 0.5:170]
        distance = np.hypot(rows - 30, cols - 40)
        mask = split.validation[0].mask(everything)
        assert mask[distance < 19].all()
        assert not mask[distance > 21].any()
        trains = split.trains(0, everything)
        assert not trains[distance < 27].any()
        assert trains[distance > 29].all()

    def test_masks_do_not_depend_on_the_window(self, ground, layer):
        region = split_of(ground, method="polygons", polygons=layer([0, 1]), buffer="5px").validation[0]
        whole = region.mask(Window.from_shape(ground.shape), 5)
        part = Window(13, 22, 40, 31)
        np.testing.assert_array_equal(region.mask(part, 5), whole[part.slices()])

    def test_training_chips_stay_out_of_polygons(self, ground, layer):
        split = split_of(ground, method="polygons", polygons=layer([0, 1]), buffer="4px")
        cells = [count_labels(ground, lambda window: split.trains(0, window))]
        bands = measure_bands([ground], split)
        reader = ChipReader((ground,), split, bands, 48)
        off = AugmentSettings(flips=None, turns=None, brightness=None, noise=None)
        chips = TrainingChips(reader, ChipPlacer(cells, 48, 0.3), off, 0)
        met = 0
        for number in range(40):
            place = chips._inside(chips.placer.draw(np.random.default_rng((0, number))))
            forbidden = split.validation[0].mask(place.window, 4)
            chip = chips.chip(number)
            met += int(forbidden.sum())
            assert not chip.valid[forbidden].any()
            assert np.isnan(chip.values[:, forbidden]).all()
            assert (chip.labels[forbidden] == IGNORE).all()
        assert met > 100

    def test_a_wrong_layer_is_refused(self, ground, layer, tmp_path):
        with pytest.raises(SettingsError, match=r"no column fold; it has part"):
            split_of(ground, method="polygons", polygons=layer([0, 1], column="part"))
        with pytest.raises(SettingsError, match="whole numbers"):
            split_of(ground, method="polygons", polygons=layer(["a", "b"]))
        with pytest.raises(SettingsError, match="fold 3 has no region"):
            split_of(ground, method="polygons", polygons=layer([0, 1]), fold=3)
        with pytest.raises(InputError, match=r"none\.gpkg: no such file \(\[split\] polygons\)"):
            split_of(ground, method="polygons", polygons=tmp_path / "none.gpkg")


def test_the_split_is_written_beside_the_model(ground, tmp_path):
    split = split_of(ground, folds=4, block_size="40px")
    every = [count_labels(ground)]
    training = [count_labels(ground, lambda window: split.trains(0, window))]
    content = write_split(tmp_path, split, [ground], CLASSES, every, training)
    assert content == json.loads((tmp_path / "split.json").read_text())
    labels = ground.read_labels(Window.from_shape(ground.shape))
    assert content["labelled_pixels"]["all"]["corn"] == (labels == 0).sum()
    trained = labels[split.trains(0, Window.from_shape(ground.shape))]
    assert content["labelled_pixels"]["train"]["water"] == (trained == 2).sum()
    table = geopandas.read_file(tmp_path / "split.gpkg")
    assert len(table) == len(split.regions) == len(content["scenes"][0]["regions"])
    assert set(table.role) == {"train", "validation"}
    assert table.crs.to_epsg() == 32614
    first = split.regions[0].window
    x, y = PLACE * (first.col, first.row)
    assert table.geometry[0].bounds == pytest.approx((x, y - 10 * first.height, x + 10 * first.width, y))


def test_other_folds_can_be_held_out(tmp_path):
    """Fold by fold everything is held out once; without a fold everything trains."""
    ground = make_labelled_scene(tmp_path)
    split = split_of(ground, block_size="40px", folds=3, buffer="3px")
    assert split.folds == (0, 1, 2)
    whole = Window.from_shape(ground.shape)
    held = sum(np.any([r.mask(whole) for r in split.of(fold)], axis=0).astype(int) for fold in split.folds)
    assert (held == 1).all()
    for fold in split.folds:
        assert split.holding_out(fold).validation == split.of(fold)
        mine = np.any([r.mask(whole) for r in split.of(fold)], axis=0)
        assert not (split.holding_out(fold).trains(0, whole) & mine).any()
    assert split.holding_out(None).validation == ()
    assert split.holding_out(None).trains(0, whole).all()


def test_nothing_need_be_held_out(tmp_path):
    split = split_of(make_labelled_scene(tmp_path), method="none")
    assert (split.regions, split.validation, split.folds) == ((), (), ())
