"""ONNX files of Deepness and GeoDeep: the same classes as theirs, and ours in their form."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from geoseg.errors import ModelError
from geoseg.inference.backends import backend_kind
from geoseg.inference.backends.convert import OneInference
from geoseg.models.conversion import ChipShape
from geoseg.models.model import Model
from geoseg.models.onnx_graph import take_chips, take_values
from geoseg.models.package import load_card, open_model
from geoseg.models.transforms import parse_transforms, transform
from geoseg.verbs.export import export_model
from geoseg.verbs.import_model import import_model
from tests.models.foreign import SIDE, TEXTS, foreign_onnx, tool_classes

ONE_CLASS = {"model_type": '"Segmentor"', "class_names": '[{"0": "roof"}]'}


def pixels(seed=1, side=SIDE):
    return np.random.default_rng(seed).integers(0, 256, (3, side, side), dtype=np.uint8)


def probabilities(model: Model, values, backend="onnx"):
    """What geoseg's backend says of stored values."""
    card, side = model.card, values.shape[-1]
    chip = (values - card.means[:, None, None]) / card.stds[:, None, None]
    network = model.converted("onnx", "fp32", ChipShape(1, len(card.bands), side))
    return backend_kind(backend).make(network, OneInference(1, side)).probabilities(chip[None])[0]


@pytest.mark.parametrize("opset", [9, 12, 17, 20])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("last", ["Softmax", "Sigmoid", "Identity"])
def test_the_class_is_that_of_the_tools(tmp_path, last, threshold, opset):
    texts = TEXTS | {"seg_thresh": str(threshold)}
    path = foreign_onnx(tmp_path / "net.onnx", texts=texts, last=last, opset=opset)
    found = probabilities(open_model(path), pixels())
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    assert found.min() >= 0
    expected = tool_classes(path, pixels(), threshold)
    assert len(np.unique(expected)) > 1
    assert np.array_equal(found.argmax(0), expected)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("last", ["Sigmoid", "Identity"])
def test_one_class_and_its_background(tmp_path, last, threshold, flat):
    texts = ONE_CLASS | {"seg_thresh": str(threshold)}
    path = foreign_onnx(tmp_path / "net.onnx", texts=texts, channels=1, last=last, flat=flat)
    model = open_model(path)
    assert [(one.id, one.name) for one in model.card.classes] == [(0, "background"), (1, "roof")]
    found = probabilities(model, pixels())
    assert np.array_equal(found.argmax(0), tool_classes(path, pixels(), threshold))
    assert np.allclose(found.sum(0), 1, atol=1e-6)


def test_probabilities_stay_as_they_are_where_the_threshold_changes_nothing(tmp_path):
    path = foreign_onnx(tmp_path / "net.onnx", texts=ONE_CLASS, channels=1, last="Sigmoid")
    found = probabilities(open_model(path), pixels())
    import onnxruntime

    chip = np.float32(pixels() / 255)[None]
    answer = onnxruntime.InferenceSession(path).run(None, {"image": chip})[0][0, 0]
    assert np.allclose(found[1], answer, atol=1e-4)


def test_openvino_says_the_same(tmp_path):
    pytest.importorskip("openvino")
    model = open_model(foreign_onnx(tmp_path / "net.onnx"))
    both = [probabilities(model, pixels(), backend) for backend in ("onnx", "openvino")]
    assert np.allclose(*both, atol=1e-5)


def test_the_card_is_what_the_metadata_say(tmp_path):
    card = load_card(foreign_onnx(tmp_path / "roads.onnx"))
    assert (card.name, card.gsd, card.chip_size, card.overlap) == ("roads", 0.4, SIDE, 4)
    assert card.band_names == ("red", "green", "blue")
    assert card.means == pytest.approx([102, 127.5, 153])
    assert card.stds == pytest.approx([25.5, 51, 76.5])
    assert [one.name for one in card.classes] == ["ground", "road", "roof"]
    assert card.units == "digital numbers"
    assert (card.bands[0].low, card.bands[0].high) == (0, 255)


