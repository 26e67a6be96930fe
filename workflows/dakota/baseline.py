"""Cross-validate a per-pixel classifier on the folds of a recipe: what a network has to beat.

    python workflows/dakota/baseline.py RECIPE.toml [--into PACKAGE]

Gradient-boosted trees see the bands of one pixel and nothing around it. They get the same folds, buffers and
labels as ``geoseg train RECIPE.toml --cross-validate``. With ``--into`` the figures go into the card of a
trained package, where ``geoseg models show`` prints them beside the network's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from geoseg.assess.scores import score
from geoseg.classes import IGNORE
from geoseg.grid import Window
from geoseg.models import load_model, save_model
from geoseg.training.ground.labelled_scene import LabelledScene
from geoseg.training.prepare import TrainingData, open_training_data
from geoseg.training.recipe.recipe import load_recipe

METHOD = "scikit-learn HistGradientBoostingClassifier on the bands of each pixel"
Pixels = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Values (pixels, bands) and class indices (pixels,)."""


def labelled(scene: LabelledScene, mask: Callable[[Window], NDArray[np.bool_]]) -> Iterator[Pixels]:
    """The labelled, valid pixels of a scene where a mask is True, window by window."""
    for window in scene.windows():
        labels = scene.read_labels(window)
        chosen = (labels != IGNORE) & mask(window)
        if chosen.any():
            values, valid = scene.image.read(window)
            chosen &= valid
            yield values[:, chosen].T, labels[chosen]


def train_pixels(data: TrainingData, fold: int, share: float, rng: np.random.Generator) -> Pixels:
    """A random share of what trains when a fold is held out."""
    split, parts = data.split.holding_out(fold), []
    for number, scene in enumerate(data.scenes):
        for values, labels in labelled(scene, lambda window, number=number: split.trains(number, window)):  # type: ignore[misc]
            drawn = rng.random(len(labels)) < share
            parts.append((values[drawn], labels[drawn]))
    return np.concatenate([v for v, _ in parts]), np.concatenate([c for _, c in parts])


def held_out_pixels(data: TrainingData, fold: int) -> Iterator[Pixels]:
    """All labelled pixels of a fold."""
    for region in data.split.of(fold):
        scene = data.scenes[region.scene]
        yield from labelled(scene, lambda window, region=region: region.mask(window, 0))  # type: ignore[misc]


def cross_validate(data: TrainingData, pixels: int, seed: int) -> dict[str, Any]:
    """Confusion over all folds, each predicted by trees that did not see it."""
    classes = len(data.recipe.classes)
    matrix = np.zeros((classes, classes), np.int64)
    total = sum(int(cells.classes.sum()) for cells in data.all_cells)
    for fold in data.split.folds:
        values, labels = train_pixels(data, fold, pixels / total, np.random.default_rng((seed, fold)))
        trees = HistGradientBoostingClassifier(
            max_iter=200, max_leaf_nodes=63, learning_rate=0.1, l2_regularization=1.0, random_state=seed
        )
        trees.fit(values, labels)
        for seen, truth in held_out_pixels(data, fold):
            joint = truth.astype(np.int64) * classes + trees.predict(seen)
            matrix += np.bincount(joint, minlength=classes**2).reshape(classes, classes)
        print(
            f"fold {fold}: {len(labels)} pixels trained, accuracy so far {score(matrix).accuracy:.4f}",
            flush=True,
        )
    found = score(matrix)
    names = [one.name for one in data.recipe.classes]
    return {
        "method": METHOD,
        "split": f"{len(data.split.folds)}-fold cross-validation over the same blocks",
        "pixels": int(matrix.sum()),
        "accuracy": float(found.accuracy),
        "miou": float(found.miou),
        "iou": {name: float(value) for name, value in zip(names, found.iou, strict=True)},
    }


def main() -> None:
    """Cross-validate, print, and write into a card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--into", type=Path, metavar="PACKAGE", help="trained package that gets the figures")
    parser.add_argument("--pixels", type=int, default=1_000_000, help="training pixels, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = cross_validate(open_training_data(load_recipe(args.recipe)), args.pixels, args.seed)
    print(json.dumps(found, indent=1))
    if args.into is not None:
        model = load_model(args.into)
        card = replace(model.card, baseline=found)
        save_model(args.into, card, model.network, precision="fp16")


if __name__ == "__main__":
    main()
