"""``geoseg predict`` against the floor: the chips that it needs through the network, and nothing else.

    python tests/benchmarks/floor.py [--size 8192] [--rounds 3] [--no-polygons] [--model NAME] [--precision P]

Every round runs, in turns: the inferences alone in torch bf16 (allocator tuned) and in OpenVINO bf16, and in the
precision asked for where that is another; then the whole command, process start included: class map and
confidence, and the same with polygons. A floor is what the loop over its chips takes, two inferences in flight
(or as many as there are cores), after one forward each to warm up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

from turns import GEOSEG, ROOT, Taken, in_turns, make_scene, middle, ratio, run_command

sys.path.insert(0, str(ROOT))

DIFFERENT = 8  # chips of the scene that are at hand; the others repeat them


def alone(scene: str, model: str, backend: str, precision: str, chip: int, count: int) -> Taken:
    """The inferences alone, in this process."""
    from geoseg.inference.backends.make import make_backend
    from geoseg.models import open_model
    from geoseg.plan.settings import ComputeOptions, resolve_settings
    from geoseg.system.memory import keep_memory, peak_memory

    keep_memory()
    opened = open_model(model)
    asked = ComputeOptions(chip_size=chip, backend=backend, device="cpu", precision=precision)
    settings = resolve_settings(opened, tuple(range(1, len(opened.card.bands) + 1)), asked)
    runner = make_backend(opened, settings)
    chips = some_chips(scene, opened, chip)
    with ThreadPoolExecutor(settings.concurrency, initializer=runner.prepare_thread) as pool:
        list(pool.map(runner.probabilities, chips[:1] * settings.concurrency))
        wall, cpu = perf_counter(), process_time()
        for future in [pool.submit(_forward, runner, chips[i % len(chips)]) for i in range(count)]:
            future.result()
        wall, cpu = perf_counter() - wall, process_time() - cpu
    return Taken(wall, cpu, peak_memory() or 0)


def _forward(runner, chip) -> None:
    runner.probabilities(chip)  # what comes out is dropped at once


def some_chips(scene: str, model, side: int) -> list:
    """Normalised chips of the scene, (1, bands, side, side) each."""
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    card = model.card
    means, stds = card.means[:, None, None], card.stds[:, None, None]
    chips = []
    with rasterio.open(scene) as file:
        for number in range(DIFFERENT):
            row, col = (number // 3 * side) % file.height, (number % 3 * side) % file.width
            window = Window(col, row, side, side)
            values = file.read(window=window, boundless=True, fill_value=0).astype(np.float32)
            chips.append(np.ascontiguousarray((values * file.scales[0] - means) / stds, np.float32)[None])
    return chips


def alone_elsewhere(*arguments) -> Taken:
    """``alone`` in a process of its own."""
    command = [sys.executable, __file__, "--alone", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip().splitlines()[-1])
    return Taken(**json.loads(done.stdout.splitlines()[-1]))


def predict(scene: Path, folder: Path, *options: str) -> Taken:
    """The whole command."""
    outputs = ["-o", str(folder / "classes.tif"), "--confidence", str(folder / "confidence.tif")]
    return run_command([*GEOSEG, "predict", str(scene), *outputs, "--overwrite", "--quiet", *options])


def planned(scene: Path, folder: Path, *options: str) -> dict:
    """What a run would do; converts the network, so that no measured run has to."""
    outputs = ["-o", str(folder / "classes.tif"), "--confidence", str(folder / "confidence.tif")]
    report = folder / "warm.json"
    tiny = make_scene(folder, 512)
    run_command([*GEOSEG, "predict", str(tiny), *outputs, "--overwrite", *options, "--report", str(report)])
    found = json.loads(report.read_text())["settings"]
    from geoseg.grid import Grid

    size = int(scene.stem.removeprefix("scene").split("_")[0])
    rows, cols = Grid((size, size), found["chip_size"], found["overlap"]).counts
    return found | {"chips": rows * cols}


def main() -> None:
    """Measure in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="dakota-crops")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--chip-size", type=int)
    parser.add_argument("--no-polygons", action="store_true")
    parser.add_argument("--folder", type=Path, help="where scenes are kept; default a temporary one")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(asdict(alone(*json.loads(given.alone)))))
        return
    with tempfile.TemporaryDirectory(prefix="geoseg-floor-") as temporary:
        measure(given, given.folder or Path(temporary), Path(temporary))


def measure(given: argparse.Namespace, scenes: Path, folder: Path) -> None:
    """Make the scene, run the rounds, print."""
    scene = make_scene(scenes, given.size)
    options = ["--model", given.model, "--backend", given.backend, "--precision", given.precision]
    options += ["--chip-size", str(given.chip_size)] if given.chip_size else []
    plan = planned(scene, folder, *options)
    own = (plan["backend"], plan["precision"])
    floors = dict.fromkeys([own, ("torch", "bf16"), ("openvino", "bf16")])
    tasks: dict[str, Callable[[], Taken]] = {
        f"floor {backend} {precision}": partial(
            alone_elsewhere, str(scene), given.model, backend, precision, plan["chip_size"], plan["chips"]
        )
        for backend, precision in floors
    }
    commands = {"predict": ()} if given.no_polygons else {"predict": (), "predict with polygons": ("p",)}
    for name, polygons in commands.items():
        more = ("--polygons", str(folder / "polygons.gpkg")) if polygons else ()
        tasks[name] = partial(predict, scene, folder, *options, *more)
    figures = in_turns(tasks, given.rounds)
    megapixels = given.size**2 / 1e6
    print(f"\n{given.size} x {given.size}, {plan['chips']} chips of {plan['chip_size']}, {given.model}")
    for name in tasks:
        seconds = sorted(taken.wall for taken in figures[name])[given.rounds // 2]
        print(f"{middle(figures, name)}, {megapixels / seconds:.2f} Mpx/s")
    bf16 = [f"floor {backend} bf16" for backend in ("torch", "openvino")]
    best = min(bf16, key=lambda name: sorted(taken.wall for taken in figures[name])[given.rounds // 2])
    for name in commands:
        for floor in dict.fromkeys(["floor " + " ".join(own), best]):
            print(ratio(figures, name, floor))
            print(ratio(figures, name, floor, "cpu"))


if __name__ == "__main__":
    main()
