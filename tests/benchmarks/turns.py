"""Measuring in turns: commands as processes of their own, their wall time, processor time and memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

ROOT = Path(__file__).resolve().parents[2]
GEOSEG = [sys.executable, "-c", "import sys; from geoseg.cli import main; sys.exit(main())"]
"""The command line of this checkout, whatever is installed."""


@dataclass(frozen=True)
class Taken:
    """What one task took.

    Attributes:
        wall: Seconds.
        cpu: Processor seconds of all its processes.
        peak: Bytes resident at most, all its processes together; 0 where it was not looked at.
    """

    wall: float
    cpu: float
    peak: int = 0


def run_command(command: Sequence[str], *, watch: bool = True) -> Taken:
    """Run a command to its end.

    Args:
        command: What to run, from the root of the checkout.
        watch: Look at its memory, every 50 ms.

    Raises:
        SystemExit: If it fails; with the last line it said.
    """
    since = perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
    reader.start()
    watched, status, usage = Watched(process.pid), None, None
    while status is None:
        pid, code, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            status = code
        else:
            if watch:
                watched.look()
            sleep(0.05)
    wall = perf_counter() - since
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    if process.returncode:
        tail = said[-1].decode(errors="replace").strip() if said else f"exit {process.returncode}"
        raise SystemExit(f"{' '.join(command[:6])} ...: {tail}")
    return Taken(wall, usage.ru_utime + usage.ru_stime, watched.peak)


class Watched:
    """The memory of a process and its descendants. Who they are is looked up once a second: that is costly.

    Args:
        pid: The process.

    Attributes:
        peak: The most bytes that were resident at once.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._members: list = []
        self._looked_up = -1.0
        self.peak = 0

    def look(self) -> None:
        """Look at it now."""
        import psutil

        if perf_counter() - self._looked_up > 1:
            self._looked_up = perf_counter()
            try:
                tree = psutil.Process(self._pid)
                self._members = [tree, *tree.children(recursive=True)]
            except psutil.Error:
                self._members = []
        total = 0
        for member in self._members:
            with suppress(psutil.Error):
                total += member.memory_info().rss
        self.peak = max(self.peak, total)


def in_turns(tasks: Mapping[str, Callable[[], Taken]], rounds: int) -> dict[str, list[Taken]]:
    """Run every task once a round, every other round backwards, and say what each took."""
    figures: dict[str, list[Taken]] = {name: [] for name in tasks}
    for number in range(rounds):
        for name in list(tasks)[:: 1 if number % 2 == 0 else -1]:
            taken = tasks[name]()
            figures[name].append(taken)
            print(
                f"round {number + 1} {name}: {taken.wall:.2f} s, {taken.cpu:.2f} CPU-s, "
                f"{taken.peak / 1e6:.0f} MB; load {os.getloadavg()[0]:.1f}",
                file=sys.stderr,
                flush=True,
            )
    return figures


def ratio(figures: Mapping[str, Sequence[Taken]], one: str, other: str, what: str = "wall") -> str:
    """One line: the median over the rounds of ``one / other``, and between what it lay."""
    found = [getattr(a, what) / getattr(b, what) for a, b in zip(figures[one], figures[other], strict=True)]
    spread = f" ({min(found):.3f} to {max(found):.3f})" if len(found) > 1 else ""
    kind = {"wall": "wall time", "cpu": "CPU seconds", "peak": "peak memory"}[what]
    return f"{one} / {other}, {kind}: {statistics.median(found):.3f}{spread}"


def middle(figures: Mapping[str, Sequence[Taken]], name: str) -> str:
    """One line: the medians of a task."""
    rounds = figures[name]
    wall, cpu, peak = (statistics.median(getattr(taken, key) for taken in rounds) for key in vars(rounds[0]))
    return f"{name}: {wall:.2f} s, {cpu:.2f} CPU seconds, {peak / 1e6:.0f} MB"


def make_scene(folder: Path, size: int, bands: str | None = None) -> Path:
    """A farmland of the generator, ``size`` x ``size`` x 6 uint16 in tiles; made once."""
    name = f"scene{size}" if bands is None else f"scene{size}_{bands.count(',') + 1}"
    path = folder / f"{name}.tif"
    if not path.exists():
        maker = [sys.executable, "sample_tiles/make.py", "--size", str(size), str(size), "--seed", "7"]
        options = ["--dtype", "uint16", "--no-corner", "--no-labels", "--name", name, "--out", str(folder)]
        run_command([*maker, *options, *(["--bands", bands] if bands else [])], watch=False)
    return path
