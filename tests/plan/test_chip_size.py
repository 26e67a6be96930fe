"""The side of chips: the model's, what is asked for, or what computes least; the same wherever it is chosen."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

import geoseg
from geoseg.errors import SettingsError
from geoseg.grid import Grid
from geoseg.models import open_model
from geoseg.plan import plan as plans
from geoseg.plan import settings as chip_size
from geoseg.plan.measure import usual_cost
from geoseg.plan.settings import least_computed, resolve_chip_size
from tests.conftest import make_scene

SHAPES = st.tuples(st.integers(1, 40_000), st.integers(1, 40_000))


def computed(shape, side, overlap):
    rows, cols = Grid(shape, side, overlap).counts
    return rows * cols * side**2


@given(SHAPES, st.sampled_from([128, 500, 512, 1024, 2048]), st.sampled_from([0, 32, 64]), st.integers(0, 5))
def test_nothing_that_is_allowed_computes_less(shape, own, overlap, depth):
    stride = 2**depth
    side = least_computed(shape, own, overlap, stride)
    least = computed(shape, side, overlap)
    assert least <= computed(shape, own, overlap)
    if side != own:
        assert own < side <= 1536
        assert side % stride == 0
        assert np.prod(Grid(shape, side, overlap).counts) >= 32
    for other in range(-(-own // 8) * 8, 1537, 8):
        if other % stride == 0 and np.prod(Grid(shape, other, overlap).counts) >= 32:
            assert (least, side) <= (computed(shape, other, overlap), other) or side == own


def test_large_scenes_compute_less_and_small_ones_as_before():
    assert least_computed((8192, 8192), 512, 64, 8) == 1424
    assert computed((8192, 8192), 1424, 64) / 8192**2 == pytest.approx(1.088, abs=1e-3)
    assert least_computed((300, 360), 512, 64, 8) == 512
    assert least_computed((8192, 8192), 512, 64, None) == 512


def test_a_chip_size_is_the_models_unless_one_is_asked_for(tiny_model):
    model = open_model(tiny_model)
    assert resolve_chip_size(None, model, None, None) == model.card.chip_size
    assert resolve_chip_size(48, model, None, None) == 48
    with pytest.raises(SettingsError, match="--chip-size large: give a number of pixels or auto"):
        resolve_chip_size("large", model, None, (100, 100))
    with pytest.raises(SettingsError, match=r"--chip-size auto: give a number of pixels$"):
        resolve_chip_size("auto", model, None, None)


def test_auto_is_the_same_for_a_part_of_the_scene_and_for_any_memory(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(chip_size, "_FEWEST_CHIPS", 4)
    monkeypatch.setattr(plans, "measured_cost", lambda model, settings, *_, **__: usual_cost(model, settings))
    scene = make_scene(tmp_path / "scene.tif")
    options = {"model": tiny_model, "force": True, "chip_size": "auto", "backend": "torch"}
    whole = geoseg.predict(scene, tmp_path / "whole.tif", **options)
    with rasterio.open(scene) as raster:
        left, top = raster.transform.c, raster.transform.f
    corner = tmp_path / "corner.geojson"
    corner.write_text(
        '{"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [['
        f"[{left}, {top}], [{left + 400}, {top}], [{left + 400}, {top - 600}], [{left}, {top - 600}], "
        f"[{left}, {top}]]]}}, "
        '"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32614"}}}'
    )
    part = geoseg.predict(scene, tmp_path / "part.tif", aoi=corner, max_memory="6GB", **options)
    model = open_model(tiny_model)
    chosen = least_computed((150, 130), model.card.chip_size, model.card.overlap, model.stride)
    assert chosen != model.card.chip_size
    assert {result.report["settings"]["chip_size"] for result in (whole, part)} == {chosen}
    with rasterio.open(tmp_path / "whole.tif") as all_of_it, rasterio.open(tmp_path / "part.tif") as some:
        assert np.array_equal(all_of_it.read(1)[: some.height, : some.width], some.read(1))


def test_a_size_that_was_chosen_is_like_one_that_is_asked_for(tiny_model, scene, tmp_path, monkeypatch):
    monkeypatch.setattr(chip_size, "_FEWEST_CHIPS", 4)
    options = {"model": tiny_model, "force": True}
    chosen = geoseg.predict(scene, tmp_path / "map.tif", chip_size="auto", **options)
    side = chosen.report["settings"]["chip_size"]
    geoseg.predict(scene, tmp_path / "asked.tif", chip_size=side, **options)
    assert (tmp_path / "map.tif").read_bytes() == (tmp_path / "asked.tif").read_bytes()
