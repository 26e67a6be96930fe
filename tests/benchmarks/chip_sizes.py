"""Which chip size suits a model: how near its map comes to one forward of a whole scene, and how fast it is.

    python tests/benchmarks/chip_sizes.py [--size 4096] [--sides 512 1024 2048] [--model NAME] [--rounds 1]

The reference is a map made with one chip as large as the scene, in fp32 by OpenVINO: it needs some 9 GB at 4096.
Speed is that of the inferences alone, two in flight, in megapixels of the scene a second: what larger chips gain
by computing less overlap is in it. Agreement is the share of pixels with the reference's class.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from floor import alone_elsewhere
from turns import GEOSEG, ROOT, make_scene, run_command

sys.path.insert(0, str(ROOT))

VARIANTS = (("openvino", "fp32"), ("openvino", "bf16"), ("torch", "bf16"))


def draw(scene: Path, model: str, backend: str, precision: str, side: int, overlap: int, path: Path) -> int:
    """Map the scene; the bytes that took at most."""
    options = ["--model", model, "--backend", backend, "--precision", precision, "--overwrite", "--quiet"]
    chips = ["--chip-size", str(side), "--overlap", str(overlap)]
    return run_command([*GEOSEG, "predict", str(scene), "-o", str(path), *options, *chips]).peak


def same(one: Path, other: Path) -> float:
    """Share of pixels that two class maps agree on."""
    import rasterio

    with rasterio.open(one) as first, rasterio.open(other) as second:
        return float((first.read(1) == second.read(1)).mean())


def main() -> None:
    """Map, compare, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--overlap", type=int, default=64)
    parser.add_argument("--model", default="dakota-crops")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--scene", type=Path, help="a scene of your own, at most --size a side")
    parser.add_argument("--folder", type=Path, help="where scenes are kept; default a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="geoseg-chips-") as name:
        folder = Path(name)
        scene = given.scene or make_scene(given.folder or folder, given.size)
        whole = folder / "whole.tif"
        peak = draw(scene, given.model, "openvino", "fp32", given.size, 0, whole)
        print(f"reference: one forward of {given.size} x {given.size}, {peak / 1e9:.1f} GB", flush=True)
        print("chip | backend | same class | scene Mpx/s | computed Mpx/s | peak GB | computed per pixel")
        for side in given.sides:
            for backend, precision in VARIANTS:
                row(given, scene, whole, (backend, precision), side, folder / "map.tif")


def row(
    given: argparse.Namespace, scene: Path, whole: Path, runs: tuple[str, str], side: int, path: Path
) -> None:
    """Print a line of the table."""
    from geoseg.grid import Grid

    rows, cols = Grid((given.size, given.size), side, given.overlap).counts
    chips = rows * cols
    peak = draw(scene, given.model, *runs, side, given.overlap, path)
    count = max(4, chips // 4)  # a part of the chips is enough to time one
    speeds = [
        count * side**2 / 1e6 / alone_elsewhere(str(scene), given.model, *runs, side, count).wall
        for _ in range(given.rounds)
    ]
    speed, waste = statistics.median(speeds), chips * side**2 / given.size**2
    print(
        f"{side} | {' '.join(runs)} | {same(path, whole):.4%} | {speed / waste:.2f} | {speed:.2f} | "
        f"{peak / 1e9:.2f} | {waste:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
