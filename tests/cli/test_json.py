"""Results for programs: stdout is one JSON value, exit codes stay."""

from __future__ import annotations

import json

import pytest
import rasterio

from geoseg.cli import run
from geoseg.models import bundled_models, load_card, sources
from tests.conftest import make_scene
from tests.doctor.bundles import CROPS, PICTURES, farmland, put_card


def test_inspect_of_a_scene_that_fits(tmp_path, tiny_model, capsys):
    path = make_scene(tmp_path / "good.tif", holes=False)
    assert run(["inspect", str(path), "--model", str(tiny_model), "--json"]) == 0
    shown = capsys.readouterr()
    content = json.loads(shown.out)
    assert shown.err == ""
    assert content["fits"] is True
    assert content["model"] == "tiny"
    assert content["verdict"] == "good fits tiny"
    assert content["scene"].pop("gsd") == pytest.approx(10, rel=1e-3)  # metres on the ground, not of the grid
    assert content["scene"] == {
        "name": "good",
        "paths": [str(path)],
        "shape": [150, 130],
        "crs": "EPSG:32614",
        "bands": [
            {"number": 1, "name": "red", "common_name": "red", "dtype": "int16"},
            {"number": 2, "name": "nir", "common_name": "nir", "dtype": "int16"},
        ],
        "date": None,
        "left_out": [],
    }
    (model,) = content["models"]
    assert (model["name"], model["fits"], model["bands"]) == ("tiny", True, {"red": 1, "nir": 2})


def test_inspect_of_a_scene_that_does_not_fit(tmp_path, tiny_model, capsys):
    path = make_scene(tmp_path / "bad.tif", holes=False)
    with rasterio.open(path, "r+") as raster:
        raster.scales = (1.0, 1.0)
    assert run(["inspect", str(path), "--model", str(tiny_model), "--json"]) == 2
    content = json.loads(capsys.readouterr().out)
    assert (content["fits"], content["model"]) == (False, None)
    stops = [finding for finding in content["models"][0]["findings"] if finding["severity"] == "stop"]
    assert stops
    assert set(stops[0]) == {"severity", "code", "message", "fix"}
    assert "--scale" in stops[0]["fix"]


def test_inspect_examines_every_bundled_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources, "BUNDLED", tmp_path / "bundled")
    put_card(tmp_path / "bundled", CROPS)
    put_card(tmp_path / "bundled", PICTURES)
    path = farmland(tmp_path / "a.tif", scales=None)
    assert run(["inspect", str(path), "--json"]) == 2
    content = json.loads(capsys.readouterr().out)
    assert {model["name"]: model["fits"] for model in content["models"]} == {
        "crops": False,
        "pictures": False,
    }
    assert "fits no bundled model" in content["verdict"]


def test_an_error_leaves_stdout_empty(capsys):
    assert run(["inspect", "missing.tif", "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("geoseg: error: ")


def test_the_list_of_models(capsys):
    assert run(["models", "list", "--json"]) == 0
    shown = capsys.readouterr()
    content = json.loads(shown.out)
    assert shown.err == ""
    bundled = {model["name"]: model for model in content if model["source"] == "bundled"}
    assert list(bundled) == list(bundled_models())
    crops, card = bundled["dakota-crops"], load_card("dakota-crops")
    assert crops["version"] == card.version
    assert crops["bands"] == list(card.band_names)
    assert [(each["id"], each["name"]) for each in crops["classes"]] == [(c.id, c.name) for c in card.classes]
    assert crops["metrics"] == card.metrics
    assert crops["size_bytes"] == sum(
        file.stat().st_size for file in (sources.BUNDLED / "dakota-crops").iterdir()
    )
