"""The U-Net of the paper: its layers counted, its field of view and its shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from geoseg.errors import ModelError
from geoseg.models import build_network


def paper_parameters(bands, classes, depth, width):
    """Weights and biases, counted from figure 1 of the paper."""

    def conv(inputs, outputs, kernel):
        return outputs * (inputs * kernel**2 + 1)

    widths = [width * 2**level for level in range(depth + 1)]
    down = sum(
        conv(inputs, outputs, 3) + conv(outputs, outputs, 3)
        for inputs, outputs in zip([bands, *widths], widths, strict=False)
    )
    up = sum(conv(2 * w, w, 2) + conv(2 * w, w, 3) + conv(w, w, 3) for w in widths[:-1])
    return down + up + conv(width, classes, 1)


@pytest.mark.parametrize(("bands", "classes", "depth", "width"), [(1, 2, 4, 64), (6, 9, 3, 8), (3, 2, 1, 5)])
def test_parameters_are_those_of_the_paper(bands, classes, depth, width):
    with torch.device("meta"):
        network = build_network(
            "unet-classic", bands=bands, classes=classes, depth=depth, width=width, norm="none"
        )
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == paper_parameters(bands, classes, depth, width)


def test_its_layers_are_those_of_the_paper():
    network = build_network("unet-classic", bands=2, classes=3, depth=4, width=4)
    kinds = [module for module in network.modules() if not list(module.children())]
    convolutions = [module for module in kinds if isinstance(module, nn.Conv2d)]
    assert [module.kernel_size for module in convolutions].count((3, 3)) == 2 * (4 + 1 + 4)
    assert [module.kernel_size for module in convolutions].count((1, 1)) == 1
    ups = [module for module in kinds if isinstance(module, nn.ConvTranspose2d)]
    assert [(module.kernel_size, module.stride) for module in ups] == [((2, 2), (2, 2))] * 4
    assert [module.in_channels for module in ups] == [64, 32, 16, 8]
    assert [module.out_channels for module in ups] == [32, 16, 8, 4]
    assert sum(isinstance(module, nn.BatchNorm2d) for module in kinds) == 2 * (4 + 1 + 4)


def test_each_level_can_have_channels_of_its_own():
    network = build_network("unet-classic", bands=2, classes=3, depth=2, width=[3, 10, 12])
    first = [block[0] for block in network.down]
    assert [(module.in_channels, module.out_channels) for module in first] == [(2, 3), (3, 10), (10, 12)]
    assert [(module.in_channels, module.out_channels) for module in network.up] == [(12, 10), (10, 3)]
    assert network.head.in_channels == 3
    same = build_network("unet-classic", bands=2, classes=3, depth=2, width=[4, 8, 16])
    doubled = build_network("unet-classic", bands=2, classes=3, depth=2, width=4)
    shapes = [tuple(parameter.shape) for parameter in doubled.parameters()]
    assert [tuple(parameter.shape) for parameter in same.parameters()] == shapes


def test_skips_are_concatenated():
    """With the transposed convolutions silenced, the first level still reaches the logits."""
    torch.manual_seed(0)
    network = build_network("unet-classic", bands=1, classes=2, depth=2, width=4).eval()
    with torch.inference_mode():
        for up in network.up:
            up.weight.zero_()
            up.bias.zero_()
        one, other = network(torch.zeros(1, 1, 16, 16)), network(torch.randn(1, 1, 16, 16))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("shape", [(16, 16), (32, 48)])
def test_logits_are_as_large_as_the_chip(shape):
    network = build_network("unet-classic", bands=5, classes=7, depth=4, width=2).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 5, *shape)).shape == (2, 7, *shape)


def test_it_learns():
    """A few steps tell dark from bright."""
    torch.manual_seed(0)
    network = build_network("unet-classic", bands=1, classes=2, depth=2, width=4)
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    values = torch.randn(4, 1, 16, 16)
    labels = (values[:, 0] > 0).long()
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(network(values), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 0},
        {"width": 0},
        {"width": 2.5},
        {"width": [4, 8]},
        {"width": [4, 8, 16, 32, True]},
        {"norm": "layer"},
        {"depth": True},
    ],
)
def test_wrong_options_are_named(options):
    with pytest.raises(ModelError, match=f"`{next(iter(options))}`"):
        build_network("unet-classic", bands=1, classes=2, **options)
