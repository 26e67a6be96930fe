"""Stitching: partition of unity, one answer for every cut, no chip twice, and agreement with naive code."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import Grid, Window
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.inference.compute import Ingredients
from geoseg.inference.reading import Normalisation
from geoseg.inference.sums import SUM_ONE
from tests.inference.stitched import Stitcher

STEP = 1 / 65535


@dataclass
class ArrayScene:
    """A scene in memory; remembers what was read."""

    values: np.ndarray
    valid: np.ndarray

    def read(self, window: Window):
        rows, cols = window.slices()
        return self.values[:, rows, cols].copy(), self.valid[rows, cols].copy()

    def read_rows(self, window: Window):
        values, valid = self.read(window)
        for first in range(0, window.height, 5):
            rows = slice(first, min(first + 5, window.height))
            yield rows, values[:, rows], valid[rows]


@dataclass
class FakeBackend:
    """Runs a function on one chip at a time and counts what it was given."""

    function: object
    batch_size: int = 1
    concurrency: int = 1
    name: str = "fake"
    device: str = "cpu"
    precision: str = "fp32"
    seen: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prepare_thread(self):
        pass

    def probabilities(self, chips):
        assert chips.shape[0] == self.batch_size, "the batch shape changed"
        with self.lock:
            for chip in chips:
                self.seen[chip.tobytes()] += 1
        return np.stack([self.function(chip) for chip in chips]).astype(np.float32)


def identity(chip):
    """Two classes whose probabilities are the first input band (0 to 1) and the rest."""
    return np.stack([chip[0], 1 - chip[0]])


def neighbourhood(chip):
    """Three classes that depend on a pixel's place in its chip and on its surroundings, as a network's do."""
    rows, cols = np.indices(chip.shape[1:])
    smooth = (chip[0] + np.roll(chip[0], 1, 0) + np.roll(chip[0], 1, 1)) / 3
    logits = np.stack([smooth * 4, np.sin(rows / 3.0) + chip[-1], np.cos(cols / 5.0)])
    logits = np.exp(logits)
    return logits / logits.sum(0)


def make_scene(shape, bands=2, seed=0, holes=0.0):
    rng = np.random.default_rng(seed)
    values = rng.random((bands, *shape), dtype=np.float32)
    valid = np.ones(shape, bool) if not holes else rng.random(shape) >= holes
    values[:, ~valid] = np.nan
    return ArrayScene(values, valid)


def stitch(
    scene,
    function,
    *,
    chip=16,
    overlap=4,
    block=40,
    classes=2,
    concurrency=1,
    batch=1,
    window=None,
    area=None,
):
    grid = Grid(scene.valid.shape, chip, overlap)
    bands = scene.values.shape[0]
    unit = Normalisation(np.zeros(bands, np.float32), np.ones(bands, np.float32))
    backend = FakeBackend(function, batch_size=batch)
    stitcher = Stitcher(Ingredients(scene, backend, grid, unit, classes, area))
    sums = np.zeros((classes, *grid.shape), np.int64)
    valid = np.zeros(grid.shape, bool)
    for part in stitcher.run(grid.blocks(block, window), concurrency):
        decision = part.decide(part.block.core, with_sums=True)
        assert not (decision is None and part.valid.any())
        if decision is not None:
            sums[(slice(None), *part.block.core.slices())] = decision.sums
        valid[part.block.core.slices()] = part.valid
    return sums, valid, backend, stitcher.tally


def naive(scene, function, chip, overlap, classes):
    """Whole-array stitching in floating point, the way one would write it first."""
    rows, cols = scene.valid.shape
    stride = chip - overlap
    tops = range(0, max(1, -(-(rows - overlap) // stride)) * stride, stride)
    lefts = range(0, max(1, -(-(cols - overlap) // stride)) * stride, stride)
    image = np.zeros((scene.values.shape[0], tops[-1] + chip, lefts[-1] + chip))
    image[:, :rows, :cols] = np.nan_to_num(scene.values)
    total = np.zeros((classes, *image.shape[1:]))
    ramp = np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / max(1, overlap)) ** 2

    def weight(start, starts):
        line = np.ones(chip)
        if overlap and start > 0:
            line[:overlap] *= ramp
        if overlap and start < starts[-1]:
            line[-overlap:] *= ramp[::-1]
        return line

    for top in tops:
        for left in lefts:
            at = (slice(None), slice(top, top + chip), slice(left, left + chip))
            total[at] += function(image[at].astype(np.float32)) * np.outer(
                weight(top, tops), weight(left, lefts)
            )
    return total[:, :rows, :cols]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.data())
def test_a_network_that_returns_a_band_gives_it_back(rows, cols, chip, data):
    overlap = data.draw(st.integers(0, chip // 2))
    scene = make_scene((rows, cols))
    sums, valid, _, _ = stitch(
        scene, identity, chip=chip, overlap=overlap, block=data.draw(st.integers(1, 70))
    )
    assert valid.all()
    assert np.abs(sums[0] / SUM_ONE - scene.values[0]).max() <= STEP


@pytest.mark.parametrize("constant", [0.0, 0.495, 0.123456, 1.0])
def test_a_constant_network_gives_exactly_one_value(constant):
    scene = make_scene((75, 83))
    sums, *_ = stitch(
        scene, lambda chip: np.stack([np.full(chip.shape[1:], constant), 1 - chip[0] * 0 - constant])
    )
    assert len(np.unique(sums[0])) == 1
    assert abs(sums[0, 0, 0] / SUM_ONE - constant) <= STEP


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 90),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 9),
)
def test_the_answer_does_not_depend_on_blocks_threads_or_batches(rows, cols, block, concurrency, batch, seed):
    scene = make_scene((rows, cols), seed=seed, holes=0.2)
    whole = stitch(scene, neighbourhood, classes=3, block=10_000)
    cut = stitch(scene, neighbourhood, classes=3, block=block, concurrency=concurrency, batch=batch)
    assert np.array_equal(whole[1], cut[1])
    assert np.array_equal(whole[0][:, whole[1]], cut[0][:, whole[1]])


@pytest.mark.parametrize("block", [1, 16, 30, 64, 1000])
def test_no_chip_is_computed_twice(block):
    scene = make_scene((101, 77))
    _, _, backend, tally = stitch(scene, identity, block=block)
    rows, cols = Grid((101, 77), 16, 4).counts
    assert tally.chips == rows * cols
    assert sum(backend.seen.values()) == rows * cols
    assert max(backend.seen.values()) == 1, "random chips are all different, so a repeat was computed twice"


def test_agrees_with_naive_whole_array_stitching_on_an_odd_size():
    scene = make_scene((131, 97), bands=3, seed=4)
    sums, *_ = stitch(scene, neighbourhood, chip=32, overlap=12, classes=3, block=50)
    assert np.abs(sums / SUM_ONE - naive(scene, neighbourhood, 32, 12, 3)).max() < 1e-4


def test_a_real_network_agrees_with_naive_whole_array_stitching():
    torch.manual_seed(1)
    layers = [torch.nn.Conv2d(3, 8, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 5, padding=2)]
    network = torch.nn.Sequential(*layers).eval()
    network.requires_grad_(False)
    backend = TorchBackend(network)
    scene = make_scene((131, 97), bands=3, seed=4, holes=0.1)
    grid = Grid((131, 97), 32, 12)
    unit = Normalisation(np.zeros(3, np.float32), np.ones(3, np.float32))
    sums = np.zeros((4, 131, 97))
    for part in Stitcher(Ingredients(scene, backend, grid, unit, 4)).run(grid.blocks(50), 2):
        core = part.block.core
        sums[(slice(None), *core.slices())] = part.decide(core, with_sums=True).sums

    def softmax(chip):
        return torch.softmax(network(torch.from_numpy(chip)[None]), 1)[0].numpy()

    expected = naive(scene, softmax, 32, 12, 4)
    assert np.abs(sums / SUM_ONE - expected)[:, scene.valid].max() < 1e-4
    assert expected.std() > 0.01, "a network that says the same everywhere would prove nothing"


def test_chips_without_valid_pixels_are_skipped_and_nothing_else():
    scene = make_scene((100, 100))
    scene.valid[:, 40:] = False
    scene.values[:, :, 40:] = np.nan
    sums, valid, _, tally = stitch(scene, identity)
    assert tally.chips_skipped > 0
    assert np.array_equal(valid, scene.valid)
    assert np.abs(sums[0][valid] / SUM_ONE - scene.values[0][valid]).max() <= STEP


def test_invalid_pixels_enter_the_network_as_zero():
    scene = make_scene((30, 30), holes=0.3)
    largest = []

    def check(chip):
        assert np.isfinite(chip).all()
        largest.append(np.count_nonzero(chip[0]))
        return identity(chip)

    stitch(scene, check, chip=30, overlap=0)
    assert largest == [int(scene.valid.sum())]


def test_a_window_gives_the_same_values_as_the_whole():
    scene = make_scene((120, 90), seed=2)
    whole, *_ = stitch(scene, neighbourhood, classes=3)
    window = Window(33, 21, 40, 50)

    def inside(at):
        mask = np.zeros((120, 90), bool)
        mask[window.slices()] = True
        return mask[at.slices()]

    part, valid, _, tally = stitch(scene, neighbourhood, classes=3, window=window, area=inside, block=20)
    assert valid.sum() == window.pixels
    assert np.array_equal(part[:, valid], whole[:, valid])
    assert tally.chips < Grid((120, 90), 16, 4).counts[0] * Grid((120, 90), 16, 4).counts[1]


def test_an_error_in_a_forward_reaches_the_caller():
    def fail(_):
        raise RuntimeError("device lost")

    with pytest.raises(RuntimeError, match="device lost"):
        stitch(make_scene((50, 50)), fail, concurrency=2)
