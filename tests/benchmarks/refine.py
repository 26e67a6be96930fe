"""How long refine steps take, in seconds a megapixel, and against GDAL's sieve in the same run.

    python tests/benchmarks/refine.py [--side 4096] [--classes 9] [--least 50]

Seconds are processor time of this process, so that a busy machine does not distort them much; everything runs
on one thread. The map is made of fields with speckle; ``noisy`` has speckle everywhere.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import rasterio.features
import scipy.ndimage as ndimage

from geoseg.refine.holes import FillHoles
from geoseg.refine.sieve import Sieve
from geoseg.refine.survey import PatchSize
from geoseg.refine.windows import Close, Open, Smooth

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.refine.arrays import refine_array

NODATA = 255


def make_map(side: int, classes: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A class map and its probabilities: smooth landscapes of scores plus fine noise."""
    random = np.random.default_rng(0)
    scores = np.empty((classes, side, side), np.float32)
    for score in scores:
        coarse = random.normal(size=(side // 64 + 2, side // 64 + 2)).astype(np.float32)
        score[:] = ndimage.zoom(coarse, 64, order=1)[:side, :side]
        np.add(score, noise * ndimage.gaussian_filter(random.normal(size=(side, side)), 1), out=score)
    winner = scores.argmax(0).astype(np.uint8) + 1
    probabilities = np.empty(scores.shape, np.uint8)
    np.exp(scores, out=scores)
    total = scores.sum(0)
    for score, band in zip(scores, probabilities, strict=True):
        band[:] = np.rint(score / total * 250)
    winner[: side // 8, : side // 8] = NODATA
    probabilities[:, winner == NODATA] = NODATA
    return winner, probabilities


def spent(work: Callable[[], object]) -> float:
    """Seconds of processor time, the least of two."""
    taken = []
    for _ in range(2):
        began = process_time()
        work()
        taken.append(process_time() - began)
    return min(taken)


def say(text: str) -> None:
    """Print one line now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure all steps on two maps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--classes", type=int, default=9)
    parser.add_argument("--least", type=int, default=50)
    options = parser.parse_args()
    size = PatchSize(options.least)
    bands = tuple(range(1, options.classes + 1))
    steps = {
        "sieve": Sieve(size),
        "sieve by probability": Sieve(size, bands),
        "fill holes": FillHoles(size),
        "smooth 3": Smooth(3),
        "smooth 9": Smooth(9),
        "open 3": Open(1, 3),
        "close 3": Close(1, 3),
    }
    for name, noise in (("fields", 0.6), ("noisy", 2.0)):
        classes, probabilities = make_map(options.side, options.classes, noise)
        megapixels = classes.size / 1e6
        sieve = Sieve(size)
        patches = np.count_nonzero(refine_array(classes, [sieve]) != classes) / classes.size
        say(
            f"{name}: {options.side} x {options.side}, {options.classes} classes, the sieve changes {patches:.1%}"
        )
        gdal = spent(
            lambda classes=classes: rasterio.features.sieve(
                classes, options.least, mask=classes != NODATA, connectivity=4
            )
        )
        say(f"  {'rasterio.features.sieve':24}{gdal / megapixels:8.4f} s/Mpx")
        for title, step in steps.items():
            seconds = spent(
                lambda step=step, classes=classes, likely=probabilities: refine_array(classes, [step], likely)
            )
            say(f"  {title:24}{seconds / megapixels:8.4f} s/Mpx {seconds / gdal:6.2f} x")
    say(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, the maps themselves included"
    )


if __name__ == "__main__":
    main()
