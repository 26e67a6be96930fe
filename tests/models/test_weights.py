from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from geoseg.errors import ModelError
from geoseg.models import build_network
from geoseg.models.weights import dump_weights, load_weights


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network("unet-classic", bands=2, classes=3, depth=1, width=4)


def test_weights_come_back_exactly(network):
    other = build_network("unet-classic", bands=2, classes=3, depth=1, width=4)
    load_weights(other, dump_weights(network), "w")
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_the_same_network_gives_the_same_bytes(network):
    assert dump_weights(network) == dump_weights(network)
    assert dump_weights(network, "fp16") == dump_weights(network, "fp16")


def test_half_precision_is_for_matrices_that_fit(network):
    with torch.no_grad():
        network.down[0][0].weight[0] = 1e6  # beyond fp16
        network.down[0][1].running_var.fill_(1e6)
    stored = load(dump_weights(network, "fp16"))
    assert stored["down.0.0.weight"].dtype == torch.float32
    assert stored["down.0.3.weight"].dtype == torch.float16
    assert stored["down.0.1.running_var"].dtype == torch.float32
    assert stored["down.0.1.running_mean"].dtype == torch.float32  # vectors stay exact
    assert stored["head.bias"].dtype == torch.float32
    assert stored["down.0.1.num_batches_tracked"].dtype == torch.int64
    load_weights(network, dump_weights(network, "fp16"), "w")
    assert network.down[0][1].running_var.max() == 1e6


def test_saving_leaves_the_network_alone(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    dump_weights(network, "fp16")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.down[0][0].weight.dtype == torch.float32


def change(network, edit):
    tensors = load(dump_weights(network))
    edit(tensors)
    return save(tensors)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop("head.bias"), 'tensor "head.bias" is missing'),
        (lambda t: t.update(extra=torch.zeros(1)), 'tensor "extra" is not part of the network'),
        (
            lambda t: t.update({"head.weight": torch.zeros(5, 4, 1, 1)}),
            'tensor "head.weight" has shape [5, 4, 1, 1] instead of [3, 4, 1, 1]',
        ),
        (lambda t: [t.pop(name) for name in list(t)[:4]], "(and 2 more)"),
        (
            lambda t: t.update(bias=t.pop("head.bias")),
            'tensor "head.bias" is missing, tensor "bias" is not part of the network',
        ),
        (lambda t: t["head.bias"].fill_(float("nan")), 'tensor "head.bias" holds values that are not finite'),
    ],
)
def test_the_tensor_that_does_not_match_is_named(network, edit, words):
    with pytest.raises(ModelError) as caught:
        load_weights(network, change(network, edit), "folder/model.safetensors")
    assert words in str(caught.value)
    assert str(caught.value).startswith("folder/model.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "damaged"),
        (b"not a safetensors file at all", "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    ],
)
def test_files_that_are_no_weights(network, data, words):
    with pytest.raises(ModelError, match=words):
        load_weights(network, data, "w")


def test_truncated_weights(network):
    with pytest.raises(ModelError, match="damaged"):
        load_weights(network, dump_weights(network)[:-10], "w")


def test_an_infinite_weight_is_not_saved(network):
    with torch.no_grad():
        network.head.bias[0] = float("inf")
    with pytest.raises(ModelError, match=r"head\.bias"):
        dump_weights(network)


def test_unknown_precision(network):
    with pytest.raises(ModelError, match="fp32 or fp16"):
        dump_weights(network, "int8")
