"""Train several networks on the same chips of one fold, and lay their scores side by side.

    python workflows/dakota/compare.py DATA OUT                  # all of networks.toml
    python workflows/dakota/compare.py DATA OUT "fpn, resnet18"  # some

DATA holds scene.tif and classes.tif. Every network gets the recipe of crops.toml with the default
augmentation, the same number of chips and the same validation fold; no weights are downloaded. What is
finished is not trained again, so the comparison can be interrupted. The scores are those of the blended map
of the fold, of the averaged weights of the last step: nothing was chosen on the fold. Speed is for each
second of processor time, so that it can be measured on a machine that is not idle.
"""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
import tomli_w

import geoseg
from geoseg.inference.backends.device import resolve_precision
from geoseg.inference.backends.torch_ import TorchBackend
from geoseg.models import Model, load_card

HERE = Path(__file__).parent
PER_EPOCH = 6144


def recipe_for(network: dict[str, Any], data: Path, chips: int) -> dict[str, Any]:
    """The bundled model's recipe with another network and a smaller number of chips."""
    recipe = tomllib.loads((HERE / "crops.toml").read_text(encoding="utf-8"))
    for key in ("scenes", "labels"):
        recipe[key] = [str(data.absolute() / name) for name in recipe[key]]
    del recipe["augment"]
    changes = dict(network)
    rate = changes.pop("rate", None)
    for key in ("architecture", "encoder", "options"):
        recipe["model"].pop(key, None)
    recipe["model"] |= changes
    recipe["chips"]["per_epoch"] = PER_EPOCH
    recipe["run"]["epochs"] = max(1, chips // PER_EPOCH)
    if rate is not None:
        recipe["run"]["rate"] = rate
    return recipe


def speed(model: Model, seconds: float = 10.0) -> float:
    """Measure megapixels a second of processor time, of inferences alone on one thread."""
    backend = TorchBackend(model.network, precision=resolve_precision("auto", "cpu"))
    backend.prepare_thread()
    chip = np.random.default_rng(0).normal(
        size=(1, len(model.card.bands), model.card.chip_size, model.card.chip_size)
    )
    chips = chip.astype(np.float32)
    backend.probabilities(chips)
    since, inferences = thread_time(), 0
    while thread_time() - since < seconds:
        backend.probabilities(chips)
        inferences += 1
    return inferences * model.card.chip_size**2 / 1e6 / (thread_time() - since)


def train(name: str, network: dict[str, Any], data: Path, output: Path, chips: int) -> Path:
    """Train one network, unless it is finished; returns its package."""
    folder = output / "".join(c if c.isalnum() else "-" for c in name).replace("--", "-")
    recipe = folder.with_suffix(".toml")
    recipe.write_text(tomli_w.dumps(recipe_for(network, data, chips)), encoding="utf-8")
    return geoseg.train(recipe, folder, resume=True).model


def row(name: str, package: Path) -> dict[str, Any]:
    """What is known of a trained network."""
    model = geoseg.load_model(package)
    metrics = load_card(package).metrics
    return {
        "network": name,
        "accuracy": metrics["accuracy"],
        "miou": metrics["miou"],
        "iou": metrics["iou"],
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "megabytes": os.path.getsize(package / "model.safetensors") / 1e6,
        "megapixels_per_second": speed(model),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, the best mean IoU first."""
    classes = list(rows[0]["iou"])
    heads = ["network", "accuracy", "mIoU", *classes, "M parameters", "MB", "Mpx/s"]
    lines = [" | ".join(heads), " | ".join(["---"] * len(heads))]
    for one in sorted(rows, key=lambda one: -one["miou"]):
        ious = ["-" if one["iou"][name] is None else f"{one['iou'][name]:.2f}" for name in classes]
        size = [f"{one['parameters'] / 1e6:.1f}", f"{one['megabytes']:.1f}"]
        figures = [f"{one['accuracy']:.3f}", f"{one['miou']:.3f}", *ious, *size]
        lines.append(" | ".join([one["network"], *figures, f"{one['megapixels_per_second']:.2f}"]))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    """Parse the command line, train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with scene.tif and classes.tif")
    parser.add_argument("output", type=Path, help="folder for recipes, packages and compare.json")
    parser.add_argument("names", nargs="*", help="networks of networks.toml; default all")
    parser.add_argument("--chips", type=int, default=5 * PER_EPOCH, help="chips each network sees")
    args = parser.parse_args()
    networks = tomllib.loads((HERE / "networks.toml").read_text(encoding="utf-8"))
    args.output.mkdir(parents=True, exist_ok=True)
    packages = {}
    for name in args.names or networks:
        print(f"training {name}", flush=True)
        packages[name] = train(name, networks[name], args.data, args.output, args.chips)
    rows = [row(name, package) for name, package in packages.items()]
    (args.output / "compare.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
