"""Packages with converted networks, lone ONNX files, and networks that are built only when used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from geoseg.errors import ModelError, OutputError
from geoseg.models import load_card, load_model, open_model, save_model
from geoseg.models.conversion import CONVERTED_KEY, ChipShape
from geoseg.models.package import write_package
from geoseg.models.sources import CONVERTED_FILES
from geoseg.verbs.export import export_model
from tests.conftest import save_tiny

SHAPE = ChipShape(1, 2, 64)


@pytest.fixture(scope="module")
def exported(tiny_model, tmp_path_factory):
    """The tiny model with an ONNX network and then also OpenVINO's."""
    first = export_model(tiny_model, "onnx", tmp_path_factory.mktemp("exported") / "onnx")
    return first, export_model(first, "openvino", first.parent / "both")


@pytest.fixture
def package(exported, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(exported[1], tmp_path / "package"))


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_opening_a_package_imports_no_torch(tiny_model):
    code = (
        "import sys; from geoseg.models import open_model; model = open_model(sys.argv[1]);"
        "print([m for m in ('torch', 'segmentation_models_pytorch', 'timm', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tiny_model], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_network_is_built_once_and_only_when_used(tiny_model):
    model = open_model(tiny_model)
    assert "network" not in vars(model)
    assert model.network is model.network
    assert not model.network.training
    assert "network" in vars(load_model(tiny_model))


def test_weights_that_do_not_fit_are_found_by_load_model_and_at_first_use(tiny_model, tmp_path):
    package = Path(shutil.copytree(tiny_model, tmp_path / "package"))
    shutil.copy(save_tiny(tmp_path / "wide", network={"depth": 2, "width": 8}) / "model.safetensors", package)
    model = open_model(package)
    with pytest.raises(ModelError, match="does not match"):
        _ = model.network
    with pytest.raises(ModelError, match="does not match"):
        load_model(package)


@pytest.mark.slow
def test_a_package_keeps_what_it_had_and_describes_what_came(tiny_model, exported, validate):
    both = exported[1]
    assert sorted(path.name for path in both.iterdir()) == [
        "config.json",
        "mlm.json",
        "model.safetensors",
        "network.bin",
        "network.onnx",
        "network.xml",
    ]
    item = json.loads((both / "mlm.json").read_text())
    validate(item)
    assert {(entry["format"], entry["precision"]) for entry in item["properties"][CONVERTED_KEY]} == {
        ("onnx", "fp32"),
        ("openvino", "fp32"),
    }
    assert {name for name in item["assets"] if name.startswith("network")} == {
        "network.onnx",
        "network.xml",
        "network.bin",
    }
    assert load_card(both) == load_card(tiny_model)
    assert (both / "model.safetensors").read_bytes() == (tiny_model / "model.safetensors").read_bytes()


def test_the_hash_covers_converted_networks(tiny_model, exported):
    assert len({open_model(path).hash for path in (tiny_model, *exported)}) == 3


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_converted_network_of_the_package_is_at_hand(exported, form):
    model = open_model(exported[1])
    network = model.converted(form, "fp32", SHAPE)
    assert network.graph
    assert network is model.converted(form, "fp32", SHAPE)
    assert model.converted(form, "fp32", ChipShape(1, 2, 32)) is None
    assert model.converted(form, "int8", SHAPE) is None


@pytest.mark.parametrize("name", ["network.onnx", "network.xml", "network.bin"])
def test_a_file_that_is_not_the_promised_one_is_refused(package, name):
    (package / name).write_bytes((package / name).read_bytes() + b" ")
    form = "onnx" if name.endswith("onnx") else "openvino"
    with pytest.raises(ModelError, match=rf"{name} is not the file that mlm\.json lists"):
        open_model(package).converted(form, "fp32", SHAPE)


def test_a_missing_file_is_named(package):
    (package / "network.onnx").unlink()
    with pytest.raises(ModelError, match=r"has no network\.onnx"):
        open_model(package).converted("onnx", "fp32", SHAPE)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.update(format="tensorrt"),
        lambda entry: entry.update(shape=[1, 2, 64]),
        lambda entry: entry.update(shape=[1, 2, 64, 32]),
        lambda entry: entry.update(shape=[0, 2, 64, 64]),
        lambda entry: entry.pop("sha256"),
        lambda entry: entry.update(sha256=[]),
        lambda entry: entry.update(precision=["fp32"]),
    ],
)
def test_a_description_that_cannot_be_is_one_line(package, change):
    edit(package / "mlm.json", lambda item: change(item["properties"][CONVERTED_KEY][0]))
    with pytest.raises(ModelError, match=r"mlm\.json: `geoseg:converted`"):
        open_model(package)


def test_a_zip_holds_converted_networks_too(exported, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for path in exported[1].iterdir():
            archive.write(path, path.name)
    model = open_model(tmp_path / "model.zip")
    assert model.converted("openvino", "fp32", SHAPE).weights


def test_saving_other_weights_removes_what_was_converted_from_the_old_ones(package):
    model = load_model(package)
    save_model(package, model.card, model.network)
    assert not {name for names in CONVERTED_FILES.values() for name in names} & {
        path.name for path in package.iterdir()
    }
    assert open_model(package).listed == ()


def test_a_package_that_is_there_is_kept(tiny_model, exported):
    with pytest.raises(OutputError, match="--overwrite"):
        export_model(tiny_model, "onnx", exported[0])


def test_a_lone_onnx_file_is_a_model(tiny_model, exported, tmp_path):
    shutil.copy(exported[0] / "network.onnx", tmp_path / "fields.onnx")
    model = open_model(tmp_path / "fields.onnx")
    assert model.card == load_card(tiny_model) == load_card(tmp_path / "fields.onnx")
    own = open_model(exported[1]).converted("onnx", "fp32", SHAPE)
    assert model.converted("onnx", "fp32", SHAPE).graph == own.graph
    assert load_model(tmp_path / "fields.onnx").card == model.card
    with pytest.raises(ModelError, match=r"fields\.onnx holds no torch network"):
        _ = model.network
    model.check_chip_size(64)
    with pytest.raises(ModelError, match="takes chips of 64 pixels, not 32"):
        model.check_chip_size(32)
    with pytest.raises(ModelError, match="only a converted network"):
        write_package(model, tmp_path / "package", [])


def test_a_card_beside_an_onnx_file_counts_only_if_it_knows_the_file(exported, tiny_model, tmp_path):
    from geoseg.models.conversion import to_onnx

    bare = to_onnx(load_model(tiny_model).network, SHAPE)
    (tmp_path / "network.onnx").write_bytes(bare)
    with pytest.raises(ModelError, match="was not exported by geoseg"):
        open_model(tmp_path / "network.onnx")
    shutil.copy(exported[0] / "mlm.json", tmp_path)
    with pytest.raises(ModelError, match="was not exported by geoseg"):
        open_model(tmp_path / "network.onnx")
    import hashlib

    def adopt(item):
        item["properties"][CONVERTED_KEY][0]["sha256"] = {"network.onnx": hashlib.sha256(bare).hexdigest()}

    edit(tmp_path / "mlm.json", adopt)
    assert open_model(tmp_path / "network.onnx").card == load_card(tiny_model)


def test_a_file_of_another_program_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"other\.onnx was not exported by geoseg.*geoseg models export"):
        open_model(tmp_path / "other.onnx")
