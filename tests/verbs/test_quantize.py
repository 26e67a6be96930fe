"""int8 end to end: quantized on real scenes, measured, kept in the package, and used by predict."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import rasterio

import geoseg
from geoseg.errors import OutputError, SettingsError
from geoseg.models import describe, load_card, open_model
from geoseg.models.conversion import ChipShape
from geoseg.verbs.quantize import enough_chips, quantize_model
from tests.conftest import SAMPLES, make_scene, save_tiny

pytest.importorskip("nncf")


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """The bundled model with an int8 network."""
    return quantize_model(
        "dakota-crops",
        [SAMPLES / "farmland.tif", SAMPLES / "heldout.tif"],
        tmp_path_factory.mktemp("int8") / "model",
        labels=[SAMPLES / "farmland_labels.tif", SAMPLES / "heldout_labels.tif"],
        chips=4,
    )


@pytest.mark.slow
def test_what_it_costs_is_measured_and_shown(quantized):
    measured = quantized.measured
    with rasterio.open(SAMPLES / "farmland.tif") as one, rasterio.open(SAMPLES / "heldout.tif") as other:
        most = one.height * one.width + other.height * other.width
    assert 0.9 * most < measured["pixels"] <= most
    assert measured["agreement"] > 0.985
    assert measured["fp32"]["accuracy"] > 0.87
    assert abs(measured["int8"]["accuracy"] - measured["fp32"]["accuracy"]) < 0.01
    assert abs(measured["int8"]["miou"] - measured["fp32"]["miou"]) < 0.02
    assert measured["calibration_chips"] == 4
    card = load_card(quantized.folder)
    assert dict(card.quantization) == measured
    assert "With --precision int8" in describe(card)
    assert "With --precision int8" not in describe(replace(card, quantization={}))
    assert "network-int8.xml" in json.loads((quantized.folder / "mlm.json").read_text())["assets"]


@pytest.mark.slow
def test_a_folder_with_the_name_of_a_bundled_model_is_compared_with_itself(
    tiny_model, scene, tmp_path, monkeypatch
):
    """Its path, as Python writes it, is the bundled model's name."""
    shutil.copytree(tiny_model, tmp_path / "dakota-crops")
    monkeypatch.chdir(tmp_path)
    made = quantize_model("./dakota-crops", [scene], "out", chips=1, force=True)
    assert made.measured["agreement"] > 0.6  # random weights; the bundled model cannot map two bands at all


def test_the_package_stays_small(quantized):
    assert sum(path.stat().st_size for path in quantized.folder.iterdir()) < 16e6


def test_predict_uses_it(quantized, tmp_path):
    maps = {}
    for precision in ("fp32", "int8"):
        result = geoseg.predict(
            SAMPLES / "heldout.tif",
            tmp_path / f"{precision}.tif",
            model=quantized.folder,
            backend="openvino",
            precision=precision,
            confidence=tmp_path / f"{precision}_confidence.tif",
        )
        assert result.report["settings"]["precision"] == precision
        assert result.report["settings"]["backend"] == "openvino"
        with (
            rasterio.open(result.outputs["classes"]) as classes,
            rasterio.open(result.outputs["confidence"]) as sure,
        ):
            assert classes.tags()["GEOSEG_PRECISION"] == precision
            maps[precision] = classes.read(1), sure.read(1).astype(int)
    assert 0.98 < np.mean(maps["fp32"][0] == maps["int8"][0]) < 1, (
        "it is another network, and almost the same"
    )
    assert np.abs(maps["fp32"][1] - maps["int8"][1]).mean() < 3


