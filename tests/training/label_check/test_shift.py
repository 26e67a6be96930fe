"""The shift between labels and image: known shifts are found, and nonsense gives no estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from geoseg.grid import Window
from geoseg.labels.labels import open_labels
from geoseg.scene import open_scene
from geoseg.training.ground.labelled_scene import LabelCells
from geoseg.training.label_check import shift as module
from geoseg.training.label_check.shift import REACH, estimate_shift
from tests.conftest import SAMPLES
from tests.training.labelled_scenes import name_bands, write


@dataclass
class Moved:
    """Labels that lie some pixels further down and right than they should."""

    labels: object
    rows: int
    cols: int

    def read(self, window):
        rows, cols = self.labels.shape
        ids = np.full(window.shape, 255, np.uint8)
        source = Window(window.row - self.rows, window.col - self.cols, *window.shape)
        inside = source.intersection(Window(0, 0, rows, cols))
        if inside is not None:
            ids[inside.slices(source)] = self.labels.read(inside)
        return ids


@dataclass
class Array:
    """Labels in memory."""

    values: np.ndarray

    @property
    def shape(self):
        return self.values.shape

    def read(self, window):
        return self.values[window.slices()]


def everywhere(shape):
    """Counts that say that there are labels in every cell."""
    return LabelCells(16, np.ones((*(-(-n // 16) for n in shape), 1), np.uint32))


def estimate(scene, labels, rows=0, cols=0):
    return estimate_shift(scene, Moved(labels, rows, cols), everywhere(scene.shape))


@pytest.fixture(scope="module")
def samples():
    found = []
    for name in ("farmland", "odd", "heldout"):
        scene = open_scene(SAMPLES / f"{name}.tif")
        found.append((scene, open_labels(SAMPLES / f"{name}_labels.tif", scene)))
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2), st.integers(-7, 7), st.integers(-7, 7))
def test_every_shift_of_the_sample_tiles_is_found(samples, number, rows, cols):
    found = estimate(*samples[number], rows, cols)
    assert found.offset is not None, found.reason
    assert found.offset.rows == pytest.approx(rows, abs=0.1)
    assert found.offset.cols == pytest.approx(cols, abs=0.1)
    assert found.offset.error < 0.1
    assert found.contrast > 0.3


def test_labels_on_a_grid_of_their_own_are_found_too(samples, tmp_path):
    """A label raster that says it lies 60 m further south and 90 m further west than it does."""
    scene, labels = samples[0]
    t = scene.georeference.transform
    moved = write(
        tmp_path / "moved.tif",
        labels.read(Window.from_shape(labels.shape)),
        nodata=255,
        crs=scene.georeference.crs,
        transform=Affine(t.a, t.b, t.c - 90, t.d, t.e, t.f - 60),
    )
    found = estimate(scene, open_labels(moved, scene))
    assert (found.offset.rows, found.offset.cols) == pytest.approx((2, -3), abs=0.1)


def fields(shape, seed, side):
    """Labels in patches of random sizes about ``side``, 1 to 4."""
    rng = np.random.default_rng(seed)
    rows, cols = (
        np.searchsorted(np.cumsum(rng.integers(side // 2, side * 2, n)), np.arange(n)) for n in shape
    )
    return rng.integers(1, 5, (rows.max() + 1, cols.max() + 1))[np.ix_(rows, cols)].astype(np.uint8)


def paint(folder, labels, noise=0.02, seed=0):
    """A scene of two bands whose values follow labels."""
    rng = np.random.default_rng(seed)
    levels = np.array([[0, 0.1, 0.2, 0.3, 0.25], [0, 0.4, 0.2, 0.3, 0.05]])
    values = levels[:, labels] + rng.normal(0, noise, (2, *labels.shape))
    path = write(
        folder / f"painted{seed}.tif", (values * 10000).clip(1, 10000).astype(np.int16), nodata=-9999
    )
    name_bands(path, ("red", "nir"), 0.0001)
    return open_scene(path)


@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (1, -1), (2, 1), (-1, 3), (5, -6)])
def test_parts_of_a_pixel(tmp_path, rows, cols):
    """An image of pixels four times as large as the ground's lies quarters of a pixel beside its labels."""
    fine = fields((1240, 1240), 3, 60)
    rng = np.random.default_rng(1)
    levels = np.array([0, 0.1, 0.2, 0.3, 0.45])[fine]
    at = levels[20 - rows : 1220 - rows, 20 - cols : 1220 - cols].reshape(300, 4, 300, 4).mean(axis=(1, 3))
    values = at + rng.normal(0, 0.01, at.shape)
    scene = open_scene(write(tmp_path / "fine.tif", (values * 10000).astype(np.int16), nodata=-9999))
    # The label of a pixel is that of its centre; the mean of its two middle samples stands for it.
    labels = Array(np.ascontiguousarray(fine[22:1222:4, 22:1222:4]))
    found = estimate(scene, labels).offset
    assert found.rows == pytest.approx(-rows / 4 - 0.125, abs=0.2)
    assert found.cols == pytest.approx(-cols / 4 - 0.125, abs=0.2)


