"""Preparing the dubai data: parts become tiles, parts that do not touch are refused, the recipe is one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.scene import open_scene
from geoseg.training.recipe.recipe import load_recipe

FOLDER = Path(__file__).parents[2] / "workflows" / "dubai"
HEIGHTS, WIDTHS = (50, 49, 50), (60, 61, 60)


def load():
    spec = importlib.util.spec_from_file_location("dubai_prepare", FOLDER / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prepare = load()


def smooth(shape, seed=0):
    """A picture whose neighbouring pixels are alike, uint8 (3, rows, columns)."""
    values = np.cumsum(np.cumsum(np.random.default_rng(seed).normal(0, 1, (3, *shape)), axis=1), axis=2)
    low, high = values.min(), values.max()
    return ((values - low) / (high - low) * 250).astype("uint8")


def cut(values):
    """The nine parts of a tile (bands, rows, columns), in reading order."""
    rows, cols = np.cumsum((0, *HEIGHTS)), np.cumsum((0, *WIDTHS))
    return [values[:, rows[i] : rows[i + 1], cols[j] : cols[j + 1]] for i in range(3) for j in range(3)]


def save(path, values, driver):
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": "uint8"}
    with rasterio.open(path, "w", driver=driver, **shape) as raster:
        raster.write(values)


@pytest.fixture
def data(tmp_path):
    """A folder with one tile: pictures as PNG by the name of JPEG, so that values are exact."""
    image = smooth((sum(HEIGHTS), sum(WIDTHS)))
    labels = (1 + np.indices(image.shape[1:]).sum(axis=0) // 40 % 5).astype("uint8")[None]
    labels[0, :3, :3] = 0
    folder = tmp_path / "data" / "tile4"
    folder.mkdir(parents=True)
    for number, (part, ids) in enumerate(zip(cut(image), cut(labels), strict=True), 1):
        save(folder / f"part{number}.jpg", part, "PNG")
        save(folder / f"part{number}.png", ids, "PNG")
    return tmp_path / "data", image, labels


def run(*arguments):
    command = [sys.executable, FOLDER / "prepare.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_parts_become_a_scene_and_its_labels(data, tmp_path):
    folder, image, labels = data
    done = run(folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tile4: 149 x 181, largest step between parts ")
    scene = open_scene(tmp_path / "out" / "tile4.tif")
    assert [band.common_name for band in scene.bands] == ["red", "green", "blue"]
    assert scene.georeference.crs is None
    assert scene.gsd is None
    with rasterio.open(tmp_path / "out" / "tile4.tif") as raster:
        np.testing.assert_array_equal(raster.read(), image)
        assert raster.profile["tiled"]
    with rasterio.open(tmp_path / "out" / "tile4_labels.tif") as raster:
        np.testing.assert_array_equal(raster.read(), labels)
        assert raster.nodata == 0
    assert (tmp_path / "out" / "recipe.toml").read_text() == (FOLDER / "recipe.toml").read_text()


def test_parts_in_a_wrong_order_are_refused(data, tmp_path):
    folder, image, _ = data
    parts = cut(image)
    for number, part in ((1, parts[6]), (7, parts[0])):  # of the same size
        save(folder / "tile4" / f"part{number}.jpg", part, "PNG")
    done = run(folder, tmp_path / "out")
    assert done.returncode == 2
    assert "two of its parts do not touch" in done.stderr
    assert not (tmp_path / "out" / "tile4.tif").exists()


@pytest.mark.parametrize(("wrong", "words"), [(3, "rows high"), (1, "columns wide")])
def test_sizes_that_do_not_fit_are_refused(wrong, words):
    parts = cut(smooth((sum(HEIGHTS), sum(WIDTHS))))
    parts[0] = parts[wrong]
    with pytest.raises(prepare.TileError, match=words):
        prepare.put_together(parts)


def test_labels_of_another_size_or_class_are_refused(data, tmp_path):
    folder, _, labels = data
    save(folder / "tile4" / "part5.png", cut(labels)[0], "PNG")
    assert "part 5 is (49, 61) and its labels are (50, 60)" in run(folder, tmp_path / "out").stderr
    save(folder / "tile4" / "part5.png", np.full((1, 49, 61), 9, "uint8"), "PNG")
    assert "the labels hold [9], which are no classes" in run(folder, tmp_path / "out").stderr


def test_a_folder_without_tiles(tmp_path):
    done = run(tmp_path, tmp_path / "out")
    assert done.returncode == 2
    assert "holds no tile1" in done.stderr


def test_contradictions_are_changes_at_borders_that_are_not_there_beside_them():
    labels = np.ones((1, sum(HEIGHTS), sum(WIDTHS)), "uint8")
    assert prepare.contradictions(cut(labels)) == (0, 0)
    labels[:, :50, :60] = 2  # the first part, by itself of another opinion
    across, beside = prepare.contradictions(cut(labels))
    assert across == pytest.approx((50 + 60) / (2 * sum(HEIGHTS) + 2 * sum(WIDTHS)))
    assert beside == 0
    labels[:, :50, :60] = 0  # no label is no contradiction
    assert prepare.contradictions(cut(labels)) == (0, 0)
    labels[:] = np.arange(labels.shape[2]) % 2 + 1
    across, beside = prepare.contradictions(cut(labels))
    share = 2 * sum(HEIGHTS) / (2 * sum(HEIGHTS) + 2 * sum(WIDTHS))
    assert across == beside == pytest.approx(share)


def test_the_recipe_is_valid_and_keeps_the_colours():
    recipe = load_recipe(FOLDER / "recipe.toml")
    assert recipe.name == "dubai-landcover"
    assert {one.id: one.color for one in recipe.classes} == prepare.COLOURS
    assert (recipe.split.method, recipe.split.folds) == ("scenes", len(recipe.scenes))
    assert recipe.reading.units == "digital numbers"
    assert recipe.model.gsd == 1.0
