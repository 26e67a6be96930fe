"""Packages as a whole: what is promised is what is loaded, and the hash says whether answers can differ."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.errors import ModelError
from geoseg.models import LandClass, ModelBand, build_network, load_card, load_model, save_model
from tests.conftest import save_tiny, tiny_card


@pytest.fixture
def package(tiny_model, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "package"))


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_model_says_what_its_card_says(tiny_model):
    model = load_model(tiny_model)
    assert model.card == tiny_card() == load_card(tiny_model)
    assert model.path == str(tiny_model)
    assert len(bytes.fromhex(model.hash)) == 32


def test_a_model_can_be_sent_to_another_process(tiny_model):
    model = load_model(tiny_model)
    other = pickle.loads(pickle.dumps(model))
    assert (other.card, other.hash, other.path) == (model.card, model.hash, model.path)
    values = torch.randn(1, 2, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.network(values), other.network(values))


def test_names_may_be_in_any_script(tmp_path):
    classes = tuple(
        replace(land_class, name=f"кукуруза 🌽 {land_class.id}") for land_class in tiny_card().classes
    )
    folder = save_tiny(tmp_path / "model", classes=classes, trust="só aqui")
    assert load_model(folder).card == tiny_card(classes=classes, trust="só aqui")


def test_the_package_is_three_files(tiny_model):
    assert sorted(path.name for path in tiny_model.iterdir()) == [
        "config.json",
        "mlm.json",
        "model.safetensors",
    ]


def test_the_written_item_is_valid(tiny_model, stac_validator):
    import pystac

    item = pystac.Item.from_file(str(tiny_model / "mlm.json"))
    assert len(item.validate(stac_validator)) == 5
    parameters = sum(value.numel() for value in load_model(tiny_model).network.parameters())
    assert item.properties["mlm:total_parameters"] == parameters
    assert {name: Path(asset.href).name for name, asset in item.assets.items()} == {
        "model": "model.safetensors",
        "config": "config.json",
    }


def test_loading_leaves_random_numbers_alone(tiny_model):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_model(tiny_model)
    assert torch.equal(torch.rand(4), expected)


def test_saving_again_replaces_everything(tmp_path):
    folder = save_tiny(tmp_path / "model", seed=0)
    first = load_model(folder)
    save_tiny(folder, seed=1, name="second model")
    second = load_model(folder)
    assert second.card.name == "second model"
    assert second.hash != first.hash
    assert len(list(folder.iterdir())) == 3


CHANGES = {
    "mean": {"bands": (ModelBand("red", 0.25, 0.1, 0, 0.5), ModelBand("nir", 0.2, 0.1, 0, 0.5))},
    "band": {"bands": (ModelBand("red", 0.2, 0.1, 0, 0.5), ModelBand("nir08", 0.2, 0.1, 0, 0.5))},
    "class": {
        "classes": (
            LandClass(2, "corn", "#ffd300"),
            LandClass(5, "grass", "#e8ffbf"),
            LandClass(8, "water", "#4b70a3"),
        )
    },
    "chip_size": {"chip_size": 128},
    "overlap": {"overlap": 8},
    "nodata rule": {"invalid_where": "any"},
    "temperature": {"temperatures": {"none": 1.5}},
    "architecture": {"network": {"depth": 1, "width": 4}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_hash_tells_models_apart_whose_answers_can_differ(tiny_model, tmp_path, name):
    assert load_model(save_tiny(tmp_path / "model", **CHANGES[name])).hash != load_model(tiny_model).hash


def test_the_hash_tells_weights_apart(tiny_model, tmp_path):
    assert load_model(save_tiny(tmp_path / "model", seed=1)).hash != load_model(tiny_model).hash


def test_the_hash_ignores_what_changes_no_answer(tiny_model, package):
    texts = {
        "name": "other",
        "version": "2",
        "summary": "s",
        "trust": "t",
        "metrics": {"miou": 0.5},
        "gsd": 30.0,
    }
    network = load_model(tiny_model).network
    save_model(package, replace(tiny_card(), **texts), network)
    edit(package / "config.json", lambda _: None)  # other white space
    model = load_model(package)
    assert model.card.name == "other"
    assert model.hash == load_model(tiny_model).hash


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("config.json", lambda c: c.pop("_model_class"), "`_model_class` is None"),
        ("config.json", lambda c: c.update(_model_class="Exec"), "`_model_class` is 'Exec'"),
        ("config.json", lambda c: c.update(in_channels=3), "`in_channels` 3, but the model card says 2"),
        ("config.json", lambda c: c.update(classes=4), "`classes` 4, but the model card says 3"),
        ("config.json", lambda c: c.update(depth=3), "`depth` 3, but the model card says 2"),
        ("config.json", lambda c: c.update(checkpoint_path="x.pth"), 'no option "checkpoint_path"'),
        ("config.json", lambda c: c.update(activation="softmax"), "`activation` is 'softmax'"),
        (
            "mlm.json",
            lambda m: m["properties"].pop("geoseg:overlap"),
            "`properties.geoseg:overlap` is missing",
        ),
        ("mlm.json", lambda m: m["properties"].update({"mlm:architecture": "unet"}), "`architecture`"),
        ("mlm.json", lambda m: m["properties"].update({"geoseg:encoder": "resnet18"}), "`encoder_name`"),
    ],
)
def test_files_that_contradict_each_other_name_the_key(package, file, change, words):
    edit(package / file, change)
    with pytest.raises(ModelError) as caught:
        load_model(package)
    assert words in str(caught.value)
    assert str(package) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network(package, tmp_path):
    other = save_tiny(tmp_path / "other", network={"depth": 2, "width": 6})
    shutil.copy(other / "model.safetensors", package)
    with pytest.raises(ModelError, match=r'model\.safetensors does not match config\.json: tensor "down'):
        load_model(package)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"a": NaN', "[" * 100_000, "\xff"])
@pytest.mark.parametrize("file", ["config.json", "mlm.json"])
def test_files_that_are_no_json(package, file, text):
    (package / file).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=f"{file} is not"):
        load_model(package)


def test_config_of_a_stranger_reads_nothing_else(tmp_path, monkeypatch):
    """Neither pretrained weights nor files beside the package, whatever config.json asks for."""
    import timm

    encoder = "tu-resnet10t"
    card = tiny_card(architecture="unet", encoder=encoder, network={})
    folder = save_model(
        tmp_path / "m", card, build_network("unet", encoder=encoder, bands=2, classes=3).eval()
    )
    seen = []
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: seen.append(k) or create(*a, **k))
    edit(folder / "config.json", lambda config: config.update(encoder_weights="imagenet"))
    load_model(folder)
    assert seen
    assert not any(options.get("pretrained") for options in seen)
    for key in ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        edit(folder / "config.json", lambda config, key=key: config.update({key: "x"}))
        with pytest.raises(ModelError, match=f'no option "{key}"'):
            load_model(folder)
        edit(folder / "config.json", lambda config, key=key: config.pop(key))


def test_a_card_that_does_not_describe_the_network_is_not_saved(tmp_path):
    network = build_network("unet-classic", bands=2, classes=3, depth=2, width=4)
    for change in ({"classes": tiny_card().classes[:2]}, {"network": {"depth": 3}}, {"encoder": "resnet18"}):
        with pytest.raises(ModelError, match="must agree"):
            save_model(tmp_path / "model", tiny_card(**change), network)
    assert not (tmp_path / "model").exists()


def test_a_network_of_another_kind_is_not_saved(tmp_path):
    with pytest.raises(ModelError, match="type Linear cannot be packaged"):
        save_model(tmp_path, tiny_card(), torch.nn.Linear(1, 1))


def test_reading_a_card_imports_nothing_heavy(tiny_model):
    code = (
        "import sys; from geoseg.models import bundled_models, describe, load_card;"
        f"bundled_models(); describe(load_card({str(tiny_model)!r}));"
        "print([m for m in ('torch', 'segmentation_models_pytorch', 'timm', 'pystac', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_models_twice_gives_the_same_names():
    """No module shadows a public name, in whatever order things are imported."""
    code = (
        "import geoseg.models as m\n"
        "first = {name: getattr(m, name) for name in m.__all__}\n"
        "assert all(getattr(m, name) is value for name, value in first.items())\n"
        "assert set(m.__all__) <= set(dir(m))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_normalisation_is_in_physical_units(tiny_model):
    card = load_card(tiny_model)
    np.testing.assert_allclose((np.array([0.3, 0.2], np.float32) - card.means) / card.stds, [1, 0], atol=1e-6)