def test_labels_drawn_on_coarse_pixels(tmp_path):
    fine = fields((400, 400), 5, 40)
    coarse = np.kron(fine[1::3, 1::3], np.ones((3, 3), np.uint8))[:396, :396]
    scene = paint(tmp_path, fine[:396, :396])
    found = estimate(scene, Array(coarse), 4, -2)
    assert found.offset is not None, found.reason
    assert (found.offset.rows, found.offset.cols) == pytest.approx((4, -2), abs=1)
    assert found.offset.error > 0.2


def test_nodata_is_no_border(tmp_path):
    """Labels end where the image ends; only what both know is compared."""
    labels = fields((300, 300), 6, 40)
    scene = paint(tmp_path, labels)
    path = write(tmp_path / "holes.tif", np.zeros((2, 300, 300), np.int16), nodata=-9999)
    values, _ = scene.read(Window.from_shape(scene.shape))
    stored = np.rint(values * 10000).astype(np.int16)
    for row in range(0, 300, 60):
        stored[:, row + 30 : row + 60, 100:] = -9999
    write(path, stored, nodata=-9999)
    holes = stored[0] == -9999
    given = np.where(holes, 255, labels).astype(np.uint8)
    found = estimate(open_scene(path), Array(given), 3, 2)
    assert (found.offset.rows, found.offset.cols) == pytest.approx((3, 2), abs=0.15)


def test_a_shift_beyond_the_search_is_not_guessed(samples):
    found = estimate(*samples[0], REACH + 4, 0)
    assert found.offset is None
    assert found.reason


@pytest.mark.parametrize("seed", range(6))
def test_labels_of_another_place_give_no_estimate(tmp_path, seed):
    scene = paint(tmp_path, fields((320, 320), seed, 20), seed=seed)
    found = estimate(scene, Array(fields((320, 320), seed + 100, 20)))
    assert found.offset is None
    assert found.reason


def test_an_image_of_noise_gives_no_estimate(tmp_path):
    labels = fields((256, 256), 0, 20)
    scene = paint(tmp_path, np.ones_like(labels))
    found = estimate(scene, Array(labels))
    assert found.offset is None
    assert found.borders > 1000


@pytest.mark.parametrize(
    ("labels", "reason"),
    [(np.full((100, 100), 3, np.uint8), "no label borders"), (None, "and 200 are needed")],
)
def test_too_few_borders(tmp_path, labels, reason):
    if labels is None:
        labels = np.full((100, 100), 3, np.uint8)
        labels[40:60, 40:60] = 1
    found = estimate(paint(tmp_path, labels), Array(labels))
    assert found.offset is None
    assert reason in found.reason


def test_an_image_without_any_change_gives_no_estimate(tmp_path):
    labels = fields((200, 200), 0, 20)
    path = write(tmp_path / "flat.tif", np.full((2, 200, 200), 500, np.int16), nodata=-9999)
    found = estimate(open_scene(path), Array(labels))
    assert found.offset is None
    assert found.contrast == 0


