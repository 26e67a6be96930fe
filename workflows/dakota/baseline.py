"""Score a per-pixel classifier on the test blocks: what a network has to beat.

Gradient-boosted trees see the six bands of one pixel and nothing around it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from dakota import SCALE, load_scene, load_split
from metrics import confusion, summarise
from sklearn.ensemble import HistGradientBoostingClassifier


def main() -> None:
    """Fit on training blocks, score on test blocks, write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with scene.tif and classes.tif")
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--pixels", type=int, default=1_000_000, help="training pixels, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    scene, split = load_scene(args.data), load_split()
    shape = scene.labels.shape
    rng = np.random.default_rng(args.seed)
    candidates = np.flatnonzero((scene.labels > 0) & split.mask("train", shape) & split.training_mask(shape))
    chosen = rng.choice(candidates, min(args.pixels, candidates.size), replace=False)
    table = scene.image.reshape(scene.image.shape[0], -1)

    start = time.perf_counter()
    trees = HistGradientBoostingClassifier(
        max_iter=200, max_leaf_nodes=63, learning_rate=0.1, l2_regularization=1.0, random_state=args.seed
    )
    trees.fit(table[:, chosen].T * np.float32(SCALE), scene.labels.ravel()[chosen])
    tested = np.flatnonzero((scene.labels > 0) & split.mask("test", shape))
    predicted = trees.predict(table[:, tested].T * np.float32(SCALE))
    result = {
        "method": "scikit-learn HistGradientBoostingClassifier on the six bands of each pixel",
        "training_pixels": int(chosen.size),
        "iterations": int(trees.n_iter_),
        "seconds": round(time.perf_counter() - start),
        **summarise(confusion(scene.labels.ravel()[tested], predicted)),
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("accuracy", "miou", "seconds")}))


if __name__ == "__main__":
    main()
