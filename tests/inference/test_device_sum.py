"""Sums on a device: the same bits as on the host, with any batch and any number of threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import WEIGHT_ONE, Grid
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.inference.backends.tta import SymmetricBackend
from geoseg.inference.compute import DEVICE_AHEAD, Ingredients, reading_ahead
from geoseg.inference.device_sum import DeviceSums
from geoseg.inference.reading import Normalisation
from geoseg.inference.sums import HostSums, begin_sums
from tests.inference.stitched import Stitcher
from tests.inference.test_stitching import FakeBackend, make_scene, neighbourhood

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


@dataclass
class OnDevice(FakeBackend):
    """Keeps its sums as if on an accelerator; torch's CPU stands in for it."""

    device: str = "accelerator"

    def begin_sums(self, grid, block, classes):
        def run(chips):
            assert chips.shape[0] == self.batch_size, "the batch shape changed"
            return torch.from_numpy(self.probabilities(chips.numpy()))

        return DeviceSums(run, "cpu", self.batch_size, grid, block, classes)


def stitched(backend, scene, grid, block_size, *, with_sums=True):
    """Winner, top and sums of a whole scene."""
    classes = 3
    ingredients = Ingredients(
        scene, backend, grid, Normalisation(np.zeros(2, np.float32), np.ones(2, np.float32)), classes
    )
    winner, top = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.int32)
    sums = np.zeros((classes, *grid.shape), np.int32)
    for done in Stitcher(ingredients).run(grid.blocks(block_size)):
        core = done.block.core
        decision = done.decide(core, with_sums=with_sums)
        if decision is not None:
            winner[core.slices()], top[core.slices()] = decision.winner, decision.top
            if with_sums:
                sums[(slice(None), *core.slices())] = decision.sums
            else:
                assert decision.sums is None
    return winner, top, sums


@settings(deadline=None, max_examples=25)
@given(
    shape=st.tuples(st.integers(5, 70), st.integers(5, 70)),
    chip=st.integers(8, 24),
    overlap=st.integers(0, 8),
    block=st.sampled_from([8, 30, 100]),
    batch=st.integers(1, 4),
    concurrency=st.integers(1, 3),
    holes=st.sampled_from([0.0, 0.9]),
)
def test_same_bits_as_on_the_host(shape, chip, overlap, block, batch, concurrency, holes):
    grid = Grid(shape, chip, min(overlap, chip // 2))
    scene = make_scene(shape, holes=holes)
    host = stitched(FakeBackend(neighbourhood, batch, concurrency), scene, grid, block)
    device = stitched(OnDevice(neighbourhood, batch, concurrency), scene, grid, block)
    for one, other in zip(host, device, strict=True):
        np.testing.assert_array_equal(one, other)


def test_sums_stay_where_they_are_unless_asked_for():
    grid, scene = Grid((40, 40), 16, 4), make_scene((40, 40))
    with_sums = stitched(OnDevice(neighbourhood), scene, grid, 30)
    without = stitched(OnDevice(neighbourhood), scene, grid, 30, with_sums=False)
    np.testing.assert_array_equal(with_sums[0], without[0])
    np.testing.assert_array_equal(with_sums[1], without[1])


def test_ties_go_to_the_lowest_class():
    grid = Grid((8, 8), 8, 0)
    block = grid.blocks(8)[0]
    total = DeviceSums(lambda chips: chips, "cpu", 1, grid, block, 3)
    sums = np.zeros((3, 8, 8), np.int32)
    sums[1:] = 7
    total.add(block.core, sums)
    decision = total.decide(block.core, np.ones((8, 8), bool), with_sums=False)
    assert (decision.winner == 1).all()
    assert (decision.top == 7).all()


def test_a_margin_is_a_copy():
    grid = Grid((8, 8), 8, 0)
    block = grid.blocks(8)[0]
    total = DeviceSums(lambda chips: chips, "cpu", 1, grid, block, 1)
    margin = total.margin(block.core)
    total.add(block.core, np.ones((1, 8, 8), np.int32))
    assert not margin.any()


def test_only_accelerators_keep_sums_on_the_device():
    grid = Grid((8, 8), 8, 0)
    block = grid.blocks(8)[0]
    assert isinstance(begin_sums(TorchBackend(torch.nn.Identity()), grid, block, 2), HostSums)
    assert isinstance(begin_sums(OnDevice(neighbourhood), grid, block, 2), DeviceSums)
    assert reading_ahead("cpu", 2)[0] == 1
    assert reading_ahead("cuda:0", 2)[0] == DEVICE_AHEAD


def test_what_computes_faster_is_read_by_more_threads():
    assert reading_ahead("cpu", 2)[1] < reading_ahead("cpu", 8)[1] == reading_ahead("cuda:0", 2)[1]


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_symmetries_on_a_device_are_those_of_the_host(tta):
    torch.manual_seed(0)
    backend = SymmetricBackend(TorchBackend(torch.nn.Conv2d(2, 3, 5, padding=2)), tta)
    grid, scene = Grid((40, 33), 16, 4), make_scene((40, 33))
    block = grid.blocks(100)[0]
    values, _ = scene.read(block.reach)
    total = backend.begin_sums(grid, block, 3)
    chips = values[None, :, :16, :16].copy()
    on_device = total._run(torch.from_numpy(chips)).numpy()
    np.testing.assert_allclose(on_device, backend.probabilities(chips), atol=1e-6)


@CUDA
def test_a_gpu_agrees_with_the_cpu_in_fp32():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(2, 16, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(16, 3, 5, padding=2)]
    network = torch.nn.Sequential(*layers)
    grid, scene = Grid((300, 260), 64, 16), make_scene((300, 260))
    on_cpu = stitched(TorchBackend(network), scene, grid, 128)
    on_gpu = stitched(TorchBackend(network, "cuda:0", batch_size=4), scene, grid, 128)
    again = stitched(TorchBackend(network, "cuda:0", batch_size=4), scene, grid, 200)
    assert (on_cpu[0] == on_gpu[0]).mean() >= 0.999
    np.testing.assert_array_equal(on_gpu[2], again[2])


def test_what_two_threads_add_to_the_same_pixels_is_all_there(monkeypatch):
    grid, readers = Grid((16, 16), 16, 4), threading.Barrier(2)
    (block,) = grid.blocks(16)
    total = DeviceSums(lambda _chips: None, "cpu", 1, grid, block, 2)

    class Meeting:
        """Sums that are read, and written only once another thread has read them too, or does not come."""

        def add_(self, weighted):
            result = total._sums + weighted
            with suppress(threading.BrokenBarrierError):
                readers.wait(1.0)
            total._sums.copy_(result)

    monkeypatch.setattr(total, "_part", lambda _window: Meeting())
    with ThreadPoolExecutor(2) as threads:
        answers = [torch.full((1, 2, 16, 16), 0.25) for _ in range(2)]
        list(threads.map(lambda answer: total.stitch(list(grid.chips(block)), answer), answers))
    assert total._sums.unique().tolist() == [2 * round(0.25 * 65535) * WEIGHT_ONE]
