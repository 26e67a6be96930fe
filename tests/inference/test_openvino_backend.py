"""The OpenVINO backend by itself: what it asks of OpenVINO, and of how many threads."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import openvino
import pytest
import torch

from geoseg.errors import SettingsError
from geoseg.inference.backends import openvino_ as openvino_backend
from geoseg.inference.backends.openvino_ import OpenVinoBackend
from geoseg.models.conversion import ChipShape, ConvertedNetwork, to_onnx
from geoseg.models.sources import ONNX, ONNX_FILE
from geoseg.system.cpu import cores
from tests.inference.test_backends import Network

SHAPE = ChipShape(1, 3, 16)


@pytest.fixture(scope="module")
def converted():
    torch.manual_seed(0)
    return ConvertedNetwork(ONNX, "fp32", SHAPE, {ONNX_FILE: to_onnx(Network().eval(), SHAPE)})


@pytest.mark.parametrize("concurrency", sorted({1, cores()}))
def test_every_forward_has_one_thread_that_no_core_holds(converted, concurrency):
    compiled = OpenVinoBackend(converted, concurrency=concurrency)._compiled
    assert int(str(compiled.get_property("INFERENCE_NUM_THREADS"))) == concurrency
    assert int(str(compiled.get_property("NUM_STREAMS"))) == concurrency
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize("prepared", [True, False])
def test_a_thread_makes_one_request_and_keeps_it(converted, prepared):
    backend = OpenVinoBackend(converted)
    made, compiled = [], backend._compiled

    def create():
        made.append(compiled.create_infer_request())
        return made[-1]

    object.__setattr__(backend, "_compiled", SimpleNamespace(create_infer_request=create))
    if prepared:
        backend.prepare_thread()
    for seed in range(3):
        chips = np.random.default_rng(seed).normal(size=SHAPE.dimensions).astype(np.float32)
        assert np.allclose(backend.probabilities(chips).sum(1), 1, atol=1e-5)
    assert len(made) == 1


def test_a_processor_without_bf16_says_what_to_do(converted, monkeypatch):
    class Core:
        def get_property(self, _device, _name):
            return ["FP32", "INT8"]

    found = SimpleNamespace(Core=Core, Tensor=openvino.Tensor)
    monkeypatch.setattr(openvino_backend, "import_openvino", lambda: found)
    with pytest.raises(SettingsError, match=r"--precision bf16: OpenVINO cannot .* use fp32"):
        OpenVinoBackend(converted, precision="bf16")
