"""Where packages come from, and what is never opened."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest

from geoseg.errors import ModelError
from geoseg.models import bundled_models, load_card, load_model, sources

FILES = ("config.json", "model.safetensors", "mlm.json")


def zipped(folder, target, prefix="", names=FILES):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(folder / name, f"{prefix}{name}")
    return target


@pytest.fixture
def package(tiny_model, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "package"))


@pytest.fixture
def bundle(tiny_model, tmp_path, monkeypatch):
    """A folder of bundled models."""
    root = tmp_path / "bundled"
    for name in ("dakota-crops", "dubai-landcover"):
        shutil.copytree(tiny_model, root / name)
    (root / "half-written").mkdir()
    monkeypatch.setattr(sources, "BUNDLED", root)
    return root


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def plant(path, marker):
    path.write_bytes(pickle.dumps(Bomb(marker)))


def test_the_bomb_works(tmp_path):
    plant(tmp_path / "weights.bin", tmp_path / "marker")
    pickle.loads((tmp_path / "weights.bin").read_bytes())
    assert (tmp_path / "marker").exists()


NAMES = ("pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "weights.pkl")


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_in_the_folder_is_never_opened(package, tmp_path, name):
    plant(package / name, tmp_path / "marker")
    load_model(package)
    (package / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"convert it: .*torch\.load\(\.\.\., weights_only=True\)") as caught:
        load_model(package)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="never opens one"):
        load_model(package / name)
    with pytest.raises(ModelError, match="never opens one"):
        load_model(zipped(package, tmp_path / "p.zip", names=("config.json", "mlm.json", name)))
    assert not (tmp_path / "marker").exists()


def test_a_pickle_by_another_name_is_no_weights(package, tmp_path):
    plant(package / "model.safetensors", tmp_path / "marker")
    with pytest.raises(ModelError, match="damaged or not a safetensors"):
        load_model(package)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("prefix", ["", "tiny/", "a/b/"])
def test_a_zip_is_as_good_as_its_folder(tiny_model, tmp_path, prefix):
    archive = zipped(tiny_model, tmp_path / "tiny.zip", prefix)
    before = set(tmp_path.rglob("*"))
    model = load_model(archive)
    assert model.hash == load_model(tiny_model).hash
    assert model.path == str(archive)
    assert load_card(archive) == model.card
    assert set(tmp_path.rglob("*")) == before  # nothing was unpacked


def test_members_outside_the_zip_reach_nothing(tiny_model, tmp_path):
    (tmp_path / "in").mkdir()
    archive = zipped(tiny_model, tmp_path / "in" / "evil.zip", "../")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    load_model(archive)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_members_of_other_folders_are_not_mixed_in(tiny_model, tmp_path):
    archive = zipped(tiny_model, tmp_path / "two.zip", "a/", names=("config.json", "mlm.json"))
    with zipfile.ZipFile(archive, "a") as file:
        file.write(tiny_model / "model.safetensors", "b/model.safetensors")
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        load_model(archive)


def test_a_member_that_is_too_large_is_not_read(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sources._LIMITS, "mlm.json", 100)
    with pytest.raises(
        ModelError, match=r"mlm\.json cannot be read: it has \d+ bytes, more than the limit of 100"
    ):
        load_card(zipped(tiny_model, tmp_path / "tiny.zip"))
    with pytest.raises(ModelError, match="more than the limit of 100"):
        load_card(tiny_model)


def test_a_damaged_zip(tiny_model, tmp_path):
    archive = zipped(tiny_model, tmp_path / "tiny.zip")
    data = bytearray(archive.read_bytes())
    (tmp_path / "cut.zip").write_bytes(data[:-40])
    with pytest.raises(ModelError, match="is not a model package"):
        load_model(tmp_path / "cut.zip")
    data[60:200] = bytes(140)  # inside the first member
    (tmp_path / "spoilt.zip").write_bytes(data)
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        load_model(tmp_path / "spoilt.zip")


@pytest.mark.usefixtures("bundle")
def test_bundled_models_are_found_by_name(tiny_model):
    assert bundled_models() == ("dakota-crops", "dubai-landcover")
    model = load_model("dubai-landcover")
    assert model.path == "dubai-landcover"
    assert model.hash == load_model(tiny_model).hash
    assert load_model().path == sources.DEFAULT_MODEL == "dakota-crops"


@pytest.mark.usefixtures("bundle")
def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(
        ModelError, match=r'no bundled model "dakota", did you mean "dakota-crops"\?'
    ) as caught:
        load_model("dakota")
    assert "dubai-landcover" in str(caught.value)
    assert "hf://owner/name" in str(caught.value)


@pytest.mark.usefixtures("bundle")
def test_a_bundled_name_comes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dakota-crops").mkdir()
    assert load_model("dakota-crops").path == "dakota-crops"
    with pytest.raises(ModelError, match=r"has no mlm\.json"):
        load_model("./dakota-crops")


def test_without_bundled_models(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BUNDLED", tmp_path / "none")
    assert bundled_models() == ()
    with pytest.raises(ModelError, match="this installation has none"):
        load_model()


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named(package, missing):
    (package / missing).unlink()
    with pytest.raises(ModelError, match=f"has no {missing}; a model package holds"):
        load_model(package)


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("nowhere/model", "there is no model package at"),
        ("nowhere.zip", "there is no model package at"),
        ("hf://owner", "is not a hub address"),
        ("hf://owner/name/more", "is not a hub address"),
    ],
)
def test_refs_that_lead_nowhere(ref, words):
    with pytest.raises(ModelError, match=words):
        load_model(ref)


def test_a_file_that_is_no_package(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    with pytest.raises(ModelError, match="is not a model package"):
        load_model(tmp_path / "model.onnx")


def test_the_hub_without_a_network(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match="hf://someone/crops@main cannot be downloaded and is not in the cache"
    ) as caught:
        load_model("hf://someone/crops@main")
    assert "\n" not in str(caught.value)


def test_the_hubs_cache_serves_without_a_network(tiny_model, tmp_path, monkeypatch):
    """A snapshot in the layout of the hub's cache is found offline."""
    import huggingface_hub.constants

    repository = tmp_path / "models--someone--crops"
    shutil.copytree(tiny_model, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    model = load_model("hf://someone/crops")
    assert model.path == "hf://someone/crops"
    assert model.hash == load_model(tiny_model).hash


def test_a_member_without_a_name_is_passed_over(tmp_path, tiny_model):
    path = zipped(tiny_model, tmp_path / "m.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"")
    assert load_card(path).name == "tiny"
