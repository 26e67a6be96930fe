"""Backends end to end: maps agree, what ran is recorded, and a cached network needs no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio

import geoseg
from geoseg.errors import ModelError
from geoseg.inference.backends import choose
from geoseg.inference.backends.device import has_bf16
from geoseg.inference.backends.make import begin_backend, make_backend
from geoseg.models import open_model
from geoseg.plan.settings import ComputeOptions, resolve_settings
from geoseg.verbs.export import export_model
from tests.conftest import SAMPLES, make_scene


def predict(scene, path, **more):
    result = geoseg.predict(scene, path, **more)
    with rasterio.open(path) as raster:
        return raster.read(1), raster.tags(), result.report


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The bundled model's map of a sample by torch in fp32."""
    path = tmp_path_factory.mktemp("torch") / "map.tif"
    return predict(SAMPLES / "odd.tif", path, backend="torch", precision="fp32")[0]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_maps_agree_with_torch(reference, backend, tmp_path):
    classes, tags, report = predict(
        SAMPLES / "odd.tif", tmp_path / "map.tif", backend=backend, precision="fp32"
    )
    valid = reference != 255
    assert np.array_equal(valid, classes != 255)
    assert np.mean(classes[valid] == reference[valid]) >= 0.999
    assert tags["GEOSEG_BACKEND"] == report["settings"]["backend"] == backend


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnx"])
def test_blocks_and_inferences_in_flight_change_no_byte(tiny_model, scene, backend, tmp_path):
    files = []
    for number, more in enumerate(
        ({}, {"block_size": 40, "concurrency": 3}, {"block_size": 97, "concurrency": 1})
    ):
        path, sure = tmp_path / f"{number}.tif", tmp_path / f"{number}_sure.tif"
        geoseg.predict(
            scene, path, model=tiny_model, force=True, confidence=sure, backend=backend, tta="flips", **more
        )
        files.append(path.read_bytes() + sure.read_bytes())
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize(
    ("backend", "precision"),
    [("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"), ("onnx", "fp32")],
)
def test_the_backend_is_made_as_the_settings_say(tiny_model, backend, precision):
    if (backend, precision) == ("openvino", "bf16") and not has_bf16("cpu"):
        pytest.skip("no bf16 on this processor")
    model = open_model(tiny_model)
    asked = ComputeOptions(
        chip_size=32, batch_size=2, device="cpu", concurrency=3, backend=backend, precision=precision
    )
    settings = resolve_settings(model, (1, 2), asked)
    made = make_backend(model, settings)
    assert (made.name, made.precision, made.batch_size, made.device) == (backend, precision, 2, "cpu")
    assert made.temperature == settings.temperature
    assert made.probabilities(np.zeros((2, 2, 32, 32), np.float32)).shape == (2, 3, 32, 32)
    assert backend == "torch" or made.concurrency == 3


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("tta", ["none", "flips"])
def test_a_backend_that_is_made_in_the_background_is_the_same(tiny_model, backend, tta):
    model = open_model(tiny_model)
    asked = ComputeOptions(
        chip_size=32, device="cpu", concurrency=3, backend=backend, precision="fp32", tta=tta
    )
    settings = resolve_settings(model, (1, 2), asked)
    made, begun = make_backend(model, settings), begin_backend(model, settings)
    chips = np.random.default_rng(0).normal(size=(1, 2, 32, 32)).astype(np.float32)
    assert (begun.probabilities(chips) == made.probabilities(chips)).all()
    for fact in ("name", "device", "precision", "batch_size"):
        assert getattr(begun, fact) == getattr(made, fact)
    assert begun.concurrency == 3


def test_a_batch_of_several_chips(tiny_model, scene, tmp_path):
    one, _, _ = predict(scene, tmp_path / "1.tif", model=tiny_model, force=True, backend="openvino")
    two, tags, _ = predict(
        scene, tmp_path / "2.tif", model=tiny_model, force=True, backend="openvino", batch_size=2
    )
    assert tags["GEOSEG_BATCH_SIZE"] == "2"
    assert np.mean(one == two) > 0.999


def geoseg_command(*arguments, **more):
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_kept_network_runs_without_torch_and_gives_the_same_bytes(tiny_model, scene, tmp_path):
    arguments = ("--model", tiny_model, "--force", "--backend", "openvino", "--device", "cpu")
    code, _, said = geoseg_command("predict", scene, "-o", tmp_path / "1.tif", *arguments)
    assert code == 0, said
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    without = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    code, _, said = geoseg_command("predict", scene, "-o", tmp_path / "2.tif", *arguments, env=without)
    assert code == 0, said
    assert "converted" not in said
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "2.tif").read_bytes()


def test_a_lone_onnx_file_maps_a_scene(tiny_model, scene, tmp_path):
    package = export_model(tiny_model, "onnx", tmp_path / "package")
    lone = package / "network.onnx"
    expected, _, _ = predict(
        scene, tmp_path / "1.tif", model=tiny_model, force=True, backend="torch", precision="fp32"
    )
    for backend in ("auto", "onnx", "openvino"):
        classes, _, report = predict(
            scene,
            tmp_path / "2.tif",
            model=lone,
            force=True,
            backend=backend,
            precision="fp32",
            overwrite=True,
        )
        assert np.mean(classes == expected) > 0.999
        assert report["settings"]["backend"] == ("openvino" if backend == "auto" else backend)
    with pytest.raises(ModelError, match="holds no torch network"):
        geoseg.predict(scene, tmp_path / "3.tif", model=lone, force=True, backend="torch")


def test_a_backend_that_is_not_installed_is_exit_2_with_what_to_run(
    tiny_model, scene, tmp_path, monkeypatch, capsys
):
    from geoseg.cli import run

    monkeypatch.setattr(choose, "find_spec", lambda _name: None)
    command = ["predict", str(scene), "-o", str(tmp_path / "m.tif"), "--model", str(tiny_model), "--force"]
    assert run([*command, "--backend", "onnx"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said == [
        'geoseg: error: --backend onnx needs the package onnxruntime; run: pip install "geoseg[onnx]"'
    ]


def test_export_from_the_command_line(tiny_model, tmp_path):
    code, out, said = geoseg_command("models", "export", tiny_model, "--to", "openvino", "-o", tmp_path / "m")
    assert (code, out.strip()) == (0, str(tmp_path / "m")), said
    item = json.loads((tmp_path / "m" / "mlm.json").read_text())
    assert "network.xml" in item["assets"]
    scene = make_scene(tmp_path / "scene.tif")
    code, _, said = geoseg_command("predict", scene, "--model", tmp_path / "m", "--force", cwd=tmp_path)
    assert code == 0, said
    assert "converted" not in said, "the package's network is used"
