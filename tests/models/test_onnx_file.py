"""ONNX files: what they say is read without a runtime, and nothing in them may run or point elsewhere."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from geoseg.errors import ModelError, SettingsError
from geoseg.models.onnx_file import add_metadata, read_metadata


def model(nodes=None, initializers=(), domain="", functions=()):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    nodes = nodes or [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", [value], [answer], list(initializers))
    opsets = [helper.make_opsetid("", 20)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=400), max_size=4))
def test_texts_come_back_and_onnx_reads_them_too(texts):
    data = add_metadata(model().SerializeToString(), texts)
    assert read_metadata(data, "m.onnx") == texts
    loaded = onnx.load_from_string(data)
    onnx.checker.check_model(loaded)
    assert {entry.key: entry.value for entry in loaded.metadata_props} == texts


def test_weights_inside_are_fine():
    weights = numpy_helper.from_array(np.ones(1000, np.float32), "w")
    assert read_metadata(model(initializers=[weights]).SerializeToString(), "m.onnx") == {}


def external():
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def inside_a_branch():
    constant = helper.make_node("Constant", [], ["y"], value=external())
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    branch = helper.make_graph([constant], "branch", [], [answer])
    return [helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]


@pytest.mark.parametrize(
    "wrong", [{"initializers": [external()]}, {"nodes": inside_a_branch()}], ids=["initializer", "branch"]
)
def test_weights_in_other_files_are_refused(wrong):
    with pytest.raises(ModelError, match=r"m\.onnx keeps weights in another file"):
        read_metadata(model(**wrong).SerializeToString(), "m.onnx")


@pytest.mark.parametrize(
    "wrong",
    [
        {"domain": "com.evil"},
        {"nodes": [helper.make_node("Run", ["x"], ["y"], domain="com.microsoft")]},
    ],
    ids=["opset", "node"],
)
def test_operators_that_need_a_library_are_refused(wrong):
    with pytest.raises(ModelError, match=r'm\.onnx uses operators of "com\.(evil|microsoft)"'):
        read_metadata(model(**wrong).SerializeToString(), "m.onnx")


def test_graphs_for_training_are_checked_too():
    whole = model()
    whole.training_info.add().algorithm.CopyFrom(model(initializers=[external()]).graph)
    with pytest.raises(ModelError, match=r"m\.onnx keeps weights in another file"):
        read_metadata(whole.SerializeToString(), "m.onnx")


def test_a_file_without_a_graph_is_no_model():
    with pytest.raises(ModelError, match=r"not an ONNX model \(it has no graph\)"):
        read_metadata(onnx.ModelProto().SerializeToString(), "m.onnx")


@pytest.mark.parametrize(
    "call", [lambda data: read_metadata(data, "m.onnx"), lambda data: add_metadata(data, {"key": "value"})]
)
def test_without_the_package_onnx_the_command_is_named(call, monkeypatch):
    data = model().SerializeToString()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match=r'needs the package onnx; run: pip install "geoseg\[onnx\]"'):
        call(data)


def test_functions_are_refused():
    function = helper.make_function(
        "ai.onnx", "F", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [helper.make_opsetid("", 20)]
    )
    with pytest.raises(ModelError, match="functions of its own"):
        read_metadata(model(functions=[function]).SerializeToString(), "m.onnx")


@given(st.binary(max_size=300))
def test_what_is_no_onnx_is_refused_in_one_line(data):
    with pytest.raises(ModelError) as error:
        read_metadata(data, "m.onnx")
    assert "\n" not in str(error.value)


@given(st.data())
def test_a_file_that_ends_early_or_was_changed_never_breaks_the_reader(data):
    whole = add_metadata(model().SerializeToString(), {"key": "value"})
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(broken) - 1)), max_size=3)):
        if broken:
            broken[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelError):
        read_metadata(bytes(broken), "m.onnx")
