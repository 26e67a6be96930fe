from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import make
import numpy as np
import pytest
import rasterio

HERE = Path(make.__file__).parent


@pytest.mark.parametrize("recipe", make.SAMPLES, ids=lambda recipe: recipe.name)
def test_committed_files_are_what_the_script_makes(recipe):
    values, classes = make.part(recipe, 0, 0, *recipe.shape)
    with rasterio.open(HERE / f"{recipe.name}.tif") as scene:
        np.testing.assert_array_equal(scene.read(), values)
        assert scene.descriptions == recipe.bands
        assert scene.scales == (0.0001,) * 6
        assert scene.nodata == -9999
        assert scene.crs.to_epsg() == 32614
        assert scene.res == (30, 30)
        assert scene.tags()["SYNTHETIC"] == "yes"
        assert scene.tags()["ACQUISITION_DATE"] == "2015-09-02"
        assert "SYNTHETIC" in scene.tags()["TIFFTAG_IMAGEDESCRIPTION"]
        grid = (scene.transform, scene.shape, scene.crs)
    with rasterio.open(HERE / f"{recipe.name}_labels.tif") as labels:
        np.testing.assert_array_equal(labels.read(1), classes)
        assert labels.nodata == 0
        assert labels.colormap(1)[1] == (255, 211, 0, 255)
        assert (labels.transform, labels.shape, labels.crs) == grid


def test_every_sample_holds_every_class():
    for recipe in make.SAMPLES:
        classes = make.part(recipe, 0, 0, *recipe.shape)[1]
        assert set(np.unique(classes)) - {0} == set(range(1, 10)), recipe.name


def test_committed_files_are_small():
    total = sum(path.stat().st_size for path in HERE.iterdir() if path.is_file())
    assert total < 950_000


def test_the_corner_without_data_is_slanted_and_without_labels():
    recipe = make.SAMPLES[0]
    values, classes = make.part(recipe, 0, 0, *recipe.shape)
    gone = (values == -9999).all(axis=0)
    assert np.array_equal(gone, (values == -9999).any(axis=0))
    assert np.array_equal(gone, classes == 0)
    assert gone[0, 0]
    widths = gone.sum(axis=1)
    assert widths[0] == 90
    assert (np.diff(widths) <= 0).all()
    assert len(np.unique(widths)) > 50
    assert abs(gone.mean() - 1 / 24) < 0.002


@pytest.mark.parametrize(("dtype", "bands"), [("int16", make.BANDS), ("uint16", ("nir", "red", "green"))])
def test_a_streamed_scene_equals_one_made_at_once(tmp_path, dtype, bands):
    recipe = make.Recipe("s", 5, (-40, 77), (150, 201), dtype, bands, corner=True, compress="zstd", block=64)
    assert len(list(make.blocks(recipe))) == 12
    scene_path, label_path = make.write(recipe, tmp_path)
    values, classes = make.part(recipe, 0, 0, *recipe.shape)
    with rasterio.open(scene_path) as scene, rasterio.open(label_path) as labels:
        assert scene.dtypes == (dtype,) * len(bands)
        assert scene.descriptions == bands
        np.testing.assert_array_equal(scene.read(), values)
        np.testing.assert_array_equal(labels.read(1), classes)
        np.testing.assert_array_equal(scene.dataset_mask() > 0, classes > 0)
        assert (labels.bounds, labels.shape) == (scene.bounds, scene.shape)


def test_bands_are_the_named_ones():
    recipe = make.Recipe("s", 5, (0, 0), (40, 50))
    whole = make.part(recipe, 0, 0, 40, 50)[0]
    some = make.part(replace(recipe, bands=("swir22", "blue")), 0, 0, 40, 50)[0]
    np.testing.assert_array_equal(some, whole[[5, 0]])


def test_the_command_writes_a_scene_and_prints_its_paths(tmp_path):
    command = [
        sys.executable,
        str(HERE / "make.py"),
        "--size",
        "33",
        "70",
        "--out",
        str(tmp_path),
        "--seed",
        "9",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "scene.tif"), str(tmp_path / "scene_labels.tif")]
    with rasterio.open(tmp_path / "scene.tif") as scene:
        assert scene.shape == (33, 70)
        assert scene.tags()["MADE_WITH"] == "seed 9, origin 0 0"


@pytest.mark.parametrize("wrong", [["--size", "0", "5"], ["--size", "5", "5", "--bands", "red,pink"]])
def test_a_wrong_command_line_is_refused(tmp_path, wrong):
    with pytest.raises(SystemExit) as stop:
        make.main([*wrong, "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert not list(tmp_path.iterdir())
