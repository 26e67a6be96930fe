"""Where the processor time of ``geoseg predict`` goes: CPU milliseconds a megapixel, stage by stage.

    python tests/benchmarks/stages.py [--size 8192] [--rounds 1] [--model NAME] [-- OPTIONS OF PREDICT]

Every round runs the whole command with class map and confidence in a process of its own. The functions of
each stage are timed with the clock of the thread that calls them; a stage inside another is not counted
twice. What no stage counts is "other": threads of runtimes, the interpreter, and what joins the stages.
``--model cheap`` makes a network so small that what surrounds it is nearly all of the time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from time import process_time, thread_time
from typing import Any

from turns import ROOT, make_scene

sys.path.insert(0, str(ROOT))

START, OTHER, FORWARD = "start", "other", "inferences"
STAGES: dict[str, tuple[str, ...]] = {
    "load the network": ("geoseg.inference.backends.make:make_backend",),
    "decode": ("geoseg.scene.file:SceneFile.read",),
    "scale, mask, normalise": ("geoseg.inference.reading:BlockReaders._fill",),
    "cut chips": ("geoseg.inference.reading:BlockPixels.cut",),
    FORWARD: (
        "geoseg.inference.backends.openvino_:OpenVinoBackend.probabilities",
        "geoseg.inference.backends.onnx_:OnnxBackend.probabilities",
        "geoseg.inference.backends.torch_:TorchBackend.on_device",
    ),
    "fixed point, blend": ("geoseg.inference.sums:HostSums.stitch",),
    "begin sums": ("geoseg.inference.compute:begin_sums",),
    "margins": ("geoseg.execute.local:send_margins", "geoseg.inference.sums:HostSums.margin"),
    "decide": ("geoseg.inference.sums:decide", "geoseg.execute.blocks:decide"),
    "render": (
        "geoseg.execute.blocks:BlockRenderer.render_interior",
        "geoseg.execute.blocks:BlockRenderer.complete",
    ),
    "statistics": ("geoseg.maps.statistics:ClassStatistics.add",),
    "keep for --resume": (
        "geoseg.execute.block_store:BlockStore.put_margin",
        "geoseg.execute.block_store:BlockStore.put_finished",
    ),
    "overviews": ("geoseg.maps.cog.pyramid:halve_by_mode", "geoseg.maps.cog.pyramid:halve_by_mean"),
    "compress": ("geoseg.maps.cog.tiles:compress",),
    "tiles": ("geoseg.maps.cog.cog:StreamedCog._keep",),
    "finish files": ("geoseg.maps.writer:MapWriter.finish", "geoseg.execute.run:publish"),
}
"""Stage to the functions that it is timed by: module, then attribute."""


class Clocks:
    """Processor seconds of stages, summed over threads; a stage inside another is not counted in both."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._lock = threading.Lock()
        self._local = threading.local()

    def reset(self) -> None:
        """Forget what was counted so far."""
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def spend(self, stage: str) -> Iterator[None]:
        """Count the time of the calling thread until the context ends, less that of stages inside."""
        outer = getattr(self._local, "inside", None)
        self._local.inside = 0.0
        since = thread_time()
        try:
            yield
        finally:
            took = thread_time() - since
            with self._lock:
                self.seconds[stage] += took - self._local.inside
            self._local.inside = None if outer is None else outer + took

    def time(self, stage: str, place: str) -> None:
        """Replace a function by one that is timed."""
        module, _, names = place.partition(":")
        *path, name = names.split(".")
        holder: Any = importlib.import_module(module)
        for part in path:
            holder = getattr(holder, part)
        setattr(holder, name, self._timed(stage, getattr(holder, name)))

    def _timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            with self.spend(stage):
                return work(*given, **named)

        return timed


def inside(arguments: list[str]) -> None:
    """Run the command in this process, and print what its stages took as JSON."""
    from geoseg.cli import main
    from geoseg.execute import local

    clocks, started = Clocks(), process_time()
    for stage, places in STAGES.items():
        for place in places:
            clocks.time(stage, place)
    patching = process_time() - started
    from geoseg.maps.cog import pyramid

    pyramid.HALVE.update({"MODE": pyramid.halve_by_mode, "AVERAGE": pyramid.halve_by_mean})
    begun: list[float] = []

    class Computer(local.BlockComputer):
        def __init__(self, *given: Any) -> None:
            clocks.reset()  # before the first pixel, everything is "start"
            begun.append(process_time() - patching)
            super().__init__(*given)

    local.BlockComputer = Computer
    try:
        main(["predict", *arguments])
    except SystemExit as done:
        if done.code:
            raise
    print(json.dumps({START: begun[0]} | clocks.seconds | {OTHER: -patching}))


def run(scene: Path, folder: Path, options: list[str]) -> dict[str, float]:
    """Run the whole command in a process of its own; return the processor seconds of its stages."""
    outputs = ["-o", str(folder / "classes.tif"), "--confidence", str(folder / "confidence.tif")]
    command = [sys.executable, __file__, "--inside", str(scene), *outputs, "--overwrite", "--quiet", *options]
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit((done.stderr.strip().splitlines() or ["it failed"])[-1])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found[OTHER] += taken - sum(found[stage] for stage in found if stage != OTHER)
    return found


def cheap_model(folder: Path) -> Path:
    """Save a model with the bands and classes of dakota-crops and the smallest of networks, random."""
    from dataclasses import replace

    import torch

    from geoseg.models import build_network, load_card, save_model

    torch.manual_seed(0)
    card = replace(
        load_card("dakota-crops"),
        name="cheap",
        architecture="unet-classic",
        encoder=None,
        network={"depth": 2, "width": 4},
    )
    network = build_network(
        card.architecture, bands=len(card.bands), classes=len(card.classes), **card.network
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)  # random logits near zero would make every class a tie
    return save_model(folder / "cheap", card, network)


def table(rounds: list[dict[str, float]], megapixels: float) -> str:
    """Format the medians over the rounds as a table of Markdown."""
    found = {stage: median(seconds[stage] for seconds in rounds) for stage in rounds[0]}
    outside = median(sum(seconds.values()) - seconds[FORWARD] for seconds in rounds)
    lines = list(found.items())
    lines.append(("**all but the inferences**", outside))
    width = max(len(name) for name, _ in lines)
    head = [f"| {'stage':{width}} | CPU ms a megapixel |", f"|{'-' * (width + 2)}|--------------------|"]
    body = [f"| {name:{width}} | {1000 * seconds / megapixels:18.1f} |" for name, seconds in lines]
    return "\n".join(head + body)


def main() -> None:
    """Measure, and print the table."""
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--model", default="dakota-crops")
    parser.add_argument("--folder", type=Path, help="where scenes are kept; default a temporary one")
    parser.add_argument("options", nargs="*", help="options of geoseg predict, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="geoseg-stages-") as temporary:
        folder = Path(temporary)
        model = str(cheap_model(folder)) if given.model == "cheap" else given.model
        options = ["--model", model, *given.options]
        run(make_scene(folder, 512), folder, options)  # converts the network, so that no measured run has to
        scene = make_scene(given.folder or folder, given.size)
        rounds = [run(scene, folder, options) for _ in range(given.rounds)]
    print(f"{given.size} x {given.size}, {given.model} {' '.join(given.options)}\n")
    print(table(rounds, given.size**2 / 1e6))


if __name__ == "__main__":
    main()
