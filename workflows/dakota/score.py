"""Calibrate a trained network on the validation blocks and score it once on the test blocks.

Writes metrics.json beside the weights: plain, with d4 test-time augmentation, calibration before and after,
and the scores at other chip sizes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from blend import ChipGrid, ChipLogits, blend, chip_logits
from dakota import CLASSES, SPLIT_FILE, Scene, load_scene, load_split
from metrics import calibration_error, confusion, summarise
from numpy.typing import NDArray
from safetensors.torch import load_file

CHIP_SIZE, OVERLAP = 512, 64


def load_network(folder: Path) -> torch.nn.Module:
    """Build the network that train.py saved, with its weights rounded to fp16 as a package stores them."""
    network = smp.create_model(**json.loads((folder / "architecture.json").read_text()))
    state = load_file(folder / "model.safetensors")
    network.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in state.items()})
    return network.to(memory_format=torch.channels_last).eval()


def surprise(blended: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the labels."""
    chosen = blended[np.arange(truth.size), truth]
    return float(-np.log(np.maximum(chosen, 1e-7)).mean())


def miscalibration(blended: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Calibration error of the confidence, which is what a map shows."""
    return calibration_error(np.clip(blended.max(axis=1), 0, 1), blended.argmax(axis=1) == truth)


def fit_temperature(
    blended: Callable[[float], NDArray[np.float32]],
    truth: NDArray[np.int64],
    measure: Callable[[NDArray[np.float32], NDArray[np.int64]], float],
) -> float:
    """Temperature on the chips' logits at which the blended probabilities have the least `measure`.

    One number is sought, so golden-section search on its logarithm is enough and needs no gradient through
    the blending.

    Args:
        blended: temperature -> blended probabilities (pixels, classes).
        truth: class index of each pixel.
        measure: what to make small, of probabilities and truth.
    """

    def cost(log_temperature: float) -> float:
        return measure(blended(float(np.exp(log_temperature))), truth)

    ratio = (np.sqrt(5) - 1) / 2
    low, high = np.log(0.5), np.log(2.0)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    cost_left, cost_right = cost(left), cost(right)
    while high - low > 0.01:
        if cost_left < cost_right:
            high, right, cost_right = right, left, cost_left
            left = high - ratio * (high - low)
            cost_left = cost(left)
        else:
            low, left, cost_left = left, right, cost_right
            right = low + ratio * (high - low)
            cost_right = cost(right)
    return round(float(np.exp((low + high) / 2)), 4)


class Judge:
    """A network and the scene it is judged on."""

    def __init__(self, network: torch.nn.Module, scene: Scene, norm: dict[str, Any]) -> None:
        self.network, self.scene, self.norm = network, scene, norm

    def chips(
        self, wanted: NDArray[np.bool_], size: int, overlap: int, view_count: int = 1
    ) -> tuple[ChipGrid, list[ChipLogits]]:
        """The grid of chips and the logits of those that hold wanted pixels."""
        grid = ChipGrid(wanted.shape, size, overlap)
        mean, std = self.norm["mean"], self.norm["std"]
        return grid, list(chip_logits(self.network, self.scene, wanted, grid, mean, std, view_count))

    def figures(self, blended: NDArray[np.float32], wanted: NDArray[np.bool_]) -> dict[str, Any]:
        """Scores of blended probabilities (pixels, classes) of the wanted pixels."""
        labels = self.scene.labels[wanted]
        predicted = (blended.argmax(axis=1) + 1).astype(np.uint8)
        confidence = np.clip(blended.max(axis=1), 0, 1)
        error = calibration_error(confidence, predicted == labels)
        return {**summarise(confusion(labels, predicted)), "ece": round(error, 4)}


def calibrated(judge: Judge, parts: dict[str, NDArray[np.bool_]], view_count: int) -> dict[str, Any]:
    """Temperatures fitted on the validation blocks; figures without them and with them."""
    chips = {part: judge.chips(where, CHIP_SIZE, OVERLAP, view_count) for part, where in parts.items()}
    truth = judge.scene.labels[parts["validation"]].astype(np.int64) - 1

    def blended(part: str, temperature: float = 1.0) -> NDArray[np.float32]:
        grid, found = chips[part]
        return blend(found, grid, parts[part], len(CLASSES), temperature)

    result: dict[str, Any] = {part: judge.figures(blended(part), where) for part, where in parts.items()}
    for measure in (surprise, miscalibration):
        temperature = fit_temperature(lambda t: blended("validation", t), truth, measure)
        result[f"least_{measure.__name__}"] = {"temperature": temperature} | {
            f"{part}_ece": judge.figures(blended(part, temperature), where)["ece"]
            for part, where in parts.items()
        }
    return result


def main() -> None:
    """Score the network in a folder and write metrics.json into it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with scene.tif and classes.tif")
    parser.add_argument("model", type=Path, help="folder that train.py wrote")
    parser.add_argument("--split", type=Path, default=SPLIT_FILE)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    scene, split = load_scene(args.data), load_split(args.split)
    norm = json.loads((args.model / "normalisation.json").read_text())
    parts = {
        part: split.mask(part, scene.labels.shape) & (scene.labels > 0) for part in ("validation", "test")
    }
    judge = Judge(load_network(args.model), scene, norm)
    result = {"chip_size": CHIP_SIZE, "overlap": OVERLAP, "plain": calibrated(judge, parts, 1)}
    result["chip_sizes"] = {}
    for size in (256, 1024):
        grid, chips = judge.chips(parts["test"], size, OVERLAP)
        scores = judge.figures(blend(chips, grid, parts["test"], len(CLASSES)), parts["test"])
        result["chip_sizes"][size] = {key: scores[key] for key in ("accuracy", "miou", "ece")}
    (args.model / "metrics.json").write_text(json.dumps(result, indent=1) + "\n")
    result["d4"] = calibrated(judge, parts, 8)
    (args.model / "metrics.json").write_text(json.dumps(result, indent=1) + "\n")
    for name in ("plain", "d4"):
        test = result[name]["test"]
        print(f"{name}: accuracy {test['accuracy']}, mIoU {test['miou']}, ECE {test['ece']}")
        print(result[name]["least_surprise"], result[name]["least_miscalibration"])


if __name__ == "__main__":
    main()
