"""What many tests of ``predict`` compare with."""

from __future__ import annotations

import pytest

from tests.conftest import make_scene
from tests.verbs.predictions import run


@pytest.fixture(scope="session")
def reference(tmp_path_factory, tiny_model):
    """The tiny model's run on the small scene with every output, in a folder that tests only read."""
    folder = tmp_path_factory.mktemp("reference")
    return run(make_scene(folder / "scene.tif"), tiny_model, folder / "out")
