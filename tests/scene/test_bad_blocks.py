"""Files of which some blocks cannot be read."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from geoseg.errors import DamagedFileError
from geoseg.grid import Window
from geoseg.scene.opening import SceneOptions, open_scene
from tests.scene.rasters import write

WHOLE = Window(0, 0, 192, 256)
BAD = Window(64, 128, 64, 64)


@pytest.fixture
def damaged(tmp_path):
    """Tiles of 64 x 64, of which the one in the second row and third column is overwritten."""
    values = np.random.default_rng(0).integers(1, 10_000, (2, 192, 256), "int16")
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    path = write(tmp_path / "a.tif", values, interleave="pixel", **options)
    tile = values[:, 64:128, 128:192]
    plain = write(tmp_path / "tile.tif", tile, interleave="pixel", **options)
    content, part = path.read_bytes(), plain.read_bytes()
    start = next(
        i for i in range(len(part)) if part[i : i + 2] == b"x\x9c" and content.count(part[i : i + 200]) == 1
    )
    at = content.index(part[start : start + 200])
    path.write_bytes(content[:at] + b"\xff" * 200 + content[at + 200 :])
    return path, values


def test_the_block_is_named(damaged):
    path, _ = damaged
    with pytest.raises(DamagedFileError) as caught:
        open_scene(path).read(WHOLE)
    message = str(caught.value)
    assert message.startswith(f"{path}: rows 64-127, columns 128-191 cannot be read: the file is damaged")
    assert "predict --skip-bad-blocks maps the rest" in message
    assert caught.value.exit_code == 2


def test_other_windows_are_read(damaged):
    path, values = damaged
    assert np.array_equal(open_scene(path).read_raw(Window(0, 0, 64, 256)).stored[0], values[0, :64])


def test_skipped_blocks_are_nodata_and_counted(damaged):
    path, values = damaged
    scene = pickle.loads(pickle.dumps(SceneOptions(skip_bad_blocks=True).open_all_bands(path)))
    read, valid = scene.read(WHOLE)
    assert not valid[BAD.slices(WHOLE)].any()
    assert np.count_nonzero(valid) == valid.size - BAD.pixels
    assert np.array_equal(read[:, valid], values[:, valid])
    (omission,) = scene.omissions
    assert (omission.kind, omission.count, omission.total) == ("pixels", BAD.pixels, WHOLE.pixels)
    assert "a block cannot be read, the first at rows 64-127, columns 128-191" in str(omission)
    assert not omission.is_too_large


@pytest.mark.parametrize(
    "window", [Window(0, 0, 192, 160), Window(100, 150, 20, 20), Window(60, 100, 70, 156)]
)
def test_what_is_skipped_does_not_depend_on_the_window(damaged, window):
    path, _ = damaged
    scene = SceneOptions(skip_bad_blocks=True).open_all_bands(path)
    whole, valid = scene.read(WHOLE)
    part, seen = scene.read(window)
    assert np.array_equal(part, whole[(slice(None), *window.slices(WHOLE))], equal_nan=True)
    assert np.array_equal(seen, valid[window.slices(WHOLE)])


def test_a_whole_file_loses_nothing(tmp_path):
    path = write(tmp_path / "a.tif", np.ones((2, 20, 20), "int16"))
    assert SceneOptions(skip_bad_blocks=True).open_all_bands(path) == open_scene(path)
