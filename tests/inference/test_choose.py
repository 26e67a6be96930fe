"""The rule that chooses a backend, what does not go together, and what is said where something is missing."""

from __future__ import annotations

import platform

import pytest

from geoseg.errors import ModelError, SettingsError
from geoseg.inference.backends import choose, device
from geoseg.inference.backends.choose import convert_or_torch, resolve_backend
from geoseg.models import open_model
from geoseg.models.conversion import ChipShape
from tests.saying import Saying


@pytest.fixture
def machine(monkeypatch):
    """A machine with an x86-64 processor that has bf16; say which packages it has."""

    def install(*packages, bf16=True, kind="x86_64", cuda=False):
        has = {name: name in packages for name in ("openvino", "onnxruntime", "onnx", "onnxscript")}
        find = lambda name: object() if has.get(name, True) else None  # noqa: E731
        monkeypatch.setattr(choose, "find_spec", find)
        monkeypatch.setattr(choose, "can_convert", lambda: has["onnx"] and has["onnxscript"])
        monkeypatch.setattr(platform, "machine", lambda: kind)
        monkeypatch.setattr(
            device, "_cpu_flags", lambda: frozenset({"avx2", *(["avx512_bf16"] if bf16 else [])})
        )
        monkeypatch.setattr(
            choose, "resolve_device", lambda name: "cuda:0" if cuda and name != "cpu" else "cpu"
        )
        monkeypatch.setattr(device, "has_bf16", lambda _device: bf16)

    return install


EVERYTHING = ("openvino", "onnxruntime", "onnx", "onnxscript")


@pytest.mark.parametrize(
    ("packages", "more", "asked", "chosen"),
    [
        (EVERYTHING, {}, ("auto", "auto", "auto"), ("openvino", "cpu", "bf16")),
        (EVERYTHING, {"bf16": False}, ("auto", "auto", "auto"), ("openvino", "cpu", "fp32")),
        (EVERYTHING, {}, ("auto", "cpu", "fp32"), ("openvino", "cpu", "fp32")),
        (EVERYTHING, {}, ("auto", "auto", "int8"), ("openvino", "cpu", "int8")),
        (EVERYTHING, {"kind": "arm64"}, ("auto", "auto", "auto"), ("torch", "cpu", "bf16")),
        (EVERYTHING, {"cuda": True}, ("auto", "auto", "auto"), ("torch", "cuda:0", "bf16")),
        (EVERYTHING, {"cuda": True}, ("openvino", "auto", "auto"), ("openvino", "cpu", "bf16")),
        (EVERYTHING, {"cuda": True}, ("auto", "auto", "int8"), ("openvino", "cpu", "int8")),
        (EVERYTHING, {}, ("onnx", "auto", "auto"), ("onnx", "cpu", "fp32")),
        (EVERYTHING, {}, ("torch", "auto", "auto"), ("torch", "cpu", "bf16")),
        (("onnxruntime", "onnx", "onnxscript"), {}, ("auto", "auto", "auto"), ("torch", "cpu", "bf16")),
        (("openvino",), {}, ("auto", "auto", "auto"), ("torch", "cpu", "bf16")),
        ((), {}, ("auto", "auto", "auto"), ("torch", "cpu", "bf16")),
    ],
)
def test_the_rule(machine, packages, more, asked, chosen):
    machine(*packages, **more)
    assert resolve_backend(*asked) == chosen


@pytest.mark.parametrize(
    ("packages", "chosen"),
    [(EVERYTHING, "openvino"), (("openvino",), "openvino"), (("onnxruntime",), "onnx")],
)
def test_a_lone_onnx_file_runs_on_what_is_there(machine, packages, chosen):
    machine(*packages)
    assert resolve_backend("auto", "auto", "auto", has_torch=False)[0] == chosen


@pytest.mark.parametrize(
    ("packages", "asked", "message"),
    [
        (
            (),
            ("openvino", "auto", "auto"),
            r'needs the package openvino; run: pip install "geoseg\[openvino\]"',
        ),
        ((), ("onnx", "auto", "auto"), r'needs the package onnxruntime; run: pip install "geoseg\[onnx\]"'),
        ((), ("auto", "auto", "int8"), r'pip install "geoseg\[openvino\]"'),
        (EVERYTHING, ("tensorrt", "auto", "auto"), "use one of auto, torch, openvino, onnx"),
        (EVERYTHING, ("onnx", "auto", "bf16"), "computes in fp32, not in bf16"),
        (EVERYTHING, ("torch", "auto", "int8"), "int8 needs --backend openvino, not torch"),
        (EVERYTHING, ("onnx", "auto", "int8"), "int8 needs --backend openvino, not onnx"),
        (EVERYTHING, ("openvino", "auto", "fp16"), "fp16 needs a GPU"),
        (EVERYTHING, ("openvino", "auto", "fp8"), "--precision fp8: use one of"),
    ],
)
def test_what_cannot_be_is_one_clear_line(machine, packages, asked, message):
    machine(*packages)
    with pytest.raises(SettingsError, match=message):
        resolve_backend(*asked)


def test_a_converted_network_does_not_run_on_a_gpu(machine):
    machine(*EVERYTHING, cuda=True)
    with pytest.raises(SettingsError, match="--backend openvino runs on a CPU, not on cuda:0"):
        resolve_backend("openvino", "cuda", "auto")


def refuse(*_arguments):
    raise ModelError("it cannot be converted")


def test_torch_runs_what_cannot_be_converted_only_where_the_rule_chose(tiny_model, monkeypatch):
    monkeypatch.setattr(choose, "converted_network", refuse)
    model, said = open_model(tiny_model), Saying()
    arguments = (model, "openvino", "fp32", ChipShape(1, 2, 64), said)
    assert convert_or_torch(*arguments, chosen=True) == "torch"
    assert said.lines == ["warning: it cannot be converted; torch runs it"]
    with pytest.raises(ModelError, match="cannot be converted"):
        convert_or_torch(*arguments, chosen=False)
