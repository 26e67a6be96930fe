"""`geoseg models push`, against a stand-in of the hub."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from geoseg.cli.models import models
from geoseg.errors import ModelError
from geoseg.verbs.push import push_model
from tests.verbs.hub import TOKEN, stand_in

ADDRESS = "hf://someone/fields"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        huggingface_hub.constants, "HF_HUB_DISABLE_XET", True
    )  # a protocol of its own servers
    with stand_in() as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
        yield server


def test_a_package_is_uploaded_with_a_page(hub, tiny_model, capfd):
    page = push_model(tiny_model, ADDRESS)
    assert page == f"{hub.url}/someone/fields"
    files = hub.files["someone/fields"]
    for name in ("config.json", "mlm.json", "model.safetensors"):
        assert files[name] == (tiny_model / name).read_bytes()
    text = files["README.md"].decode()
    assert "geoseg predict scene.tif --model hf://someone/fields" in text
    assert text.startswith("---\nlibrary_name: ")
    assert TOKEN not in str(capfd.readouterr()) + text
    assert not hub.private


def test_a_second_push_keeps_the_page_and_removes_what_the_package_lacks(hub, tiny_model):
    there = {"README.md": b"my own words", "network.onnx": b"of an older package", "notes.txt": b"mine"}
    hub.files["someone/fields"] = dict(there)
    push_model(tiny_model, ADDRESS)
    files = hub.files["someone/fields"]
    assert set(files) == {"README.md", "notes.txt", "config.json", "mlm.json", "model.safetensors"}
    assert files["README.md"] == b"my own words"


def test_the_command_line(hub, tiny_model):
    result = CliRunner().invoke(models, ["push", str(tiny_model), ADDRESS, "--private"])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"{hub.url}/someone/fields"
    assert hub.private == {"someone/fields"}
    assert json.loads(hub.files["someone/fields"]["mlm.json"])


def test_a_token_that_may_not_write_is_named_and_not_shown(hub, tiny_model, monkeypatch):
    wrong = TOKEN.replace("s3cr3t", "0th3r5")
    monkeypatch.setenv("HF_TOKEN", wrong)
    with pytest.raises(ModelError, match=r"hf://someone/fields: .*401.*may write to someone") as caught:
        push_model(tiny_model, ADDRESS)
    assert wrong not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not hub.files


def test_without_a_token_nothing_is_asked(hub, tiny_model, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ModelError, match=r"needs a token that may write to someone: `hf auth login`"):
        push_model(tiny_model, ADDRESS)
    assert not hub.files


@pytest.mark.usefixtures("hub")
def test_a_hub_that_cannot_be_reached(tiny_model, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        push_model(tiny_model, ADDRESS)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "says"),
    [("someone/fields", "is not a hub address"), ("hf://someone/fields@dev", "leave out @dev")],
)
def test_a_wrong_address(tiny_model, address, says):
    with pytest.raises(ModelError, match=says):
        push_model(tiny_model, address)
