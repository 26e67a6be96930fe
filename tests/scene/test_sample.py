"""Sampling: bounded, spread over the scene, repeatable, valid pixels only."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import Window
from geoseg.scene import Scene, open_scene
from geoseg.scene import sample as sampling
from geoseg.scene.sample import Sampler, _windows, has_valid_pixel, sample_scene
from tests.scene.rasters import ramp, write


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A 3000 x 2000 scene whose values tell the row; the left half is nodata."""
    values = np.repeat(np.arange(1, 3001, dtype="int16")[:, None], 2000, axis=1)[None]
    values[:, :, :1000] = -1
    path = tmp_path_factory.mktemp("sample") / "large.tif"
    return open_scene(
        write(path, values, nodata=-1, tiled=True, blockxsize=256, blockysize=256, compress="deflate")
    )


def test_a_small_scene_is_read_as_a_whole(tmp_path):
    values = np.arange(1, 1201, dtype="int16").reshape(1, 30, 40)
    sample = sample_scene(open_scene(write(tmp_path / "a.tif", values, nodata=7)), 1000)
    assert sample.is_whole
    assert sample.looked_at == 1200
    assert sorted(sample.stored[0].tolist()) == [v for v in range(1, 1201) if v != 7]


def test_a_large_scene_is_sampled_all_over(large):
    sample = sample_scene(large, 50_000)
    assert not sample.is_whole
    assert sample.looked_at == pytest.approx(50_000, rel=0.2)
    assert sample.pixels == sample.stored[0].size == sample.missing.shape[1]
    assert 0.3 < sample.pixels / sample.looked_at < 0.7
    assert sample.stored[0].min() > 0
    assert np.percentile(sample.stored[0], [5, 50, 95]) == pytest.approx([150, 1500, 2850], abs=250)


def test_a_seed_gives_the_same_pixels(large):
    first, again, other = (sample_scene(large, 20_000, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.stored[0], again.stored[0])
    assert sorted(first.stored[0].tolist()) != sorted(other.stored[0].tolist())


def test_where_nothing_is_valid_more_places_are_tried(tmp_path):
    values = np.full((1, 3000, 2000), -1, "int16")
    path = write(
        tmp_path / "a.tif", values, nodata=-1, tiled=True, blockxsize=256, blockysize=256, compress="deflate"
    )
    sample = sample_scene(open_scene(path), 20_000)
    assert sample.pixels == 0
    assert 60_000 < sample.looked_at < 120_000
    assert not sample.is_whole


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    """Four bands, nodata in different places; band 4 hardly anywhere valid."""
    values = np.random.default_rng(0).integers(1, 1000, (4, 1500, 1000)).astype("int16")
    values[0, :500] = -1
    values[1, 400:1000] = -1
    values[3, 1:] = -1
    path = tmp_path_factory.mktemp("bands") / "a.tif"
    return open_scene(
        write(path, values, nodata=-1, tiled=True, blockxsize=128, blockysize=128, compress="deflate")
    )


@pytest.mark.parametrize("rule", ["all", "any"])
@pytest.mark.parametrize("chosen", [(1,), (3, 2), (1, 2, 3), (4, 3), (4,), (2, 2)])
def test_a_shared_look_gives_what_a_look_of_its_own_would(bands, chosen, rule):
    """Whatever was asked for before, also where nothing is valid and more places are tried."""
    shared = Sampler(bands, 20_000)
    shared.sample((4,), "any")
    alone = sample_scene(bands.select(chosen, invalid_where=rule), 20_000)
    again = shared.sample(chosen, rule)
    for mine, other in zip(again.stored, alone.stored, strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(again.missing, alone.missing)
    assert (again.looked_at, again.is_whole) == (alone.looked_at, alone.is_whole)


def test_a_shared_look_reads_the_scene_once(bands, monkeypatch):
    read = []
    original = Scene.read_raw
    monkeypatch.setattr(
        Scene, "read_raw", lambda scene, window: read.append(window) or original(scene, window)
    )
    sampler = Sampler(bands, 20_000)
    sampler.sample((1, 2))
    first = len(read)
    sampler.sample((3,), "any")
    assert first == len(read) > 0


def test_four_windows_are_read_at_once(large, monkeypatch):
    together, original, seen = threading.Barrier(4), Scene.read_raw, []

    def meet(scene, window):
        seen.append(window)
        if len(seen) <= 4:
            together.wait(20)
        return original(scene, window)

    monkeypatch.setattr(Scene, "read_raw", meet)
    assert sample_scene(large, 20_000).pixels
    assert len(seen) > 4


def test_fewer_and_larger_windows_are_read_over_the_network(large, monkeypatch):
    original, seen = Scene.read_raw, []
    monkeypatch.setattr(
        Scene, "read_raw", lambda scene, window: seen.append(window) or original(scene, window)
    )
    near = sample_scene(large, 20_000)
    windows = len(seen)
    monkeypatch.setattr(sampling, "is_remote", lambda path: path == large.paths[0])
    far = sample_scene(large, 20_000)
    assert 3 * (len(seen) - windows) < windows
    assert far.looked_at == pytest.approx(near.looked_at, rel=0.2)


def test_windows_lie_inside_one_stored_block(large):
    """Each further block would be read and decoded for nothing."""
    for window in _windows(large, 64, 60, np.random.default_rng(0)):
        assert window.row // 256 == (window.row_stop - 1) // 256
        assert window.col // 256 == (window.col_stop - 1) // 256


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 5000), cols=st.integers(1, 5000), side=st.integers(1, 80), seed=st.integers(0, 9))
def test_windows_lie_inside_the_scene(large, rows, cols, side, seed):
    from dataclasses import replace

    scene = replace(large, shape=(rows, cols))
    windows = list(_windows(scene, 64, side, np.random.default_rng(seed)))
    assert 1 <= len(windows) <= 64
    for window in windows:
        assert window.intersection(Window.from_shape((rows, cols))) == window
        assert window.shape == (min(side, rows), min(side, cols))


def test_one_thread_decodes_large_blocks(tmp_path, monkeypatch):
    """Each thread that did would hold the whole block."""
    scene = open_scene(write(tmp_path / "a.tif", ramp(1, 300, 300)))
    rows, cols = scene.storage_block_shape
    monkeypatch.setattr(sampling, "_LARGE_BLOCK", rows * cols - 1)
    read, threads = Scene.read_raw, set()

    def recorded(self, window):
        threads.add(threading.get_ident())
        return read(self, window)

    monkeypatch.setattr(Scene, "read_raw", recorded)
    assert not sample_scene(scene, n_pixels=5000).is_whole
    assert len(threads) == 1


@pytest.mark.parametrize("nodata", [-1, 0, None])
def test_blocks_that_a_sparse_file_does_not_store_are_not_read(tmp_path, monkeypatch, nodata):
    path, place = tmp_path / "a.tif", rasterio.windows.Window(8704, 8704, 64, 64)
    options = {"driver": "GTiff", "dtype": "int16", "count": 1, "width": 9000, "height": 9000}
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "sparse_ok": True}
    with rasterio.open(path, "w", nodata=nodata, **options, **layout) as file:
        file.write(np.ones((1, 64, 64), "int16"), window=place)
    scene, seen = open_scene(path), []
    original = type(scene).read_raw
    monkeypatch.setattr(
        type(scene), "read_raw", lambda self, window: seen.append(window) or original(self, window)
    )
    assert has_valid_pixel(scene)
    assert [window.row for window in seen] == [0 if nodata is None else 8704]  # 0 where nothing else is said
