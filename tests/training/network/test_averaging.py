"""Averaged weights against averages by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from geoseg.training.network.averaging import AveragedWeights


def network(value):
    layer = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1))
    put(layer, value)
    return layer


def put(layer, value):
    with torch.no_grad():
        layer[0].weight.fill_(value)
        layer[1].running_mean.fill_(10 * value)
        layer[1].num_batches_tracked.fill_(int(value))


def test_ema_by_hand():
    layer = network(1.0)
    averaged = AveragedWeights(layer, "ema", 0.9)
    expected = 1.0
    for n in range(1, 120):
        put(layer, float(n % 7))
        averaged.update(layer, n / 119)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * (n % 7)
    assert averaged.state["0.weight"].item() == pytest.approx(expected, rel=1e-5)
    assert averaged.state["1.running_mean"].item() == pytest.approx(10 * expected, rel=1e-5)
    assert averaged.state["1.num_batches_tracked"].item() == 119 % 7


def test_swa_is_the_mean_of_the_last_quarter():
    layer = network(0.0)
    averaged = AveragedWeights(layer, "swa", 0.9)
    for n in range(1, 101):
        put(layer, float(n))
        averaged.update(layer, n / 100)
        if n < 75:
            assert averaged.state["0.weight"].item() == n
    assert averaged.state["0.weight"].item() == pytest.approx(sum(range(75, 101)) / 26)


def test_applying_is_undone():
    layer = network(1.0)
    averaged = AveragedWeights(layer, "ema", 0.5)
    put(layer, 5.0)
    with averaged.applied(layer):
        assert layer[0].weight.item() == 1.0
        assert layer[1].running_mean.item() == 10.0
    assert layer[0].weight.item() == 5.0
    assert layer[1].running_mean.item() == 50.0
    assert averaged.state["0.weight"].item() == 1.0


def test_averages_continue_from_a_checkpoint():
    first, second = (AveragedWeights(network(1.0), "ema", 0.9) for _ in range(2))
    layer = network(4.0)
    for _ in range(5):
        first.update(layer, 0.5)
    second.load_state_dict(first.state_dict())
    first.update(network(2.0), 0.5)
    second.update(network(2.0), 0.5)
    assert first.state["0.weight"].item() == second.state["0.weight"].item()
