"""Resized networks give torch's answers at their new size, or are refused."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.errors import ModelError
from geoseg.inference.backends.openvino_ import OpenVinoBackend
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.models import size_divisor
from geoseg.models.conversion import ChipShape, ConvertedNetwork, to_onnx
from geoseg.models.openvino_ir import resized
from geoseg.models.sources import ONNX, ONNX_FILE, OPENVINO
from tests.models.exported import BANDS, OF_ANY_SIZE, OF_ONE_SIZE, exported


def difference(network, converted):
    chips = np.random.default_rng(0).normal(size=converted.shape.dimensions).astype(np.float32)
    expected = TorchBackend(network, divisor=size_divisor(network), batch_size=len(chips)).probabilities(
        chips
    )
    return np.abs(OpenVinoBackend(converted).probabilities(chips) - expected).max()


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_a_larger_and_a_smaller_one_agree_with_torch(name):
    network, converted = exported(name)
    for side in (64, 192):
        other = resized(converted, ChipShape(1, BANDS, side))
        assert (other.format, other.precision, other.shape.side) == (OPENVINO, "fp32", side)
        assert difference(network, other) < 1e-4


@pytest.mark.longer
@pytest.mark.parametrize("name", OF_ONE_SIZE)
def test_what_holds_its_size_as_a_number_is_refused(name):
    _, converted = exported(name)
    with pytest.raises(ModelError, match=r"one of its layers \(\w+\) was made for them"):
        resized(converted, ChipShape(1, BANDS, 192))


def test_what_was_padded_is_refused():
    network, _ = exported("unet")
    shape = ChipShape(1, BANDS, 100)
    padded = ConvertedNetwork(ONNX, "fp32", shape, {ONNX_FILE: to_onnx(network, shape)})
    assert difference(network, padded) < 1e-4
    with pytest.raises(ModelError, match="was made for them"):
        resized(padded, ChipShape(1, BANDS, 192))


@pytest.mark.parametrize("name", ["unet", "unet-classic"])
def test_a_side_that_does_not_suit_its_strides_is_refused(name):
    _, converted = exported(name)
    with pytest.raises(ModelError, match="100 is no multiple of its strides"):
        resized(converted, ChipShape(1, BANDS, 100))


def test_more_chips_a_forward():
    network, converted = exported("unet-classic")
    assert difference(network, resized(converted, ChipShape(3, BANDS, 64))) < 1e-4


def test_there_and_back_is_the_same_network():
    _, converted = exported("unet-classic")
    same = resized(converted, converted.shape)
    assert resized(resized(same, ChipShape(2, BANDS, 192)), converted.shape).files == same.files
