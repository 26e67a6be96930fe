"""What several tests of running need."""

from __future__ import annotations

import pytest

from geoseg.execute.local import LocalExecutor
from geoseg.models import sources
from geoseg.scene import open_scene
from tests.assess import maps
from tests.conftest import make_scene
from tests.doctor.bundles import CROPS, PICTURES, put_card
from tests.doctor.patients import BANDS
from tests.execute.cut_runs import CutError, predict
from tests.scene.rasters import write as write_scene
from tests.training.labelled_scenes import make_files
from tests.training.training_runs import RECIPE


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe beside a small scene and its labels."""
    make_files(tmp_path)

    def write_recipe(text=RECIPE, name="crops.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write_recipe


@pytest.fixture
def scene_of(tmp_path):
    """Writes values as a scene for the doctor, and opens it."""

    def make(values, *, name="a.tif", opening=None, **options):
        options = {"descriptions": BANDS[: len(values)]} | options
        return open_scene(write_scene(tmp_path / name, values, **options), **(opening or {}))

    return make


@pytest.fixture
def rasters(tmp_path):
    """A folder with a class map, the labels to compare it with, and its confidence."""
    labels, mapped, confidence = maps.random_pair(0, (200, 240))
    maps.write(tmp_path / "map.tif", mapped, names=maps.NAMES)
    maps.write(tmp_path / "labels.tif", labels)
    maps.write(tmp_path / "conf.tif", confidence)
    return tmp_path


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A folder of bundled models without any."""
    monkeypatch.setattr(sources, "BUNDLED", tmp_path / "bundled")
    (tmp_path / "bundled").mkdir()
    return tmp_path / "bundled"


@pytest.fixture
def both(empty):
    """Cards of both models; no weights lie anywhere."""
    put_card(empty, CROPS)
    put_card(empty, PICTURES)
    return empty


@pytest.fixture
def cut(monkeypatch):
    """Make runs fail after so many blocks."""

    def after(blocks, error=CutError):
        finish = LocalExecutor.finish

        def short(executor):
            for number, block in enumerate(finish(executor)):
                if number == blocks:
                    raise error
                yield block

        monkeypatch.setattr(LocalExecutor, "finish", short)

    yield after
    monkeypatch.undo()


@pytest.fixture(scope="session")
def whole(tmp_path_factory, tiny_model):
    """A scene and what an uninterrupted run makes of it."""
    folder = tmp_path_factory.mktemp("whole")
    scene = make_scene(folder / "scene.tif")
    return scene, predict(scene, tiny_model, folder / "out", block_size=100)