def test_its_network_really_computes_in_int8(quantized):
    from geoseg.models.openvino_ir import read_network

    model = open_model(quantized.folder)
    graph = read_network(model.converted("openvino", "int8", ChipShape(1, 6, model.card.chip_size)))
    kinds = [node.get_type_name() for node in graph.get_ordered_ops()]
    convolutions = kinds.count("Convolution") + kinds.count("GroupConvolution")
    assert kinds.count("FakeQuantize") >= convolutions - 1
    for node in graph.get_ordered_ops():
        if node.get_type_name() in ("Divide", "Softmax", "SoftMax"):
            sources = [value.get_node().get_type_name() for value in node.input_values()]
            assert "FakeQuantize" not in sources, "confidence would be rounded to 8 bits"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network(tiny_model, tmp_path):
    scene = make_scene(tmp_path / "scene.tif")
    hashes = {
        open_model(quantize_model(tiny_model, [scene], tmp_path / name, chips=3, force=True).folder).hash
        for name in ("one", "two")
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(("side", "chips"), [(64, 100), (512, 100), (1024, 25), (4096, 16)])
def test_larger_chips_are_fewer(side, chips):
    assert enough_chips(side) == chips


def test_what_is_wrong_is_said_before_anything_is_done(tiny_model, scene, tmp_path):
    with pytest.raises(SettingsError, match="as many --labels as --scenes"):
        quantize_model(tiny_model, [scene], tmp_path / "m", labels=[scene, scene])
    with pytest.raises(SettingsError, match="--chips must be at least 1"):
        quantize_model(tiny_model, [scene], tmp_path / "m", chips=0)
    with pytest.raises(OutputError, match="--overwrite"):
        quantize_model(tiny_model, [scene], save_tiny(tmp_path / "there"))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("chip_size", [96, 256, 520])
def test_it_takes_chips_of_other_sizes(quantized, tmp_path, chip_size):
    maps = []
    for precision in ("fp32", "int8"):
        options = {"model": quantized.folder, "backend": "openvino", "chip_size": chip_size}
        path = tmp_path / f"{precision}.tif"
        result = geoseg.predict(SAMPLES / "heldout.tif", path, precision=precision, **options)
        assert result.report["settings"]["chip_size"] == chip_size
        with rasterio.open(path) as classes:
            maps.append(classes.read(1))
    assert np.mean(maps[0] == maps[1]) > 0.98


def test_what_its_strides_do_not_suit_is_refused(quantized, tmp_path):
    with pytest.raises(
        SettingsError,
        match=r"takes batches of 1 chip of 512 pixels, not 1 of 250: 250 is no multiple .* leave --chip-size",
    ):
        geoseg.predict(
            SAMPLES / "heldout.tif",
            tmp_path / "m.tif",
            model=quantized.folder,
            precision="int8",
            chip_size=250,
        )
    assert not (tmp_path / "m.tif").exists()


@pytest.mark.slow
@pytest.mark.longer
def test_results_and_nothing_else_go_to_stdout(tiny_model, tmp_path):
    import subprocess
    import sys

    scene = make_scene(tmp_path / "scene.tif")
    command = [
        "models",
        "quantize",
        tiny_model,
        "--scenes",
        scene,
        "--chips",
        2,
        "--force",
        "-o",
        tmp_path / "m",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "m")]
    assert "CUDA" not in done.stderr


def test_several_files_after_one_option(quantized, monkeypatch, tmp_path):
    from geoseg.cli import run
    from geoseg.verbs import quantize

    asked = {}

    def record(model, scenes, output, **more):
        asked.update(model=model, scenes=scenes, output=output, labels=more["labels"])
        return quantized

    monkeypatch.setattr(quantize, "quantize_model", record)
    given = [
        "--scenes",
        "a.tif",
        "b.tif",
        "--labels",
        "x.tif",
        "--labels",
        "y.tif",
        "-o",
        str(tmp_path / "m"),
    ]
    assert run(["models", "quantize", "dakota-crops", *given]) == 0
    assert asked == {
        "model": "dakota-crops",
        "scenes": ("a.tif", "b.tif"),
        "labels": ("x.tif", "y.tif"),
        "output": tmp_path / "m",
    }
