"""How fast every backend runs a model's network, as ratios to torch bf16, measured in turns in one run.

    python tests/benchmarks/backends.py --rounds 3                # five to ten minutes on two quiet cores
    python tests/benchmarks/backends.py --by cpu --rounds 3       # on a machine that is busy

It prints the table of docs/backends.md. Every figure is of a process of its own, so that the allocator's
settings and caches of one do not help another; networks are converted, and quantized where the model has no
int8 network for chips of a size (with random chips: they change what it says, not how long it takes), before
anything is measured. As many inferences are in flight as there are processors.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

REFERENCE = "torch bf16"
VARIANTS = {
    "torch fp32": ("torch", "fp32", True),
    "torch bf16, allocator as it comes": ("torch", "bf16", False),
    REFERENCE: ("torch", "bf16", True),
    "OpenVINO fp32": ("openvino", "fp32", True),
    "OpenVINO bf16": ("openvino", "bf16", True),
    "OpenVINO int8": ("openvino", "int8", True),
    "ONNX Runtime fp32": ("onnx", "fp32", True),
}
QUANTIZED_WITH = 4
"""Random chips: enough to set scales, which change no speed."""

Figures = dict[str, float]


def in_a_process(what: str, *arguments: object) -> Any:
    """Call a function of this file elsewhere; the last line of what went wrong where it fails."""
    command = [sys.executable, __file__, "--call", json.dumps([what, *arguments])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode:
        return lines[-1] if lines else f"exit {done.returncode}"
    return json.loads(lines[-1])


def opened(name: str, folder: str) -> Any:
    """The model, with the networks that were quantized for this run at hand."""
    from geoseg.models import open_model

    model = open_model(name)
    for path in Path(folder).glob("*.int8"):
        network = pickle.loads(path.read_bytes())  # written by `prepare`
        model.loaded[network.format, network.precision, network.shape] = network
    return model


def prepare(name: str, folder: str, side: int) -> None:
    """Convert a network for chips of a size, and quantize it if need be."""
    from geoseg.inference.backends.convert import converted_network
    from geoseg.models.conversion import ChipShape
    from geoseg.models.quantize import quantize_network
    from geoseg.progress import Silent

    for backend in ("openvino", "onnx"):
        model = opened(name, folder)  # anew: each runtime has a converted network of its own
        shape = ChipShape(1, len(model.card.bands), side)
        network = converted_network(model, backend, "fp32", shape, Silent())
        if backend == "openvino" and model.converted("openvino", "int8", shape) is None:
            random = np.random.default_rng(0)
            chips = [random.normal(size=shape.dimensions).astype(np.float32) for _ in range(QUANTIZED_WITH)]
            (Path(folder) / f"{side}.int8").write_bytes(pickle.dumps(quantize_network(network, chips)))


def measure(name: str, folder: str, variant: str, side: int, count: int) -> Figures:
    """One process's figures: megapixels a second and a CPU-second, peak memory in GB."""
    from geoseg.inference.backends.make import make_backend
    from geoseg.plan.settings import ComputeOptions, resolve_settings
    from geoseg.system.memory import keep_memory, peak_memory

    backend, precision, keep = VARIANTS[variant]
    if keep:
        keep_memory()
    model = opened(name, folder)
    settings = resolve_settings(
        model,
        tuple(range(1, len(model.card.bands) + 1)),
        ComputeOptions(chip_size=side, backend=backend, device="cpu", precision=precision),
    )
    runner = make_backend(model, settings)
    chip = np.random.default_rng(0).normal(size=(1, len(model.card.bands), side, side)).astype(np.float32)
    with ThreadPoolExecutor(settings.concurrency, initializer=runner.prepare_thread) as pool:
        list(pool.map(runner.probabilities, [chip] * settings.concurrency))
        wall, cpu = perf_counter(), process_time()
        list(pool.map(runner.probabilities, [chip] * count))
        wall, cpu = perf_counter() - wall, process_time() - cpu
    pixels = count * side * side / 1e6
    return {"wall": pixels / wall, "cpu": pixels / cpu, "memory": (peak_memory() or 0) / 1e9}


def measured(model: str, folder: str, side: int, count: int, rounds: int) -> dict[str, list[Figures]]:
    """Every variant's figures for chips of a size, a round after the other; none where it cannot run."""
    figures: dict[str, list[Figures]] = {name: [] for name in VARIANTS}
    for number in range(rounds):
        for name in list(VARIANTS)[:: 1 if number % 2 == 0 else -1]:
            found = in_a_process("measure", model, folder, name, side, count)
            if isinstance(found, str):
                say(f"{side} {name}: {found}")
                continue
            figures[name].append(found)
            say(
                f"round {number + 1}, chips of {side}, {name}: {found['wall']:.2f} Mpx/s, "
                f"{found['cpu']:.2f} a CPU-second; load {os.getloadavg()[0]:.1f}"
            )
    return figures


def table(by_side: dict[int, dict[str, list[Figures]]], by: str) -> str:
    """Markdown: ratios for every size, speed and memory at the largest.

    Args:
        by_side: Side of a chip -> variant -> figures of every round.
        by: ``"wall"`` or ``"cpu"``: what ratios and speeds are of.
    """
    largest = max(by_side)
    unit = {"wall": "Mpx/s", "cpu": "Mpx a CPU-second"}[by]
    head = [
        "backend",
        *(f"chips of {side}" for side in by_side),
        f"{unit} at {largest}",
        f"peak memory of the process at {largest}",
    ]
    rows = [head, ["---"] * len(head)]
    for name in VARIANTS:
        last = by_side[largest][name]
        rows.append(
            [
                name,
                *(middle(ratios(figures, name, by)) for figures in by_side.values()),
                middle([one[by] for one in last], "{:.1f}"),
                middle([one["memory"] for one in last], "{:.1f} GB"),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def ratios(figures: dict[str, list[Figures]], name: str, by: str) -> list[float]:
    """A variant's speed by the reference's, for every round."""
    return [one[by] / other[by] for one, other in zip(figures[name], figures[REFERENCE], strict=False)]


def middle(values: list[float], text: str = "{:.2f}") -> str:
    """The median, as a cell of the table."""
    return text.format(statistics.median(values)) if values else "-"


def spread(by_side: dict[int, dict[str, list[Figures]]], by: str) -> float:
    """How much a variant's ratios differ between rounds, at most: 0.1 is 10 %."""
    found = [ratios(figures, name, by) for figures in by_side.values() for name in VARIANTS]
    return max((max(values) / min(values) - 1 for values in found if values), default=0.0)


def say(text: str) -> None:
    """Where progress belongs."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="dakota-crops")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chips", type=int, default=16, help="of the smallest side; fewer of larger ones")
    parser.add_argument("--by", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--call", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.call:
        what, *arguments = json.loads(given.call)
        print(json.dumps({"prepare": prepare, "measure": measure}[what](*arguments)))
        return
    smallest, figures = min(given.sides), {}
    with tempfile.TemporaryDirectory(prefix="geoseg-backends-") as folder:
        for side in given.sides:
            problem = in_a_process("prepare", given.model, folder, side)
            if problem:
                say(f"chips of {side}: {problem}")
        for side in given.sides:
            count = max(2, given.chips * smallest**2 // side**2)
            figures[side] = measured(given.model, folder, side, count, given.rounds)
    print(table(figures, given.by))
    print(
        f"\n{given.model}; medians of {given.rounds} rounds by {'wall time' if given.by == 'wall' else 'CPU-seconds'}, "
        f"whose ratios differ by {spread(figures, given.by):.0%} at most; load now {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
