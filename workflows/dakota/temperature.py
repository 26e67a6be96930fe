"""What should be made least to choose a temperature? Fit on half of the held-out blocks, measure on the rest.

Prints, for each measure of the blended confidence, the expected calibration error on the blocks that were not
fitted on (mean and worst of all halves) and the temperature that it chose.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from dakota import load_split
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.inference.blend import SUM_ONE
from geoseg.models import load_model
from geoseg.run.held_out_sample import draw_sample
from geoseg.scene import open_scene
from geoseg.scene.labels import open_labels
from geoseg.training.calibrate import Sample
from geoseg.training.ground import Ground, count_labels
from geoseg.training.regions import Region

TEMPERATURES = np.exp(np.linspace(np.log(0.5), np.log(2.0), 61))
BINS, FINE_BINS, BANDWIDTH = 15, 200, 0.05
Floats = NDArray[np.float64]


def binned(top: Floats, right: Floats, bins: int) -> tuple[Floats, Floats]:
    """Pixels of each bin of confidence, and the sum of confidence less accuracy over them."""
    which = np.minimum((top * bins).astype(int), bins - 1)
    return np.bincount(which, minlength=bins).astype(float), np.bincount(which, top - right, bins)


def expected_error(top: Floats, right: Floats) -> float:
    """Expected calibration error, as a map shows it: of whole percent."""
    _, gaps = binned(np.floor(top * 100 + 0.5) / 100, right, BINS)
    return float(np.abs(gaps).sum() / top.size)


def squared_error(top: Floats, right: Floats) -> float:
    """Root mean squared gap of the bins, which geoseg uses."""
    pixels, gaps = binned(top, right, BINS)
    return float(np.sqrt((gaps**2 / np.maximum(pixels, 1)).sum() / top.size))


def smooth_error(top: Floats, right: Floats) -> float:
    """Gaussian smoothing instead of bins, at a fixed bandwidth (after Blasiok and Nakkiran 2023)."""
    _, gaps = binned(top, right, FINE_BINS)
    middle = (np.arange(FINE_BINS) + 0.5) / FINE_BINS
    kernel = np.exp(-0.5 * ((middle[:, None] - middle) / BANDWIDTH) ** 2)
    return float(np.abs(kernel / kernel.sum(axis=0) @ gaps).sum() / top.size)


def mean_gap(top: Floats, right: Floats) -> float:
    """Gap between mean confidence and accuracy."""
    return float(abs((top - right).mean()))


OF_CONFIDENCE: dict[str, Callable[[Floats, Floats], float]] = {
    "root mean square gap": squared_error,
    "expected calibration error": expected_error,
    "smoothed calibration error": smooth_error,
    "gap of the means": mean_gap,
}


class Block:
    """What the network says of one block at every temperature: confidence, whether right, and two scores."""

    def __init__(self, sample: Sample) -> None:
        self.size = sample.labels.size
        self.tops, self.rights, self.surprise, self.brier = [], [], [], []
        for temperature in TEMPERATURES:
            shares = sample.blend(float(temperature)) / SUM_ONE
            likely = shares[sample.labels, np.arange(self.size)]
            self.tops.append(shares.max(axis=0))
            self.rights.append((shares.argmax(axis=0) == sample.labels).astype(float))
            self.surprise.append(-np.log(np.maximum(likely, 1e-6)).sum())
            self.brier.append(((shares**2).sum(axis=0) - 2 * likely + 1).sum())

    def at(self, step: int) -> tuple[Floats, Floats]:
        """Confidence and whether right at one temperature."""
        return self.tops[step], self.rights[step]


def read_blocks(data: Path, model: str, tta: str) -> list[Block]:
    """Run the model on the validation and test blocks."""
    loaded, split = load_model(model), load_split()
    scene = open_scene(data / "scene.tif").select(range(1, 7), invalid_where="all")
    labels = open_labels(data / "classes.tif", scene, loaded.classes)
    ground = Ground(scene, labels, tuple(item.id for item in loaded.classes))
    cells, side, blocks = count_labels(ground), split.block_size, []
    for seed, (row, col) in enumerate([*split.blocks["validation"], *split.blocks["test"]]):
        window = Window(row * side, col * side, side, side).intersection(Window.from_shape(ground.shape))
        assert window is not None  # the split was made of this scene
        region = Region(0, 0, window)
        blocks.append(
            Block(draw_sample(loaded, [ground], [cells], [region], tta, device="cpu", seed=seed, share=0.04))
        )
    return blocks


def compare(blocks: list[Block], halves: int) -> dict[str, list[tuple[float, float]]]:
    """Error on the other half and temperature, for each measure and halving."""
    rng = np.random.default_rng(0)
    found: dict[str, list[tuple[float, float]]] = {}
    steps = range(len(TEMPERATURES))
    for _ in range(halves):
        order = [blocks[i] for i in rng.permutation(len(blocks))]
        fit, test = order[: len(order) // 2], order[len(order) // 2 :]

        def joined(part: list[Block], step: int) -> tuple[Floats, Floats]:
            tops, rights = zip(*(block.at(step) for block in part), strict=True)
            return np.concatenate(tops), np.concatenate(rights)

        costs = {name: [m(*joined(fit, step)) for step in steps] for name, m in OF_CONFIDENCE.items()}
        costs["Brier score"] = [sum(block.brier[step] for block in fit) for step in steps]
        costs["negative log-likelihood"] = [sum(block.surprise[step] for block in fit) for step in steps]
        errors = [expected_error(*joined(test, step)) for step in steps]
        costs |= {"not fitted": list(np.abs(np.log(TEMPERATURES))), "best in hindsight": errors}
        for name, cost in costs.items():
            best = int(np.argmin(cost))
            found.setdefault(name, []).append((errors[best], float(TEMPERATURES[best])))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with scene.tif and classes.tif")
    parser.add_argument("--model", default="dakota-crops")
    parser.add_argument("--tta", default="none", choices=("none", "flips", "d4"))
    parser.add_argument("--halves", type=int, default=40)
    args = parser.parse_args()
    blocks = read_blocks(args.data, args.model, args.tta)
    print(f"{len(blocks)} blocks, {sum(block.size for block in blocks)} pixels")
    for name, pairs in compare(blocks, args.halves).items():
        errors, chosen = np.array(pairs).T
        print(
            f"{name:28} error {errors.mean():.4f}, worst {errors.max():.4f}; temperature "
            f"{chosen.mean():.3f} +- {chosen.std():.3f}"
        )


if __name__ == "__main__":
    main()
