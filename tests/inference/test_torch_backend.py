"""The torch backend: shapes, padding, upsampling, calibration, and the same bits from every thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from geoseg.errors import SettingsError
from geoseg.inference.backends.device import resolve_device, resolve_precision
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.inference.reading import Normalisation


def chips(n=1, bands=3, size=48, seed=0):
    return np.random.default_rng(seed).normal(size=(n, bands, size, size)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 3, padding=1)
    )


class Divisible(nn.Module):
    """Refuses sides that are no multiple of 32, and gives its input back at a quarter of the size."""

    def forward(self, x):
        assert x.shape[-1] % 32 == x.shape[-2] % 32 == 0
        return nn.functional.avg_pool2d(x, 4)


def test_probabilities_are_probabilities(network):
    result = TorchBackend(network).probabilities(chips(2))
    assert result.shape == (2, 4, 48, 48)
    assert result.dtype == np.float32
    assert np.allclose(result.sum(1), 1, atol=1e-6)


def test_chips_are_padded_to_the_divisor_and_small_outputs_upsampled():
    backend = TorchBackend(Divisible(), divisor=32)
    result = backend.probabilities(chips(size=50))
    assert result.shape == (1, 3, 50, 50)
    flat = np.ones((1, 3, 50, 50), np.float32) * np.array([1, 2, 3], np.float32)[:, None, None]
    inner = backend.probabilities(flat)[0, :, :40, :40]
    expected = np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum()
    assert np.allclose(inner, expected[:, None, None], atol=1e-6)


def test_the_temperature_divides_the_logits(network):
    sharp, soft = (TorchBackend(network, temperature=t).probabilities(chips()) for t in (1.0, 4.0))
    logits = np.log(sharp) / 4
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(soft, expected, atol=1e-6)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_thread_and_repeat_gives_the_same_bits(network, precision):
    backend = TorchBackend(network, precision=precision)
    batch = chips(size=96)
    with ThreadPoolExecutor(3, initializer=backend.prepare_thread) as pool:
        results = list(pool.map(backend.probabilities, [batch] * 9))
    assert all(np.array_equal(results[0], other) for other in results)


@pytest.fixture
def two_threads():
    """Torch computes on two threads by default, as it does outside tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_forward_computes_on_one_thread_and_leaves_the_caller_alone(network):
    seen = []

    class Counting(nn.Module):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return network(x)

    backend = TorchBackend(Counting())
    with ThreadPoolExecutor(2, initializer=backend.prepare_thread) as pool:
        list(pool.map(backend.probabilities, [chips()] * 4))
    assert seen == [1] * 4
    assert torch.get_num_threads() == 2


def test_a_place_in_the_batch_does_not_matter(network):
    backend = TorchBackend(network, batch_size=4)
    one = chips(4)
    with ThreadPoolExecutor(1, initializer=backend.prepare_thread) as pool:
        forward, backward = pool.map(backend.probabilities, [one, one[::-1].copy()])
    assert np.array_equal(forward, backward[::-1])


def test_auto_chooses_what_is_there():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in {"cpu", "mps", "cuda:0"}
    assert resolve_precision("auto", "cpu") in {"bf16", "fp32"}
    for device in ("cuda:77", "tpu", "cuda:x"):
        with pytest.raises(SettingsError, match="--device"):
            resolve_device(device)
    with pytest.raises(SettingsError, match="GPU"):
        resolve_precision("fp16", "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_agrees_with_the_cpu(network):
    batch = chips(8, size=128)
    cpu = TorchBackend(network, batch_size=8).probabilities(batch)
    gpu = TorchBackend(network, device="cuda:0", batch_size=8).probabilities(batch)
    assert np.mean(cpu.argmax(1) == gpu.argmax(1)) >= 0.999


def test_normalisation_is_the_packages_and_never_lets_nodata_in():
    values = np.array([[[0.3, np.nan]], [[0.5, 0.7]]], np.float32)
    unit = Normalisation(np.array([0.1, 0.5], np.float32), np.array([0.2, 0.1], np.float32))
    result = unit.apply(values, np.array([[True, True]]))
    assert np.allclose(result, [[[1, 0]], [[0, 2]]], atol=1e-6)
    assert np.all(unit.apply(np.ones((2, 1, 2), np.float32), np.array([[True, False]]))[:, :, 1] == 0)
