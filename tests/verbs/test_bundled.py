"""The bundled models: what they weigh, what they promise, and that they do well on the sample scenes."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

import geoseg
from geoseg.models import DEFAULT_MODEL, bundled_models, load_card, load_model
from geoseg.models.sources import BUNDLED, find_package
from tests.conftest import SAMPLES

MODELS = bundled_models()
"""Whatever lies in geoseg/models/bundled."""


def test_the_default_is_one_of_them():
    assert DEFAULT_MODEL in MODELS


@pytest.mark.parametrize("name", MODELS)
class TestEveryPackage:
    def test_is_small_and_says_where_it_comes_from(self, name):
        assert sum(path.stat().st_size for path in (BUNDLED / name).rglob("*")) < 16e6
        card = load_card(name)
        assert card.name == name
        for text in (
            card.summary,
            card.trust,
            card.license,
            card.citation,
            card.trained_on,
            card.metrics["split"],
        ):
            assert text

    def test_holds_nothing_but_the_package(self, name):
        assert all(path.is_file() for path in (BUNDLED / name).iterdir())
        assert {"config.json", "mlm.json", "model.safetensors"} <= set(find_package(name).files)

    def test_loads(self, name):
        assert load_model(name).card == load_card(name)

    def test_says_how_good_it_is(self, name):
        metrics = load_card(name).metrics
        assert 0 < metrics["accuracy"] <= 1
        assert 0 < metrics["miou"] <= 1


@pytest.mark.parametrize("name", [name for name in MODELS if load_card(name).baseline])
def test_it_beats_its_baseline(name):
    card = load_card(name)
    assert card.metrics["accuracy"] > card.baseline["accuracy"]
    assert card.metrics["miou"] > card.baseline["miou"]


def test_dakota_is_for_its_plains_and_late_summer():
    card = load_card("dakota-crops")
    assert (str(card.region), card.months) == ("45 to 50 N, 96 to 101 W", (8, 9))


def test_dakota_beats_its_baseline_by_far():
    card = load_card("dakota-crops")
    assert card.metrics["accuracy"] > card.baseline["accuracy"] + 0.03
    assert card.metrics["miou"] > card.baseline["miou"] + 0.05


@pytest.mark.parametrize("name", ["farmland", "odd", "heldout"])
def test_dakota_is_chosen_for_the_samples_and_does_well(name, tmp_path):
    result = geoseg.predict(SAMPLES / f"{name}.tif", tmp_path / "map.tif")
    assert result.report["model"]["name"] == "dakota-crops"
    assert result.report["warnings"] == []
    assert result.report["scene"]["date"] == "2015-09-02"
    with (
        rasterio.open(result.outputs["classes"]) as mapped,
        rasterio.open(SAMPLES / f"{name}_labels.tif") as labels,
    ):
        ours, truth = mapped.read(1), labels.read(1)
    labelled = (truth > 0) & (ours != 255)
    assert np.mean(ours[labelled] == truth[labelled]) > 0.87
    for common in (1, 2, 3, 6, 8):
        assert np.mean(ours[labelled & (truth == common)] == common) > 0.8, f"recall of class {common}"


@pytest.mark.realdata
def test_a_picture_of_the_city_chooses_the_model_that_knows_it(real_data):
    rgb = [name for name in MODELS if load_card(name).band_names == ("red", "green", "blue")]
    if not rgb:
        pytest.skip("no RGB model is bundled")
    for part in ("tile1/part1.jpg", "tile6/part5.jpg"):
        found = geoseg.inspect(real_data / "dubai" / part)
        assert found.fits
        assert found.card.name == rgb[0]
        assert [finding.severity for finding in found.diagnosis.findings] == ["note"]
