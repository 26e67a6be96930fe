"""Cut runs short in every way at random moments, and see that nothing is lost.

``python workflows/reliability/faults.py --rounds 20`` injects every fault twenty times.
Afterwards nothing half-written has a final name, old outputs are as they were, nothing but the work folder is
left, and ``--resume`` gives the bytes of an uninterrupted run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1"}
    os.environ["CPL_VSIL_CURL_CHUNK_SIZE"] = "16384"  # so that a small scene takes many requests

import psutil
from forked import address_space, end, start, warm_up
from inputs import make_model, make_scene

OUTPUTS = ("map.tif", "map.tif.aux.xml", "map.qml", "sure.tif", "sure.qml", "fields.fgb", "run.json")
OLD = b"from an earlier run"
PATIENCE = 120


@dataclass
class Place:
    """Where one run is cut short.

    Attributes:
        folder: The folder of its outputs, empty at first.
        scene: What it maps.
        model: With what.
        whole: Output name -> bytes of an uninterrupted run.
        seconds: What that took.
        rng: Chooses the moments.
    """

    folder: Path
    scene: str
    model: Path
    whole: dict[str, bytes]
    seconds: float
    rng: random.Random

    @property
    def said(self) -> Path:
        """The file with what the run says."""
        return self.folder.parent / f"{self.folder.name}.said"

    def command(self, *more: str) -> list[str]:
        """The words of the run."""
        outputs = "-o map.tif --confidence sure.tif --polygons fields.fgb --report run.json"
        settings = "--block-size 100 --force --max-memory 3GB --backend torch"
        return [*f"predict {self.scene} --model {self.model} {outputs} {settings}".split(), *more]

    def start(self, *more: str, limit: Callable[[], None] = lambda: None) -> int:
        """Start it; returns the process id."""
        return start(self.command(*more), self.folder, self.said, limit)

    def run(self, *more: str) -> int | None:
        """Run it; returns its exit code, None if it hung."""
        return end(self.start(*more), PATIENCE)

    def put_old_outputs(self) -> None:
        """Have the run replace files; it is begun with ``--overwrite`` then."""
        for name in ("map.tif", "sure.tif", "fields.fgb", "run.json"):
            (self.folder / name).write_bytes(OLD)

    def sleep(self) -> None:
        """Wait until a random moment of a run."""
        time.sleep(self.rng.uniform(0, 1.1 * self.seconds))


class FaultError(Exception):
    """Something was lost, half-written or left behind."""


def require(holds: bool, what: str) -> None:
    """Fail unless something holds."""
    if not holds:
        raise FaultError(what)


def outputs_of(folder: Path) -> dict[str, bytes]:
    """The finished outputs, but for the report, which has times in it."""
    return {name: (folder / name).read_bytes() for name in OUTPUTS[:-1] if (folder / name).exists()}


def check_cut(place: Place, *, had_old: bool, tidy: bool = True) -> str:
    """Check what a run that was cut short left; returns ``kept`` or ``nothing kept``."""
    for name in OUTPUTS:
        path = place.folder / name
        if path.exists() and not (had_old and path.read_bytes() == OLD):
            if name == "run.json":
                json.loads(path.read_text())
            else:  # a kill between two renames leaves some that are complete
                require(path.read_bytes() == place.whole[name], f"{name} is not what a whole run writes")
    names = {path.name for path in place.folder.iterdir()}
    stray = names - set(OUTPUTS) - {"map.tif.geoseg-work"}
    require(not (tidy and stray), f"left behind: {', '.join(sorted(stray))}")
    if had_old:
        require({"map.tif", "sure.tif", "fields.fgb", "run.json"} <= names, "an old output is gone")
    return "cut short, blocks kept" if "map.tif.geoseg-work" in names else "cut short, nothing kept"


def finish(place: Place, *, had_old: bool) -> None:
    """Go on with ``--resume``, and compare with the whole run."""
    is_begun = (place.folder / "map.tif.geoseg-work").exists()
    code = place.run("--overwrite" if had_old and not is_begun else "--resume")
    require(code == 0, f"--resume ended with {code}: {place.said.read_text()[-400:]}")
    require(outputs_of(place.folder) == place.whole, "--resume gave other bytes")
    json.loads((place.folder / "run.json").read_text())
    stray = {path.name for path in place.folder.iterdir()} - set(OUTPUTS)
    require(not stray, f"left behind after --resume: {', '.join(sorted(stray))}")


def check_said(place: Place, code: int | None, allowed: tuple[int, ...]) -> None:
    """Check the exit code, and that one line says why."""
    text = place.said.read_text(errors="replace")
    require(code in allowed, f"exit {code}: {text[-400:]}")
    require("Traceback" not in text and "geoseg: failed:" not in text, text[-400:])
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    is_killed = code in [-number for number in signals]
    require(code == 0 or is_killed or "geoseg: " in text, f"exit {code} without a reason")


def by_signal(number: signal.Signals) -> Callable[[Place], str]:
    """A signal at a random moment, in half of the rounds to a run that replaces old outputs."""

    def fault(place: Place) -> str:
        had_old = place.rng.random() < 0.5
        if had_old:
            place.put_old_outputs()
        child = place.start(*(["--overwrite"] if had_old else []))
        place.sleep()
        os.kill(child, number)
        code = end(child, PATIENCE)
        is_silent = number is signal.SIGKILL or not place.said.read_text()
        # A signal may come before the run does, which then says nothing.
        check_said(place, code, (0, 130, -number) if is_silent else (0, 130))
        if code == 0:
            require(outputs_of(place.folder) == place.whole, "other bytes")
            return "done before"
        became = check_cut(place, had_old=had_old, tidy=number is not signal.SIGKILL)
        finish(place, had_old=had_old)
        return became

    return fault


def kill_worker(place: Place) -> str:
    """Kill a worker process; others go on with its blocks."""
    command = [sys.executable, "-m", "geoseg", *place.command("--workers", "2")]
    with place.said.open("w") as said:
        run = subprocess.Popen(command, cwd=place.folder, stdout=said, stderr=said)
    until = time.monotonic() + PATIENCE
    while (
        run.poll() is None
        and time.monotonic() < until
        and not list(place.folder.glob("*.geoseg-work/blocks/*"))
    ):
        time.sleep(0.01)
    time.sleep(place.rng.uniform(0, 0.5))
    workers = (
        [p for p in psutil.Process(run.pid).children(recursive=True) if _is_worker(p)]
        if run.poll() is None
        else []
    )
    if workers:
        place.rng.choice(workers).kill()
    code = run.wait(PATIENCE)
    check_said(place, code, (0, 1))
    if code == 0:
        require(outputs_of(place.folder) == place.whole, "other bytes")
        return "went on without it" if workers else "done before"
    became = check_cut(place, had_old=False)
    finish(place, had_old=False)
    return became


def _is_worker(process: psutil.Process) -> bool:
    try:
        return not process.children() and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.Error:
        return False


def out_of_memory(place: Place) -> str:
    """Let address space run out."""
    more = place.rng.choice((5, 20, 40, 80, 150, 300)) * 2**20

    def limit() -> None:
        most = address_space() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    code = end(place.start(limit=limit), PATIENCE)
    check_said(place, code, (0, 1, -signal.SIGABRT, -signal.SIGKILL))
    if code == 0:
        require(outputs_of(place.folder) == place.whole, "other bytes")
        return "went on with less"
    became = check_cut(place, had_old=False)
    finish(place, had_old=False)
    return became


def disk_full(place: Place) -> str:
    """Let a small disk fill up; without the right to mount one, files that may not grow."""
    size = place.rng.randrange(40, 700) * 1024
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place.folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0

    def limit() -> None:
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 8, size // 8))

    try:
        code = end(place.start(limit=limit), PATIENCE)
        check_said(place, code, (0, 1, 2))
        if code == 0:
            require(outputs_of(place.folder) == place.whole, "other bytes")
            return "fitted"
        became = check_cut(place, had_old=False) if code == 1 else "refused"
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=1G", str(place.folder)], check=True)
        finish(place, had_old=False)
        return became
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place.folder)], check=True)


def server_gone(place: Place) -> str:
    """Let the web server of the scene die, and come back."""
    served = Path(place.scene)
    server, port = _serve(served.parent, 0)
    place.scene = f"http://127.0.0.1:{port}/{served.name}"
    try:
        child = place.start()
        time.sleep(place.rng.uniform(0.05, place.seconds))
        server.kill()
        server.wait()
        code = end(child, PATIENCE)
        check_said(place, code, (0, 1, 2))
        if code == 0:
            require(outputs_of(place.folder) == place.whole, "other bytes")
            return "done before"
        require(place.scene in place.said.read_text(), "the address is not named")
        became = check_cut(place, had_old=False)
        server, _ = _serve(served.parent, port)
        finish(place, had_old=False)
        return became
    finally:
        server.kill()
        server.wait()


def _serve(folder: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, str(Path(__file__).with_name("range_server.py")), str(folder), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, int(server.stdout.readline())


def two_runs(place: Place) -> str:
    """Start a second run with the same outputs."""
    first = place.start()
    time.sleep(place.rng.choice((0, place.rng.uniform(0, place.seconds))))
    said = place.said.with_suffix(".second")
    second = start(place.command(), place.folder, said)
    codes = end(first, PATIENCE), end(second, PATIENCE)
    require(
        sorted(map(str, codes)) == ["0", "2"],
        f"exits {codes}: {place.said.read_text()[-300:]} {said.read_text()[-300:]}",
    )
    require(outputs_of(place.folder) == place.whole, "other bytes")
    require({path.name for path in place.folder.iterdir()} <= set(OUTPUTS), "left behind")
    return "one of them refused"


FAULTS: dict[str, Callable[[Place], str]] = {
    "interrupt (SIGINT)": by_signal(signal.SIGINT),
    "terminate (SIGTERM)": by_signal(signal.SIGTERM),
    "kill -9": by_signal(signal.SIGKILL),
    "kill -9 of a worker": kill_worker,
    "out of memory": out_of_memory,
    "disk full": disk_full,
    "web server gone": server_gone,
    "two runs on one output": two_runs,
}


def run_rounds(rounds: int, seed: int, names: list[str], scratch: Path) -> dict[str, Counter[str]]:
    """Inject every fault so many times; returns fault -> what became of the run -> how often."""
    warm_up()
    scene, model = make_scene(scratch / "scene.tif", (290, 240)), make_model(scratch / "model")
    whole = Place(scratch / "whole", str(scene), model, {}, 0.0, random.Random())
    whole.folder.mkdir()
    for option in ("--resume", "--overwrite"):  # the first is slower than all others
        began = time.monotonic()
        if whole.run(option) != 0:
            sys.exit(f"a run without a fault failed: {whole.said.read_text()}")
        whole.seconds, whole.whole = time.monotonic() - began, outputs_of(whole.folder)
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    for number in range(rounds):
        for name in names:
            rng = random.Random(f"{seed} {number} {name}")
            place = Place(scratch / "now", str(scene), model, whole.whole, whole.seconds, rng)
            shutil.rmtree(place.folder, ignore_errors=True)
            place.folder.mkdir()
            try:
                became = FAULTS[name](place)
            except FaultError as error:
                became = "FAULT"
                print(f"{name}, round {number} of seed {seed}: {error}", flush=True)
            counts[name][became] += 1
    return counts


def table(counts: dict[str, Counter[str]]) -> str:
    """The counts as Markdown."""
    lines = ["| fault | rounds | what became of the runs | faults found |", "| --- | --: | --- | --: |"]
    for name, count in counts.items():
        became = ", ".join(f"{n} {what}" for what, n in count.most_common() if what != "FAULT")
        lines.append(f"| {name} | {sum(count.values())} | {became} | {count['FAULT']} |")
    return "\n".join(lines)


def main() -> int:
    """Inject faults, print the table, and exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), help="A part of the name of each.")
    parser.add_argument("--json", type=Path, help="Write the counts here.")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    names = [name for name in FAULTS if any(part in name for part in options.faults)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        counts = run_rounds(options.rounds, options.seed, names, Path(scratch))
    print(table(counts), f"\n{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(counts, indent=2))
    return 1 if any(count["FAULT"] for count in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
