"""Dynamic World's weights: the card, any width, and the published file itself where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from geoseg.errors import ModelError
from geoseg.inference.reading import Normalisation
from geoseg.models.package import load_model
from geoseg.verbs.import_model import import_model
from tests.models.dynamic_world_layers import input_step, logits, random_weights

PUBLISHED = Path(os.environ.get("GEOSEG_DATA", "none")) / "dynamic-world" / "weights.safetensors"


def test_its_card_needs_nothing_said(tmp_path):
    save_file(random_weights(), tmp_path / "weights.safetensors")
    card = load_model(import_model(tmp_path / "weights.safetensors", tmp_path / "dynamic-world")).card
    assert card.name == "dynamic-world"
    assert card.band_names[:4] == ("blue", "green", "red", "rededge071")
    assert [one.name for one in card.classes][::4] == ["water", "crops", "snow and ice"]
    assert card.classes[0].color == "#419bdf"
    assert (card.gsd, card.license, card.value_scale) == (10, "Apache-2.0", 1e-4)
    assert card.units == "top-of-atmosphere reflectance"
    assert card.network == {"width": [8, 12, 18, 6]}


def test_other_bands_and_classes_must_be_named(tmp_path):
    save_file(random_weights(bands=4, classes=3), tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="--bands"):
        import_model(tmp_path / "weights.safetensors", tmp_path / "package")
    said = {"bands": ["blue", "green", "red", "nir"], "classes": ["a", "b", "c"], "mean": [0], "std": [1]}
    card = load_model(import_model(tmp_path / "weights.safetensors", tmp_path / "package", **said)).card
    assert not card.transforms


def test_a_missing_tensor_is_named(tmp_path):
    weights = random_weights()
    del weights["b2p.norm.mean"]
    save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match=r'"encoder\.b2p\.norm\.running_mean" is missing'):
        import_model(tmp_path / "weights.safetensors", tmp_path / "package")


def test_its_input_step_is_the_published_one(tmp_path):
    save_file(random_weights(), tmp_path / "weights.safetensors")
    card = load_model(import_model(tmp_path / "weights.safetensors", tmp_path / "package")).card
    stored = np.linspace(0, 12000, 64 * 64, dtype=np.float32).reshape(64, 64)
    stored = np.stack([stored] * 9)
    values, valid = stored * np.float32(1e-4), np.ones((64, 64), bool)
    valid[3, 4] = False
    found = Normalisation.of(card.bands).apply(values, valid)
    assert not found[:, 3, 4].any()
    wanted = input_step(torch.from_numpy(stored).double()).numpy()
    np.testing.assert_allclose(found[:, valid], wanted[:, valid], atol=2e-6)


@pytest.mark.realdata
@pytest.mark.skipif(not PUBLISHED.is_file(), reason="GEOSEG_DATA has no dynamic-world/weights.safetensors")
def test_the_published_weights_give_the_logits_of_the_description(tmp_path):
    network = load_model(import_model(PUBLISHED, tmp_path / "dynamic-world")).network
    assert network.config["width"] == [64, 96, 144, 48]
    chip = torch.rand(1, 9, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs, ours = logits(load_file(PUBLISHED), chip), network(chip)
    assert (theirs.argmax(dim=1) == ours.argmax(dim=1)).float().mean() > 0.9999
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
