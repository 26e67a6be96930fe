"""Turn trained weights and their measured scores into the model package that geoseg bundles.

    python workflows/dakota/package.py DATA TRAINED geoseg/models/bundled/dakota-crops

DATA holds scene.tif and classes.tif; TRAINED what ``train.py``, ``score.py`` and ``baseline.py`` wrote:
``architecture.json``, ``normalisation.json``, ``training.json``, ``model.safetensors``, ``metrics.json``,
``baseline.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import segmentation_models_pytorch as smp
from safetensors.torch import load_file

from geoseg.models import LandClass, ModelBand, ModelCard, save_model

CLASSES = (
    LandClass(1, "corn", "#ffd300"),
    LandClass(2, "soybeans", "#267000"),
    LandClass(3, "wheat and small grains", "#a57000"),
    LandClass(4, "dry beans", "#a50000"),
    LandClass(5, "other crops", "#d1ff00"),
    LandClass(6, "grass, hay and pasture", "#e8ffbf"),
    LandClass(7, "forest and shrub", "#00783c"),
    LandClass(8, "water and wetland", "#4b70a3"),
    LandClass(9, "developed and barren", "#969696"),
)
TRUST = (
    "It knows one Landsat 8 scene of North Dakota on one day, 2015-09-02, late in the season: crops are "
    "told apart by how they ripen in that week. Trust it on Landsat 8 or 9 surface reflectance of the "
    "northern Great Plains around early September; check it anywhere else, and do not trust it in other "
    "seasons or climates. Its labels come from another classifier (USDA CDL 2015), so its errors against "
    "the ground are larger than its errors against the labels. It is weakest on forest and shrub, developed "
    "and barren, and other crops."
)
CITATION = (
    "Ziheng Sun (2019), Ag-Net Sample Training Dataset, github.com/ZihengSun/Ag-Net-Dataset (MIT). "
    "Landsat 8: USGS. Labels: USDA NASS Cropland Data Layer 2015."
)


def percentiles(data: Path, low: float = 1, high: float = 99) -> list[tuple[float, float]]:
    """The 1st and 99th percentile of each band over the labelled pixels, in reflectance."""
    with rasterio.open(data / "scene.tif") as scene, rasterio.open(data / "classes.tif") as labels:
        labelled = labels.read(1) > 0
        found = []
        for band in scene.indexes:
            values = scene.read(band)[labelled] * scene.scales[band - 1]
            found.append(tuple(np.percentile(values[values > 0], [low, high]).round(4)))
    return found


def read(folder: Path, name: str) -> dict[str, Any]:
    """One of the JSON files."""
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


SPLIT = (
    "held-out test blocks: 16 of 45 blocks of 1024 x 1024 pixels of the same scene, 3.5 million labelled "
    "pixels; training chips keep 960 m clear of them"
)


TTA = {"none": "plain", "d4": "d4"}
"""Test-time augmentation -> its key in metrics.json."""


def scores(measured: dict[str, Any]) -> dict[str, Any]:
    """What was measured on the test blocks, with the calibration error after calibration."""
    error = measured["least_miscalibration"]["test_ece"]
    return overall(measured["test"]) | {"expected_calibration_error": round(error, 4)}


def overall(measured: dict[str, Any]) -> dict[str, Any]:
    """Accuracy, mIoU and the IoU of each class, rounded to what can be meant."""
    return {
        "accuracy": round(measured["accuracy"], 4),
        "miou": round(measured["miou"], 4),
        "iou": {name: round(one["iou"], 3) for name, one in measured["classes"].items()},
    }


def make_card(data: Path, trained: Path) -> ModelCard:
    """Everything the package says, from what was measured."""
    network, normal = read(trained, "architecture.json"), read(trained, "normalisation.json")
    training, measured = read(trained, "training.json"), read(trained, "metrics.json")
    baseline = read(trained, "baseline.json")
    ranges = percentiles(data)
    bands = tuple(
        ModelBand(name, mean, std, *limits)
        for name, mean, std, limits in zip(
            normal["bands"], normal["mean"], normal["std"], ranges, strict=True
        )
    )
    options = {k: v for k, v in network.items() if k in ("encoder_depth", "decoder_channels")}
    return ModelCard(
        name="dakota-crops",
        version="0.1.0",
        summary="Nine crop and land-cover classes from six Landsat 8 bands, North Dakota in early September.",
        bands=bands,
        classes=CLASSES,
        architecture="unet",
        encoder=network["encoder_name"],
        network=options,
        chip_size=512,
        overlap=64,
        units="reflectance",
        value_scale=0.0001,
        gsd=30.0,
        temperatures={tta: measured[key]["least_miscalibration"]["temperature"] for tta, key in TTA.items()},
        trained_on=(
            "Ag-Net sample data set: one Landsat 8 scene, North Dakota, 2015-09-02, labels grouped from CDL "
            f"2015; 10.8 million labelled pixels of the training blocks, {training['epochs']:.0f} times"
        ),
        license="Apache-2.0",
        citation=CITATION,
        metrics={"split": SPLIT}
        | scores(measured["plain"])
        | {"with d4 test-time augmentation": scores(measured["d4"])},
        baseline={"method": baseline["method"]} | overall(baseline),
        trust=TRUST,
    )


def main() -> None:
    """Write the package."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("trained", type=Path)
    parser.add_argument("package", type=Path)
    arguments = parser.parse_args()
    options = read(arguments.trained, "architecture.json")
    network = getattr(smp, options.pop("arch"))(**options)
    network.load_state_dict(load_file(arguments.trained / "model.safetensors"))
    card = make_card(arguments.data, arguments.trained)
    save_model(arguments.package, card, network.eval(), precision="fp16")
    print(f"{arguments.package}: {sum(f.stat().st_size for f in arguments.package.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