def test_tiles_that_disagree_give_no_estimate():
    """Half the ground says one thing, half another: a mosaic of images that do not fit."""
    side = 2 * REACH + 1
    sums, counts = np.ones((20, side, side)), np.full((20, side, side), 50.0)
    sums *= 50
    sums[:10, REACH + 2, REACH] += 20
    sums[10:, REACH - 2, REACH] += 20.5
    found = module.fit_shift(sums, counts, 0)
    assert found.offset is None
    assert "different best fits" in found.reason
    agreeing = module.fit_shift(np.concatenate([sums[:10]] * 2), counts, 0)
    assert (agreeing.offset.rows, agreeing.offset.cols) == (-2, 0)
    assert agreeing.borders == 1000


def test_a_peak_that_hardly_stands_out_gives_no_estimate():
    side = 2 * REACH + 1
    sums, counts = np.full((20, side, side), 50.0), np.full((20, side, side), 50.0)
    sums[:, REACH + 2, REACH - 1] += 50 * 0.07
    found = module.fit_shift(sums, counts, 0)
    assert found.offset is None
    assert "changes no more at label borders" in found.reason
    sums[:, REACH + 2, REACH - 1] += 50 * 0.02
    clear = module.fit_shift(sums, counts, 0)
    assert (clear.offset.rows, clear.offset.cols) == (-2, 1)
    assert clear.contrast == pytest.approx(0.09)


def test_a_large_scene_is_sampled(monkeypatch, samples):
    """Windows at equal steps, never more than the most; where nothing is labelled nobody looks."""
    counts = np.zeros((400, 300, 2), np.uint32)
    counts[:, 100:] = 5
    cells = LabelCells(16, counts)
    chosen = module.border_windows(cells, (6400, 4800))
    assert len(chosen) == module.MOST_WINDOWS
    assert len(set(chosen)) == len(chosen)
    assert all(window.col_stop > 1600 for window in chosen)
    assert max(window.row for window in chosen) > 5000
    scene, labels = samples[0]
    monkeypatch.setattr(module, "WINDOW", 128)
    whole = estimate(scene, labels, 2, 1).offset
    assert (whole.rows, whole.cols) == pytest.approx((2, 1), abs=0.1)
    monkeypatch.setattr(module, "MOST_WINDOWS", 3)
    few = estimate(scene, labels, 2, 1)
    assert (few.offset.rows, few.offset.cols) == pytest.approx((2, 1), abs=0.15)


@pytest.mark.realdata
@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (3, -2), (-5, 6)])
def test_dakota_fits_and_known_shifts_of_it_are_found(real_data, monkeypatch, rows, cols):
    scene = open_scene(real_data / "dakota" / "scene.tif")
    labels = open_labels(real_data / "dakota" / "classes.tif", scene)
    monkeypatch.setattr(module, "MOST_WINDOWS", 12)
    monkeypatch.setattr(
        module,
        "border_windows",
        lambda *_: [Window(3584 + 512 * i, 768 + 256 * i, 512, 512) for i in range(4)],
    )
    found = estimate(scene, labels, rows, cols)
    assert (found.offset.rows, found.offset.cols) == pytest.approx((rows, cols), abs=0.25)


@pytest.mark.realdata
def test_aerial_labels_lie_half_a_pixel_beside_their_image(real_data):
    """Dubai: the estimates of single parts agree on it, within a pixel, and move with the labels."""
    found = []
    for number in (1, 3, 7):
        folder = real_data / "dubai" / f"tile{number}"
        scene = open_scene(folder / "part3.jpg")
        labels = open_labels(folder / "part3.png", scene)
        for rows, cols in ((0, 0), (4, -3)):
            offset = estimate(scene, labels, rows, cols).offset
            found.append((offset.rows - rows, offset.cols - cols))
    assert np.abs(found).max() < 1.2
    assert np.median(found, axis=0) == pytest.approx((0.45, 0.45), abs=0.35)
