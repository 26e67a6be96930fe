"""The bundled model: what it weighs, what it promises, and that it does well on the sample scenes."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

import geoseg
from geoseg.models import DEFAULT_MODEL, bundled_models, load_card
from geoseg.models.sources import find_package
from tests.conftest import SAMPLES


def test_the_package_is_small_and_says_where_it_comes_from():
    package = find_package(DEFAULT_MODEL)
    size = sum(len(package.read(name)) for name in ("config.json", "mlm.json", "model.safetensors"))
    assert size < 16e6
    card = load_card()
    for text in (card.trust, card.license, card.citation, card.trained_on, card.metrics["split"]):
        assert text
    assert bundled_models() == (DEFAULT_MODEL,)


def test_it_beats_its_baseline():
    card = load_card()
    assert card.metrics["accuracy"] > card.baseline["accuracy"] + 0.03
    assert card.metrics["miou"] > card.baseline["miou"] + 0.05


@pytest.mark.parametrize("name", ["farmland", "odd", "heldout"])
def test_it_does_well_on_the_samples(name, tmp_path):
    result = geoseg.predict(SAMPLES / f"{name}.tif", tmp_path / "map.tif")
    assert result.report["warnings"] == []
    with (
        rasterio.open(result.outputs["classes"]) as mapped,
        rasterio.open(SAMPLES / f"{name}_labels.tif") as labels,
    ):
        ours, truth = mapped.read(1), labels.read(1)
    labelled = (truth > 0) & (ours != 255)
    assert np.mean(ours[labelled] == truth[labelled]) > 0.87
    for common in (1, 2, 3, 6, 8):
        assert np.mean(ours[labelled & (truth == common)] == common) > 0.8, f"recall of class {common}"
