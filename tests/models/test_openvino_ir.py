"""Resized networks give torch's answers at their new size, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg.errors import ModelError
from geoseg.inference.backends.openvino_ import OpenVinoBackend
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.models import build_network, size_divisor
from geoseg.models.conversion import ChipShape, ConvertedNetwork, to_onnx
from geoseg.models.openvino_ir import resized
from geoseg.models.sources import ONNX, ONNX_FILE, OPENVINO

BANDS, SIDE = 3, 128
DECODER = {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}
OF_ANY_SIZE = {
    "unet": ("resnet18", DECODER),
    "unetplusplus": ("resnet18", DECODER),
    "linknet": ("resnet18", {"encoder_depth": 3}),
    "deeplabv3plus": ("resnet18", {"decoder_channels": 16}),
    "unet with squeeze and excitation": ("efficientnet-b0", DECODER),
    "unet-classic": (None, {"depth": 3, "width": 4}),
}
OF_ONE_SIZE = {
    "segformer": ("mit_b0", {}),
    "unet with a transformer": ("mit_b0", {"decoder_channels": [16] * 5}),
    "dpt": ("tu-vit_tiny_patch16_224", {}),
    "pspnet": ("resnet18", {}),
    "fpn": ("resnet18", {"decoder_segmentation_channels": 32, "decoder_pyramid_channels": 32}),
}


def build(name, encoder, options):
    torch.manual_seed(0)
    architecture = name.split(" ")[0]
    return build_network(architecture, encoder=encoder, bands=BANDS, classes=4, **options).eval()


def convert(network, side=SIDE):
    shape = ChipShape(1, BANDS, side)
    return ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: to_onnx(network, shape)})


def difference(network, converted):
    chips = np.random.default_rng(0).normal(size=converted.shape.dimensions).astype(np.float32)
    expected = TorchBackend(network, divisor=size_divisor(network), batch_size=len(chips)).probabilities(
        chips
    )
    return np.abs(OpenVinoBackend(converted).probabilities(chips) - expected).max()


@pytest.fixture(scope="module")
def classic():
    network = build("unet-classic", *OF_ANY_SIZE["unet-classic"])
    return network, convert(network)


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_a_larger_and_a_smaller_one_agree_with_torch(name):
    network = build(name, *OF_ANY_SIZE[name])
    converted = convert(network)
    for side in (64, 192):
        other = resized(converted, ChipShape(1, BANDS, side))
        assert (other.format, other.precision, other.shape.side) == (OPENVINO, "fp32", side)
        assert difference(network, other) < 1e-4


@pytest.mark.parametrize("name", OF_ONE_SIZE)
def test_what_holds_its_size_as_a_number_is_refused(name):
    converted = convert(build(name, *OF_ONE_SIZE[name]))
    with pytest.raises(ModelError, match=r"one of its layers \(\w+\) was made for them"):
        resized(converted, ChipShape(1, BANDS, 192))


def test_what_was_padded_is_refused():
    converted = convert(build("unet", *OF_ANY_SIZE["unet"]), side=100)
    with pytest.raises(ModelError, match="was made for them"):
        resized(converted, ChipShape(1, BANDS, 192))


@pytest.mark.parametrize("name", ["unet", "unet-classic"])
def test_a_side_that_does_not_suit_its_strides_is_refused(name):
    converted = convert(build(name, *OF_ANY_SIZE[name]))
    with pytest.raises(ModelError, match="100 is no multiple of its strides"):
        resized(converted, ChipShape(1, BANDS, 100))


def test_more_chips_a_forward(classic):
    network, converted = classic
    assert difference(network, resized(converted, ChipShape(3, BANDS, 64))) < 1e-4


def test_there_and_back_is_the_same_network(classic):
    _, converted = classic
    same = resized(converted, converted.shape)
    assert resized(resized(same, ChipShape(2, BANDS, 192)), converted.shape).files == same.files
