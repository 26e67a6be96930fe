"""Measure world models on the folds that they were not trained on, beside per-pixel gradient boosting.

    python workflows/world/measure.py DATA RUN... [--boosting] [--points] [--json OUT.json]

Each RUN was made by ``train.py --fold N``; the folds' pixels are pooled. Intervals are 95 %, from a
bootstrap over places. ``--boosting`` trains trees on the bands of each pixel of the same folds;
``--points`` measures crop or not on the African points, where a run's recipe held out their region, beside
trees trained on the other regions.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ground
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from torch import Tensor
from train import Norm, as_chips, crop_log_odds

from geoseg.models.networks import build_network

COUNT = len(ground.CLASSES)
_DRAWS, _BINS, _TRAINING_PIXELS = 1000, 15, 400_000


class Run:
    """A trained network.

    Args:
        folder: What ``train.py`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        with safe_open(folder / "network.safetensors", "pt") as file:
            facts = file.metadata()
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        self.folder, self.fold = folder, ast.literal_eval(facts["fold"])
        self.recipe: Mapping[str, Any] = ast.literal_eval(facts["recipe"])
        self.norm = Norm(weights.pop("norm.mean"), weights.pop("norm.std"))
        widths = list(self.recipe["widths"])
        self.network = build_network(
            "unet-classic", bands=self.recipe["bands"], classes=COUNT, depth=len(widths) - 1, width=widths
        )
        self.network.load_state_dict(weights)
        self.network.eval()

    @torch.inference_mode()
    def logits(self, values: Tensor) -> Tensor:
        """Compute logits of reflectance (N, bands, rows, columns)."""
        return torch.cat([self.network(self.norm.apply(part)) for part in values.split(16)])


def confusion(truth: NDArray[np.int64], guess: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count (truth, guess) where the truth is known."""
    known = truth >= 0
    return np.bincount(truth[known] * COUNT + guess[known], minlength=COUNT**2).reshape(COUNT, COUNT)


def figures(matrix: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, mean IoU of the common classes, and the IoU of every class that occurs."""
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    iou = hits / np.maximum(union, 1)
    common = [number - 1 for number in ground.COMMON]
    found = {"accuracy": float(hits.sum() / matrix.sum()), "miou": float(iou[common].mean())}
    return found | {ground.CLASSES[i + 1][0]: float(iou[i]) for i in range(COUNT) if matrix[i].any()}


def with_intervals(matrices: Mapping[int, NDArray[np.int64]]) -> dict[str, list[float]]:
    """Figures over all places, each as [value, low, high]."""
    stack = np.stack(list(matrices.values()))
    rng = np.random.default_rng(0)
    drawn = [figures(stack[rng.integers(len(stack), size=len(stack))].sum(0)) for _ in range(_DRAWS)]
    return {
        name: [value, *np.nanpercentile([each.get(name, np.nan) for each in drawn], (2.5, 97.5))]
        for name, value in figures(stack.sum(0)).items()
    }


def by_place(
    patches: ground.Patches, numbers: Iterable[int], guesses: NDArray[np.int64]
) -> dict[int, NDArray[np.int64]]:
    """Confusion by place."""
    found: dict[int, NDArray[np.int64]] = {}
    for number, guess in zip(numbers, guesses, strict=True):
        place = int(patches.place[number])
        found[place] = found.get(place, 0) + confusion(patches.labels[number].ravel(), guess.ravel())
    return found


def calibration_error(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Expected calibration error of the highest of (patches, classes, rows, columns), over 15 bins."""
    known = labels >= 0
    sure = probabilities.max(1)[known]
    right = probabilities.argmax(1)[known] == labels[known]
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, right - sure.astype(np.float64), minlength=_BINS)
    return float(np.abs(gaps).sum() / known.sum())


def boosting(patches: ground.Patches, fold: int) -> NDArray[np.int64]:
    """Class indices of a fold by trees that see one pixel and nothing around it."""
    pixels = patches.values[patches.training(fold)].transpose(0, 2, 3, 1).reshape(-1, len(ground.BANDS))
    labels = patches.labels[patches.training(fold)].ravel()
    known = np.flatnonzero(labels >= 0)
    drawn = np.random.default_rng(fold).choice(known, min(_TRAINING_PIXELS, known.size), replace=False)
    trees = HistGradientBoostingClassifier(
        max_iter=120, max_leaf_nodes=63, l2_regularization=1.0, early_stopping=False, random_state=0
    ).fit(pixels[drawn], labels[drawn])
    held_out = patches.values[patches.held_out(fold)]
    guess = trees.predict(held_out.transpose(0, 2, 3, 1).reshape(-1, len(ground.BANDS)))
    return guess.reshape(held_out.shape[0], *held_out.shape[2:])


def crop_auc(run: Run, points: ground.Points) -> list[float]:
    """Area under the ROC curve of cropland for each season."""
    seasons = range(points.values.shape[1])
    odds = [
        crop_log_odds(run.logits(as_chips(torch.from_numpy(points.values[:, season])))) for season in seasons
    ]
    middle = odds[0].shape[-1] // 2
    return [float(roc_auc_score(points.crop, each[:, middle, middle])) for each in odds]


def boosting_auc(data: Path, region: str) -> list[float]:
    """The same by trees trained on the other regions, season by season."""
    others = [ground.read_points(data, name) for name in ground.REGIONS if name != region]
    values, crop = (np.concatenate([getattr(each, key) for each in others]) for key in ("values", "crop"))
    own, found = ground.read_points(data, region), []
    for season in range(values.shape[1]):
        trees = HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(values[:, season], crop)
        found.append(float(roc_auc_score(own.crop, trees.predict_proba(own.values[:, season])[:, 1])))
    return found


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--boosting", action="store_true")
    parser.add_argument("--points", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    patches = ground.read_patches(options.data)
    network: dict[int, Any] = {}
    trees: dict[int, Any] = {}
    found: dict[str, Any] = {"folds": {}, "calibration_error": {}, "points": {}}
    for run in map(Run, options.runs):
        if run.fold is not None:
            numbers = patches.held_out(run.fold)
            shown = run.logits(torch.from_numpy(patches.values[numbers])).softmax(1).numpy()
            own = by_place(patches, numbers, shown.argmax(1))
            network |= own
            found["folds"][run.fold] = figures(sum(own.values()))
            found["calibration_error"][run.fold] = calibration_error(shown, patches.labels[numbers])
            if options.boosting:
                trees |= by_place(patches, numbers, boosting(patches, run.fold))
        if options.points:
            for region in run.recipe["without"] or (ground.REGIONS if not run.recipe["points"] else ()):
                points = ground.read_points(options.data, region)
                found["points"][region] = {
                    "network": crop_auc(run, points),
                    "boosting": boosting_auc(options.data, region),
                }
    for name, matrices in (("network", network), ("boosting", trees)):
        if matrices:
            found[name] = with_intervals(matrices)
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
