"""Where a converted network comes from: made once, checked against torch, kept, and remade when damaged."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from geoseg.errors import ModelError, SettingsError
from geoseg.inference.backends import convert as conversion
from geoseg.inference.backends import openvino_
from geoseg.inference.backends.convert import check_conversion, converted_network
from geoseg.inference.backends.openvino_ import OpenVinoBackend
from geoseg.models import open_model
from geoseg.models.conversion import ChipShape, ConvertedNetwork, to_onnx
from geoseg.models.sources import ONNX, ONNX_FILE
from geoseg.system.cache import cache_folder
from tests.conftest import save_tiny
from tests.saying import Saying

SHAPE = ChipShape(1, 2, 64)
"""The model's own chips."""


@pytest.fixture(scope="module")
def exported():
    """Converts each network at each shape once for all tests: how often it is asked to, they see by themselves."""
    made = {}

    def export(network, shape):
        weights = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
        if (weights, shape) not in made:
            made[weights, shape] = to_onnx(network, shape)
        return made[weights, shape]

    return export


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch, exported):
    monkeypatch.setattr(conversion, "to_onnx", exported)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))


def find(model, said, backend="openvino", precision="fp32", shape=SHAPE):
    progress = Saying()
    progress.lines = said
    return converted_network(model, backend, precision, shape, progress)


def test_it_is_converted_once_and_that_is_said(tiny_model):
    said = []
    first = find(open_model(tiny_model), said)
    assert len(said) == 1
    assert said[0].startswith("converting the network for OpenVINO, once ")
    model = open_model(tiny_model)
    again = find(model, said)
    assert len(said) == 1
    assert again == first
    assert "network" not in vars(model), "a kept network needs no torch"


def test_bf16_runs_the_fp32_network(tiny_model):
    said = []
    model = open_model(tiny_model)
    assert find(model, said, precision="bf16") is find(model, said, precision="fp32")
    assert len(said) == 1


def test_other_backends_and_other_weights_are_converted_apart(tiny_model, tmp_path):
    said = []
    find(open_model(tiny_model), said)
    find(open_model(tiny_model), said, backend="onnx")
    find(open_model(tiny_model), said, backend="onnx", shape=ChipShape(2, 2, 32))
    find(open_model(save_tiny(tmp_path / "other", seed=1)), said)
    assert len(said) == 4
    assert len(list(cache_folder().iterdir())) == 4


def test_openvinos_is_converted_once_for_chips_of_all_sizes(tiny_model):
    said = []
    for shape in (ChipShape(2, 2, 32), ChipShape(1, 2, 96), SHAPE):
        model = open_model(tiny_model)
        found = find(model, said, shape=shape)
        assert found.shape == shape
        assert find(model, said, shape=shape, precision="bf16") is found
        check_conversion(model, "openvino", found)
    assert len(said) == 1
    assert len(list(cache_folder().iterdir())) == 1


def test_chips_that_it_cannot_be_resized_to_are_converted_apart_and_kept(tiny_model):
    said = []
    for _ in range(2):
        model = open_model(tiny_model)
        check_conversion(model, "openvino", find(model, said, shape=ChipShape(1, 2, 50)))
    assert len(said) == 2  # the model's own, then these: both once
    assert len(list(cache_folder().iterdir())) == 2


def test_another_version_of_the_runtime_converts_again(tiny_model, monkeypatch):
    said = []
    find(open_model(tiny_model), said)
    monkeypatch.setattr(conversion, "_version", lambda name: f"{name} 99")
    find(open_model(tiny_model), said)
    assert len(said) == 2


def test_a_damaged_entry_is_made_again(tiny_model):
    said = []
    first = find(open_model(tiny_model), said)
    (entry,) = cache_folder().iterdir()
    entry.write_bytes(entry.read_bytes()[:-10])
    assert find(open_model(tiny_model), said) == first
    assert len(said) == 2
    find(open_model(tiny_model), said)
    assert len(said) == 2


def test_a_conversion_that_gives_other_answers_is_refused_and_not_kept(tiny_model, tmp_path, monkeypatch):
    other = open_model(save_tiny(tmp_path / "other", seed=1))
    monkeypatch.setattr(conversion, "to_onnx", lambda _network, shape: to_onnx(other.network, shape))
    with pytest.raises(ModelError, match=r"OpenVINO gives other answers than torch .* use --backend torch"):
        find(open_model(tiny_model), [])
    assert not cache_folder().exists()


def test_a_network_that_is_not_a_number_is_refused(tiny_model, monkeypatch):
    model = open_model(tiny_model)
    broken = SimpleNamespace(probabilities=lambda _chips: np.full((1, 3, 64, 64), np.nan))
    monkeypatch.setattr(openvino_, "KIND", replace(openvino_.KIND, make=lambda *_: broken))
    with pytest.raises(ModelError, match="other answers"):
        check_conversion(model, "openvino", ConvertedNetwork(ONNX, "fp32", SHAPE, {}))


def test_converting_twice_gives_the_same_bytes_and_names_no_path(tiny_model):
    network = open_model(tiny_model).network
    first = to_onnx(network, SHAPE)
    assert first == to_onnx(network, SHAPE)
    assert b".py" not in first
    assert b"geoseg/" not in first


def test_what_cannot_be_exported_is_one_line():
    import torch

    class Branching(torch.nn.Module):
        size_divisor = 1

        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ModelError, match="torch cannot convert this network") as error:
        to_onnx(Branching().eval(), SHAPE)
    assert "\n" not in str(error.value)


def test_without_the_converter_it_says_what_to_install(tiny_model, monkeypatch):
    monkeypatch.setattr(conversion, "can_convert", lambda: False)
    with pytest.raises(SettingsError, match=r'onnx and onnxscript; run: pip install "geoseg\[onnx\]"'):
        find(open_model(tiny_model), [], backend="onnx")


def test_a_package_without_int8_says_how_to_make_one(tiny_model):
    with pytest.raises(SettingsError, match=r"tiny has no quantized network.*geoseg models quantize"):
        find(open_model(tiny_model), [], precision="int8")


def test_a_model_takes_its_network_to_another_process(tiny_model, tmp_path):
    model = open_model(tiny_model)
    find(model, [])
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    code = """
import pickle, sys, pathlib
sys.modules["torch"] = None
from geoseg.inference.backends.convert import converted_network
from geoseg.models.conversion import ChipShape
model = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
print(len(converted_network(model, "openvino", "fp32", ChipShape(1, 2, 64), None).graph))
"""
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "empty"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "model.pickle"],
        capture_output=True,
        text=True,
        check=False,
        env=elsewhere,
        cwd=tmp_path.parents[0],
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(find(model, []).graph)


def test_a_network_for_other_chips_than_promised_is_refused(tiny_model):
    graph = to_onnx(open_model(tiny_model).network, SHAPE)
    wrong = ConvertedNetwork(ONNX, "fp32", ChipShape(1, 2, 32), {ONNX_FILE: graph})
    with pytest.raises(ModelError, match="takes chips of"):
        OpenVinoBackend(wrong)
