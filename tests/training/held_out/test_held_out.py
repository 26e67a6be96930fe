"""Maps of held-out regions of any shape, and their labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import shapely

from geoseg.grid import Window
from geoseg.inference import compute
from geoseg.inference.reading import STRIP_ROWS, BlockReaders
from geoseg.models import load_model
from geoseg.progress import Silent
from geoseg.training.ground.folds import Region
from geoseg.training.held_out.maps import HeldOutPart, map_held_out
from geoseg.training.held_out.scores import (
    RegionLabels,
    describe,
    score_fold,
    score_held_out,
    write_evaluation,
)
from geoseg.verbs.predict import predict
from tests.conftest import save_tiny
from tests.training.labelled_scenes import CLASSES, make_labelled_scene

BOX = Window(20, 30, 80, 70)
UPPER = Region(0, 0, BOX, shapely.Polygon([(30, 20), (100, 20), (30, 100)]))
LOWER = Region(0, 1, BOX, shapely.Polygon([(100, 20), (100, 100), (30, 100)]))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [save_tiny(folder / f"m{seed}", seed) for seed in (0, 1)]


def maps_of(grounds, parts, folder):
    return map_held_out(grounds, parts, folder, Silent(), device="cpu", tags={"GEOSEG_HELD_OUT": "a test"})


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_polygons_share_a_box_but_no_pixel(models, tmp_path):
    """Each pixel is mapped by its own model, as predict maps it; pixels of nobody are nodata."""
    ground = make_labelled_scene(tmp_path)
    parts = [
        HeldOutPart(load_model(path), (region,)) for path, region in zip(models, (UPPER, LOWER), strict=True)
    ]
    (found,) = maps_of([ground], parts, tmp_path / "maps")
    whole = Window.from_shape(ground.shape)
    expected = {kind: np.full(ground.shape, 255, np.uint8) for kind in ("classes", "confidence")}
    for path, region in zip(models, (UPPER, LOWER), strict=True):
        sure, classes = tmp_path / "sure.tif", tmp_path / "classes.tif"
        predict(
            tmp_path / "scene.tif",
            classes,
            model=path,
            confidence=sure,
            device="cpu",
            backend="torch",
            force=True,
            overwrite=True,
        )
        inside = region.mask(whole)
        assert 2000 < inside.sum() < 3500
        for kind, source in (("classes", classes), ("confidence", sure)):
            expected[kind][inside] = read(source)[inside]
    np.testing.assert_array_equal(read(found.classes), expected["classes"])
    np.testing.assert_array_equal(read(found.confidence), expected["confidence"])
    with rasterio.open(found.classes) as raster, rasterio.open(tmp_path / "scene.tif") as scene:
        assert (raster.crs, raster.transform) == (scene.crs, scene.transform)
        assert raster.tags()["GEOSEG_HELD_OUT"] == "a test"
    assert {path.suffix for path in (tmp_path / "maps").iterdir()} == {".tif", ".xml", ".qml"}


def test_scenes_of_one_name_get_maps_of_their_own(models, tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        make_labelled_scene(folder, (60, 70), seed)
    grounds = [make_labelled_scene(folder, (60, 70), seed) for seed, folder in enumerate(folders)]
    regions = tuple(Region(scene, 0, Window(0, 0, 60, 70)) for scene in (0, 1))
    found = maps_of(grounds, [HeldOutPart(load_model(models[0]), regions)], tmp_path / "maps")
    assert [one.scene for one in found] == [0, 1]
    assert [one.classes.name for one in found] == ["scene-1_classes.tif", "scene-2_classes.tif"]
    assert not np.array_equal(read(found[0].classes), read(found[1].classes))


def test_labels_of_regions_are_class_ids(tmp_path):
    ground = make_labelled_scene(tmp_path, rim=2)
    whole = Window.from_shape(ground.shape)
    labels = RegionLabels(ground, (UPPER,)).read(whole)
    indices, inside = ground.read_labels(whole), UPPER.mask(whole)
    assert (labels[~inside] == 255).all()
    known = inside & (indices != 255)
    np.testing.assert_array_equal(labels[known], np.array([2, 5, 7])[indices[known]])
    assert (labels[inside & ~known] == 255).all()
    assert known.any()
    away = Window(110, 0, 20, 20)
    assert (RegionLabels(ground, (UPPER,)).read(away) == 255).all()
    part = Window(40, 35, 30, 20)
    np.testing.assert_array_equal(RegionLabels(ground, (UPPER,)).read(part), labels[part.slices()])


def test_only_the_regions_are_scored_and_the_rim_is_told_of(models, tmp_path):
    ground = make_labelled_scene(tmp_path, rim=1)
    parts = [HeldOutPart(load_model(models[0]), (UPPER, LOWER))]
    maps = maps_of([ground], parts, tmp_path / "maps")
    found = score_held_out(maps, [ground], [LOWER], CLASSES, Silent())
    assert found is not None
    content, examples = found
    whole = Window.from_shape(ground.shape)
    known = LOWER.mask(whole) & (ground.read_labels(whole) != 255) & (read(maps[0].classes) != 255)
    assert content["pixels"]["compared"] == known.sum()
    assert any("within 1 of a label border are not scored" in line for line in content["warnings"])
    assert score_fold(maps, [ground], [LOWER], CLASSES, Silent())["pixels"] == known.sum()
    model = {"name": "m", "path": "m", "model": None, "model_hash": None}
    report = write_evaluation(tmp_path, describe([ground], maps, model) | content, examples, 0.0)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == json.loads(json.dumps(report))
    assert "scene 150 × 130 pixels" in (tmp_path / "evaluation.html").read_text()


def test_where_nothing_is_valid_nothing_is_scored(models, tmp_path):
    ground = make_labelled_scene(tmp_path)
    hole = Region(0, 0, Window(0, 0, 20, 20))  # a nodata corner with labels
    assert (ground.read_labels(hole.window) != 255).any()
    maps = maps_of([ground], [HeldOutPart(load_model(models[0]), (hole,))], tmp_path / "maps")
    assert score_held_out(maps, [ground], [hole], CLASSES, Silent()) is None


def test_held_out_scenes_are_read_in_whole_tiles_of_their_files(models, tmp_path, monkeypatch):
    ground = make_labelled_scene(tmp_path)
    assert ground.image.strip_rows != STRIP_ROWS  # else this shows nothing
    asked = []

    class Recording(BlockReaders):
        def __init__(self, *args, strip_rows, **more):
            asked.append(strip_rows)
            super().__init__(*args, strip_rows=strip_rows, **more)

    monkeypatch.setattr(compute, "BlockReaders", Recording)
    maps_of([ground], [HeldOutPart(load_model(models[0]), (UPPER,))], tmp_path / "maps")
    assert set(asked) == {ground.image.strip_rows}