def test_old_files_with_names_in_python_and_chips_of_any_size(tmp_path):
    texts = {"names": "{0: 'a', 1: 'b', 2: 'c'}", "tile_size": "32"}
    path = foreign_onnx(tmp_path / "net.onnx", texts=texts, side=None, ir_version=3, opset=8, last="Sigmoid")
    model = open_model(path)
    assert model.card.chip_size == 32
    assert [one.name for one in model.card.classes] == ["a", "b", "c"]
    found = probabilities(model, pixels(side=32))
    assert np.array_equal(found.argmax(0), tool_classes(path, pixels(side=32)))


@pytest.mark.parametrize(
    ("texts", "options", "says"),
    [
        ({"model_type": '"Detector"'}, {}, 'finds objects (model_type "Detector")'),
        ({"model_type": '"Regressor"'}, {}, 'gives quantities (model_type "Regressor")'),
        ({"model_type": '"Superresolution"'}, {}, "makes finer pictures"),
        ({"names": "{0: 'car'}", "task": "detect"}, {}, 'is a model for "detect"'),
        ({}, {"heads": 2}, "gives 2 maps"),
        ({}, {"channels": 256}, "tells 256 classes apart, and geoseg at most 255"),
        ({}, {"output_side": 12, "last": "pool"}, "gives maps of 12 x 12 pixels for chips of 16 x 16"),
        ({}, {"element": TensorProto.FLOAT16}, "takes no 32-bit floats"),
        ({"class_names": '{"0": "a", "1": "b"}'}, {}, "name 2 classes, and its network tells 3 apart"),
        ({"class_names": '["a", "b", "c"]'}, {}, "no names by number"),
        ({"seg_thresh": "1"}, {}, "every pixel has the same class"),
        ({"seg_thresh": '"high"'}, {}, "its seg_thresh is"),
        ({"resolution": "0"}, {}, "its resolution is 0"),
        ({"standardization_std": "[0, 1, 1]"}, {}, "std 0"),
        ({"standardization_mean": "[0.5]"}, {}, "its standardization_mean is [0.5]; it must hold 3 numbers"),
    ],
)
def test_what_makes_no_map_or_is_wrong_is_refused_in_one_line(tmp_path, texts, options, says):
    path = tmp_path / "net.onnx"
    if options.get("last") == "pool":
        foreign_onnx(path, last="Sigmoid")
        model = onnx.load(path)
        pool = onnx.helper.make_node("AveragePool", ["chips"], ["map"], kernel_shape=[5, 5])
        model.graph.node[-1].CopyFrom(pool)
        for number in (2, 3):
            model.graph.output[0].type.tensor_type.shape.dim[number].dim_value = 12
        onnx.save(model, path)
    else:
        foreign_onnx(path, texts=TEXTS | texts, **options)
    with pytest.raises(ModelError) as caught:
        open_model(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_never_breaks_the_reader(tmp_path, data):
    path = tmp_path / "net.onnx"
    if not path.exists():
        foreign_onnx(path)
    whole = path.read_bytes()
    broken = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        broken[at] = data.draw(st.integers(0, 255))
    (tmp_path / "broken.onnx").write_bytes(broken)
    with contextlib.suppress(ModelError):
        open_model(tmp_path / "broken.onnx")


@pytest.mark.parametrize("inputs", [[], ["map"]], ids=["nothing", "itself"])
def test_a_map_that_is_made_of_nothing_or_of_itself(tmp_path, inputs):
    path = foreign_onnx(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node[-1].CopyFrom(onnx.helper.make_node("Identity", inputs, ["map"]))
    onnx.save(model, path)
    with contextlib.suppress(ModelError):
        open_model(path)


def test_a_file_without_metadata_is_described_by_the_user(tmp_path):
    path = foreign_onnx(tmp_path / "net.onnx", texts={})
    with pytest.raises(ModelError, match=r"geoseg models import .*net\.onnx"):
        open_model(path)
    with pytest.raises(ModelError, match="--bands"):
        import_model(path, tmp_path / "made")
    said = {"bands": ["red", "green", "blue"], "classes": ["a", "b", "c"], "mean": [0], "std": [255]}
    model = open_model(import_model(path, tmp_path / "made", **said))
    found = probabilities(model, pixels())
    assert np.array_equal(found.argmax(0), tool_classes(path, pixels(), threshold=0))


def test_an_imported_package_holds_no_torch_network_and_its_file_is_a_model_too(tmp_path):
    path = foreign_onnx(tmp_path / "net.onnx")
    folder = import_model(path, tmp_path / "made", license="MIT", name="roads")
    assert sorted(file.name for file in folder.iterdir()) == ["mlm.json", "network.onnx"]
    expected = tool_classes(path, pixels())
    for ref in (folder, folder / "network.onnx"):
        model = open_model(ref)
        assert (model.card.name, model.card.license) == ("roads", "MIT")
        assert np.array_equal(probabilities(model, pixels()).argmax(0), expected)
    with pytest.raises(ModelError, match="holds its whole network"):
        import_model(path, tmp_path / "other", encoder="resnet18")
    with pytest.raises(ModelError, match="exported by geoseg"):
        import_model(folder / "network.onnx", tmp_path / "other")


def test_scale_normalisation_and_transforms_go_into_an_exported_graph(tmp_path):
    import onnxruntime

    path = foreign_onnx(tmp_path / "net.onnx", texts={})
    said = {"bands": ["a", "b", "c"], "classes": ["x", "y", "z"], "mean": [0.1, 0.2, 0.3], "std": [2.0]}
    plain = open_model(import_model(path, tmp_path / "made", **said, scale=1e-4, offset=-0.1))
    chains = ["log=50,sigmoid", "power=2,scale=-3", "offset=0.2"]
    bands = [
        replace(band, transforms=parse_transforms(text))
        for band, text in zip(plain.card.bands, chains, strict=True)
    ]
    stored = np.random.default_rng(4).integers(0, 10_000, (3, SIDE, SIDE)).astype(np.int16)
    stored[:, 0, 0] = -32768  # beyond the least argument of the logarithm
    for card in (plain.card, replace(plain.card, bands=bands)):
        values = stored * np.float32(card.value_scale) + np.float32(card.value_offset)
        transform(values, card.transforms)
        normal = (values - card.means[:, None, None]) / card.stds[:, None, None]
        own = plain.converted("onnx", "fp32", ChipShape(1, 3, SIDE))
        session = onnxruntime.InferenceSession(take_values(own.graph, card))
        (found,) = session.run(None, {"values": np.float32(stored / 255)[None]})
        expected = backend_kind("onnx").make(own, OneInference(1, SIDE)).probabilities(normal[None])
        assert np.allclose(found, expected, atol=2e-4)


@pytest.fixture(scope="module")
def exported(tiny_model, tmp_path_factory):
    return export_model(tiny_model, "onnx", tmp_path_factory.mktemp("exported") / "onnx")


def test_an_exported_file_runs_as_the_tools_run_it(exported, tiny_model):
    """One input: stored values divided by 255; with what they need to know in its metadata."""
    import onnxruntime

    card = load_card(tiny_model)
    session = onnxruntime.InferenceSession(exported / "network.onnx")
    (given,) = session.get_inputs()
    assert given.shape == [1, len(card.bands), card.chip_size, card.chip_size]
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["model_type"]) == "Segmentor"
    assert json.loads(texts["class_names"]) == {str(i): one.name for i, one in enumerate(card.classes)}
    assert json.loads(texts["resolution"]) == pytest.approx(100 * card.gsd, abs=0.01)
    assert float(texts["seg_thresh"]) == 0
    assert not {"standardization_mean", "standardization_std"} & set(texts)
    random = np.random.default_rng(2)
    normal = random.normal(size=given.shape).astype(np.float32)
    physical = normal * card.stds[:, None, None] + card.means[:, None, None]
    stored = (physical - card.value_offset) / card.value_scale
    (answer,) = session.run(None, {given.name: np.float32(stored * (1 / 255))})
    own = backend_kind("torch").make(open_model(tiny_model).network, OneInference(1, card.chip_size))
    assert (answer.argmax(1) == own.probabilities(normal).argmax(1)).mean() > 0.999


def test_geoseg_runs_its_own_network_in_such_a_file(exported):
    data = (exported / "network.onnx").read_bytes()
    own = take_chips(data, "network.onnx")
    assert [value.name for value in onnx.load_from_string(own).graph.input] == ["chips", "temperature"]
    onnx.checker.check_model(onnx.load_from_string(data))
    onnx.checker.check_model(onnx.load_from_string(own))
    assert take_chips(own, "network.onnx") == own
