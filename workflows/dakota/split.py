"""Choose training, validation and test blocks of the dakota scene and write split.json.

Fields cross the borders of the scene's tiles, so whole blocks are held out. Of a fixed sequence of random
draws the first is taken in which every class has a fair share in every part.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
from dakota import CLASSES, SPLIT_FILE, load_scene
from numpy.typing import NDArray

BLOCK_SIZE = 1024
BUFFER = 32  # pixels, 960 m: wider than a quarter section (805 m), the common field here
TEST_SHARE = (0.21, 0.25)
VALIDATION_SHARE = (0.07, 0.09)


def count_classes(labels: NDArray[np.uint8], size: int) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Labelled pixels of each class in each block that has any: (row, column) -> (9,) counts."""
    counts = {}
    for row in range(0, labels.shape[0], size):
        for col in range(0, labels.shape[1], size):
            block = np.bincount(labels[row : row + size, col : col + size].ravel(), minlength=10)[1:10]
            if block.sum():
                counts[row // size, col // size] = block
    return counts


def is_fair(
    part: NDArray[np.int64], total: NDArray[np.int64], share: tuple[float, float], slack: float
) -> bool:
    """Whether a part has its share of all labels and of each class, the latter within a factor `slack`."""
    whole = part.sum() / total.sum()
    each = part / total / whole
    return bool(share[0] <= whole <= share[1] and each.min() >= 1 / slack and each.max() <= slack)


def draw(counts: dict[tuple[int, int], NDArray[np.int64]], seed: int) -> dict[str, list[tuple[int, int]]]:
    """The first random division of the blocks that is fair, from the sequence that `seed` starts.

    Raises:
        RuntimeError: if none of the first 200,000 draws is.
    """
    rng = np.random.default_rng(seed)
    names = list(counts)
    table = np.array([counts[name] for name in names])
    total = table.sum(axis=0)
    for _ in range(200_000):
        order = rng.permutation(len(names))
        running = table[order].sum(axis=1).cumsum() / total.sum()
        first = int(np.searchsorted(running, np.mean(TEST_SHARE)))
        second = int(np.searchsorted(running, np.mean(TEST_SHARE) + np.mean(VALIDATION_SHARE)))
        test, validation = order[:first], order[first:second]
        if not is_fair(table[test].sum(axis=0), total, TEST_SHARE, 1.5):
            continue
        if is_fair(table[validation].sum(axis=0), total, VALIDATION_SHARE, 2.5):
            parts = {"train": order[second:], "validation": validation, "test": test}
            return {part: sorted(names[i] for i in chosen) for part, chosen in parts.items()}
    raise RuntimeError("no fair division found; widen the shares or the slack")


def main() -> None:
    """Write split.json beside this script, or where --output says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with scene.tif and classes.tif")
    parser.add_argument("--seed", type=int, default=2015)
    parser.add_argument("--output", type=Path, default=SPLIT_FILE)
    args = parser.parse_args()
    counts = count_classes(load_scene(args.data).labels, BLOCK_SIZE)
    blocks = draw(counts, args.seed)
    pixels = {
        part: dict(zip(CLASSES.values(), np.sum([counts[b] for b in chosen], axis=0).tolist(), strict=True))
        for part, chosen in blocks.items()
    }
    content = {"block_size": BLOCK_SIZE, "buffer": BUFFER, "seed": args.seed, "blocks": blocks}
    content["labelled_pixels"] = {part: {**each, "all": sum(each.values())} for part, each in pixels.items()}
    text = re.sub(r"\[\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2]", json.dumps(content, indent=1))  # a block a line
    args.output.write_text(text + "\n")
    print(json.dumps(content["labelled_pixels"], indent=1))


if __name__ == "__main__":
    main()
