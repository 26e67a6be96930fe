"""Dynamic World's network: equal to its description, its reach, its sizes."""

from __future__ import annotations

import pytest
import torch

from geoseg.errors import ModelError
from geoseg.models import build_network, size_divisor


def network(width=8, **options):
    torch.manual_seed(0)
    return build_network("dynamic-world", bands=9, classes=9, width=width, **options).eval()


def test_the_full_size_is_the_published_one():
    with torch.device("meta"):
        full = build_network("dynamic-world", bands=9, classes=9)
    values = sum(each.numel() for each in full.state_dict().values() if each.ndim)
    assert values == 231_209
    listed = build_network("dynamic-world", bands=9, classes=9, width=[16, 24, 36, 12]).state_dict()
    shapes = {name: value.shape for name, value in network(16).state_dict().items()}
    assert {name: value.shape for name, value in listed.items()} == shapes


def test_it_sees_22_pixels_far():
    chip = torch.zeros(1, 9, 96, 96, requires_grad=True)
    network()(chip)[0, :, 48, 48].sum().backward()
    rows = chip.grad[0].abs().sum(dim=(0, 2)).nonzero()
    columns = chip.grad[0].abs().sum(dim=(0, 1)).nonzero()
    for seen in (rows, columns):
        assert int(seen.min()) >= 48 - 22
        assert int(seen.max()) <= 48 + 22
        assert int(seen.max()) - int(seen.min()) >= 40


@pytest.mark.parametrize("offset", [(0, 64), (32, 10), (64, 2)])
def test_a_tile_with_a_margin_of_32_gives_the_bits_of_the_whole(offset):
    """At even offsets, so that pixels are halved in the same pairs."""
    row, column = offset
    run = network(16)
    values = torch.rand(1, 9, 192, 192)
    with torch.inference_mode():
        whole = run(values)
        tile = run(values[..., row : row + 128, column : column + 128])
    inside = whole[..., row + 32 : row + 96, column + 32 : column + 96]
    assert torch.equal(tile[..., 32:96, 32:96], inside)


def test_sizes_are_even():
    assert size_divisor(network()) == 2
    with torch.inference_mode():
        assert network()(torch.zeros(2, 9, 18, 34)).shape == (2, 9, 18, 34)


def test_it_learns():
    run = network()
    run.train()
    optimiser = torch.optim.Adam(run.parameters(), 0.02)
    values = torch.randn(2, 9, 16, 16)
    labels = (values[:, 0] > 0).long()
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(run(values), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("width", [0, 6, True, [8, 12, 18], [8, 12, 18, 0], "8"])
def test_a_wrong_width_is_named(width):
    with pytest.raises(ModelError, match="`width`"):
        network(width)
