"""Alpha bands, by their values."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from geoseg.doctor.examine import examine
from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.scene.opening import open_scene
from tests.doctor.patients import PICTURE, card
from tests.scene.rasters import write

COLOURS = ("red", "green", "blue", "alpha")
WHOLE = Window(0, 0, 60, 60)


def picture(fourth, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.integers(20, 230, (3, 60, 60)), fourth[None]]).astype("uint8")


def infrared():
    """A fourth band of measurements, 0 over a lake in a corner."""
    values = np.random.default_rng(1).normal(120, 40, (60, 60)).clip(1, 255)
    values[:20, :20] = 0
    return values


def mask(soft=0):
    values = np.full((60, 60), 255)
    values[:20, :20] = 0
    values[20 : 20 + soft] = np.linspace(1, 254, soft)[:, None]
    return values


def test_infrared_marked_as_alpha_is_a_band_and_hides_nothing(tmp_path):
    scene = open_scene(write(tmp_path / "a.tif", picture(infrared()), colours=COLOURS))
    assert [band.common_name for band in scene.bands] == ["red", "green", "blue", None]
    assert scene.read(WHOLE)[1].all()
    assert (
        "band 4 is marked as alpha (transparency), but its values are those of a measurement"
        in scene.remarks[0]
    )
    found = examine(scene, card(**PICTURE | {"bands": ("red", "green", "blue")})).findings
    assert ("warn", "alpha-is-a-band") in [(each.severity, each.code) for each in found]
    assert scene.select([1, 2, 3]).read(WHOLE)[1].all()


@pytest.mark.parametrize("soft", [0, 10])
def test_a_mask_hides_pixels_as_before(tmp_path, soft):
    scene = open_scene(write(tmp_path / "a.tif", picture(mask(soft)), colours=COLOURS))
    assert len(scene.bands) == 3
    assert scene.remarks == ()
    assert np.count_nonzero(~scene.read(WHOLE)[1]) == 400


@pytest.mark.parametrize("value", [0, 128, 255])
def test_alpha_of_one_value_is_a_mask(tmp_path, value):
    scene = open_scene(write(tmp_path / "a.tif", picture(np.full((60, 60), value)), colours=COLOURS))
    assert len(scene.bands) == 3


def test_tiles_of_a_mosaic_agree(tmp_path):
    """A tile that is all lake, with infrared like a mask, beside one whose infrared cannot be one."""
    write(tmp_path / "a.tif", picture(np.zeros((60, 60))), colours=COLOURS)
    place = rasterio.Affine(30, 0, 500_000 + 60 * 30, 0, -30, 5_000_000)
    write(tmp_path / "b.tif", picture(infrared()), colours=COLOURS, transform=place)
    scene = open_scene([tmp_path / "a.tif", tmp_path / "b.tif"])
    assert len(scene.bands) == 4
    assert scene.read(Window(0, 0, 60, 120))[1].all()


def test_a_warp_would_believe_the_mark(tmp_path):
    turned = rasterio.Affine.rotation(10) @ rasterio.Affine(30, 0, 500_000, 0, -30, 5_000_000)
    write(tmp_path / "a.tif", picture(infrared()), colours=COLOURS, transform=turned)
    with pytest.raises(SceneError, match=r"gdal_edit\.py -colorinterp_4 undefined"):
        open_scene(tmp_path / "a.tif", warp=True)
