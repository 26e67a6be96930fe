"""How fast every backend runs a model's network, as ratios to torch, measured in turns in one run.

    python tests/benchmarks/backends.py [--model NAME] [--sides 512 1024] [--rounds 3] [--chips 8]

Every figure is of a process of its own, so that the allocator's settings and caches of one do not help another.
Two forwards are in flight, or as many as there are cores. On a machine that is busy look at pixels a
CPU-second, which others disturb less than pixels a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, process_time

import numpy as np

REFERENCE = "torch bf16"
VARIANTS = {
    "torch fp32": ("torch", "fp32", True),
    "torch bf16, malloc as it comes": ("torch", "bf16", False),
    REFERENCE: ("torch", "bf16", True),
    "openvino fp32": ("openvino", "fp32", True),
    "openvino bf16": ("openvino", "bf16", True),
    "openvino int8": ("openvino", "int8", True),
    "onnx fp32": ("onnx", "fp32", True),
}


def measure(model: str, backend: str, precision: str, keep: bool, side: int, count: int) -> dict[str, float]:
    """One process's figures: megapixels a second and a CPU-second, peak memory."""
    from geoseg.inference.memory import keep_memory
    from geoseg.models import open_model
    from geoseg.run.report import peak_memory
    from geoseg.run.settings import AskedSettings, make_backend, resolve_settings

    if keep:
        keep_memory()
    opened = open_model(model)
    settings = resolve_settings(
        opened,
        tuple(range(1, len(opened.bands) + 1)),
        AskedSettings(chip_size=side, backend=backend, device="cpu", precision=precision),
    )
    runner = make_backend(opened, settings)
    chip = np.random.default_rng(0).normal(size=(1, len(opened.bands), side, side)).astype(np.float32)
    with ThreadPoolExecutor(settings.forwards, initializer=runner.prepare_thread) as pool:
        list(pool.map(runner.probabilities, [chip] * settings.forwards))
        wall, cpu = perf_counter(), process_time()
        list(pool.map(runner.probabilities, [chip] * count))
        wall, cpu = perf_counter() - wall, process_time() - cpu
    pixels = count * side * side / 1e6
    return {"wall": pixels / wall, "cpu": pixels / cpu, "memory": (peak_memory() or 0) / 1e9}


def in_a_process(model: str, name: str, side: int, count: int) -> dict[str, float] | str:
    """``measure`` elsewhere; a reason where it cannot be measured."""
    arguments = json.dumps([model, *VARIANTS[name], side, count])
    done = subprocess.run(
        [sys.executable, __file__, "--measure", arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure in turns and print a table a chip size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="dakota-crops")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chips", type=int, default=8, help="of the smallest side; fewer of larger ones")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*json.loads(given.measure))))
        return
    for side in given.sides:
        count = max(2, given.chips * min(given.sides) ** 2 // side**2)
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
        for _ in range(given.rounds):
            for name in VARIANTS:
                found = in_a_process(given.model, name, side, count)
                if isinstance(found, str):
                    print(f"{name}: {found}", file=sys.stderr)
                else:
                    figures[name].append(found)
                    print(f"{side} {name}: {found['wall']:.2f} | {found['cpu']:.2f}", file=sys.stderr)
        show(side, figures)


def show(side: int, figures: dict[str, list[dict[str, float]]]) -> None:
    """Print medians, and the median of each round's ratio to the reference."""
    print(f"\nchips of {side}: x {REFERENCE}, by wall | by CPU-second; Mpx/s | Mpx a CPU-second; peak GB")
    reference = figures[REFERENCE]
    for name, rounds in figures.items():
        if not rounds:
            continue
        pairs = list(zip(rounds, reference, strict=False))
        ratio = {
            key: statistics.median(one[key] / other[key] for one, other in pairs) for key in ("wall", "cpu")
        }
        middle = {key: statistics.median(one[key] for one in rounds) for key in ("wall", "cpu", "memory")}
        print(
            f"{name:32} {ratio['wall']:5.2f} | {ratio['cpu']:5.2f}   "
            f"{middle['wall']:6.2f} | {middle['cpu']:5.2f}   {middle['memory']:5.2f}"
        )


if __name__ == "__main__":
    main()
