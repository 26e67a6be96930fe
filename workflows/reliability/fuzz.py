"""Change bytes of small inputs at random, and let geoseg read them: no traceback, hang, crash, touched file.

``python workflows/reliability/fuzz.py`` runs 2,000 commands on mutants of rasters, VRTs, vector files,
packages and recipes; ``--minutes 2`` stops after two minutes. Each runs in a process of its own, with limits
of time and memory. What is found lies in ``--keep``, with the command that shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1"}

from forked import address_space, end, snapshot, start, warm_up
from inputs import make_all

PREDICT = (
    "predict {scene} --model {model} -o out.tif --backend torch --concurrency 1 --max-memory 2GB --force"
)
UNMEASURED = PREDICT.replace(" --max-memory 2GB", "")
"""Without a limit nothing is measured, which takes seconds for every new network."""
COMMANDS = {
    "scene.tif": (f"{PREDICT} --dry-run", PREDICT, "inspect {scene} --model {model}"),
    "tiled.tif": (PREDICT.replace("scene", "tiled"), "inspect {tiled} --model {model}"),
    "scene.vrt": (PREDICT.replace("{scene}", "{vrt}"), "inspect {vrt} --model {model}"),
    "map.tif": (
        "polygonize {map} -o out.gpkg --sieve 3px --simplify 1px --max-memory 2GB",
        "evaluate {map} --labels {labels} --report out.json",
        "evaluate {map} --draw-sample 20 -o out.gpkg",
    ),
    "sure.tif": (
        "polygonize {map} --confidence {sure} -o out.geojsonl --max-memory 2GB",
        "evaluate {map} --labels {labels} --confidence {sure} --report out.json",
    ),
    "labels.tif": ("evaluate {map} --labels {labels} --report out.json", "train {recipe} --check"),
    "fields.gpkg": (
        "evaluate {map} --labels {gpkg} --label-column n --report out.json",
        f"{PREDICT} --aoi {{gpkg}} --dry-run",
    ),
    "fields.fgb": ("evaluate {map} --labels {fgb} --label-column n --report out.json",),
    "fields.geojson": (
        "evaluate {map} --labels {geojson} --label-column n --report out.json",
        f"{PREDICT} --aoi {{geojson}} --dry-run",
    ),
    "model.zip": ("models show {zip}", f"{PREDICT.replace('{model}', '{zip}')} --dry-run"),
    "model/mlm.json": ("models show {model}", UNMEASURED),
    "model/config.json": (UNMEASURED,),
    "model/model.safetensors": (UNMEASURED,),
    "recipe.toml": ("train {recipe} --check",),
}
"""File that is changed -> commands that read it."""
PLACES = {
    "scene": "scene.tif", "tiled": "tiled.tif", "vrt": "scene.vrt", "map": "map.tif", "sure": "sure.tif",
    "labels": "labels.tif", "gpkg": "fields.gpkg", "fgb": "fields.fgb", "geojson": "fields.geojson",
    "zip": "model.zip", "model": "model", "recipe": "recipe.toml",
}  # fmt: skip
FINE = ("done", "refused", "failed")
SECONDS, MEMORY = 60, 3 * 2**30
TEXT = (".vrt", ".geojson", ".json", ".toml")
NUMBERS = (
    "0",
    "-1",
    "1e308",
    "-1e308",
    "nan",
    "1e-320",
    "99999999999999999999",
    "2147483648",
    "255",
    "0.5",
    '""',
    "null",
)


def mutate(data: bytes, rng: random.Random, *, text: bool) -> bytes:
    """Change a file in one to four ways."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        size = len(changed)
        if not size:
            break
        if text and rng.random() < 0.75:
            changed = bytearray(_other_words(bytes(changed), rng))
            continue
        # The structure is mostly at the beginning, of a zip at the end.
        at = (
            rng.randrange(size)
            if rng.random() < 0.5
            else rng.choice((rng.randrange(min(size, 600)), size - 1 - rng.randrange(min(size, 600))))
        )
        length = min(size - at, rng.choice((1, 1, 2, 4, 8, 64, 1000)))
        way = rng.randrange(7)
        if way == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            changed[at : at + length] = bytes(
                rng.choice((0, 255, 127, 128, rng.randrange(256))) for _ in range(length)
            )
        elif way == 2:
            del changed[at : at + length]
        elif way == 3:
            changed[at:at] = changed[at : at + length]
        elif way == 4:
            other = rng.randrange(size)
            changed[at : at + length] = changed[other : other + length]
        elif way == 5:
            changed[at : at + length] = rng.choice(
                (b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 8, b"\0" * 8)
            )[:length]
        else:
            del changed[at:]
    return bytes(changed)


def _other_words(data: bytes, rng: random.Random) -> bytes:
    """Change a number, a name or a line of a text."""
    words = list(re.finditer(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?|[A-Za-z_]{2,}|[\[\]{}<>\"=,]", data))
    if not words:
        return data
    word = rng.choice(words)
    way = rng.randrange(6)
    if way == 0:
        lines = data.split(b"\n")
        at = rng.randrange(len(lines))
        lines[at : at + 1] = rng.choice(([], [lines[at]] * 2, [rng.choice(lines)]))
        return b"\n".join(lines)
    if way == 1:
        new = rng.choice(words)[0]
    elif way == 2:
        new = rng.choice(
            (b"", b"\xff\xfe", "\u202e\u0301".encode(), b"x" * 3000, b"[" * 2000, b"../../etc/passwd", b"\n")
        )
    else:
        new = rng.choice(NUMBERS).encode()
    return data[: word.start()] + new + data[word.end() :]


@dataclass(frozen=True)
class Verdict:
    """What became of one command.

    Attributes:
        result: ``done``, ``refused``, ``failed``, or what must not be: ``traceback`` ...
        said: What it wrote.
    """

    result: str
    said: str

    @property
    def is_fault(self) -> bool:
        """Whether it must not be."""
        return self.result not in FINE


def run(command: list[str], folder: Path, seconds: float = 10 * SECONDS) -> Verdict:
    """Run one command in a forked process, and judge what it did to its folder."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        most = address_space() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    before, said = snapshot(folder), folder.parent / "said"
    code = end(start(command, folder, said, limit), seconds)
    text = said.read_text(errors="replace")
    return Verdict(_result(code, text, before, snapshot(folder)), text)


def _result(code: int | None, text: str, before: dict[str, bytes], after: dict[str, bytes]) -> str:
    new = [name for name in after if name not in before]
    expected = [name for name in new if name.startswith("out.") and ".part" not in name]
    says_why = re.search(r"^(geoseg: error|Error:|.*does not fit|.*would refuse)", text, re.MULTILINE)
    hangs = code is None or code in (-signal.SIGXCPU, -signal.SIGKILL)
    faults = {
        "hang": hangs,
        "crash": not hangs and code < 0,
        "traceback": "Traceback" in text or "geoseg: failed:" in text or code not in (0, 1, 2),
        "touched": any(after.get(name) != data for name, data in before.items()),
        "left behind": new != expected or any(code and ".geoseg-work" not in name for name in new),
        "no reason": code in (1, 2) and not says_why,
    }
    return next((fault for fault, holds in faults.items() if holds), "") or FINE[(0, 2, 1).index(code or 0)]


def fuzz(count: int, seed: int, minutes: float, kinds: list[str], keep: Path) -> dict[str, Counter[str]]:
    """Run commands on mutants; returns kind of file -> result -> how often."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    until, seen = time.monotonic() + 60 * minutes, set()
    with tempfile.TemporaryDirectory() as scratch:
        good = make_all(Path(scratch) / "good")
        warm_up()
        _check_good(good, Path(scratch))
        for number in range(count):
            if time.monotonic() > until:
                break
            rng = random.Random(f"{seed} {number}")
            kind = kinds[number % len(kinds)]
            folder = Path(scratch) / "now"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(good, folder)
            mutant = folder / kind
            mutant.write_bytes(mutate(mutant.read_bytes(), rng, text=mutant.suffix in TEXT))
            command = rng.choice(COMMANDS[kind]).format(**PLACES).split()
            verdict = run(command, folder)
            counts[kind][verdict.result] += 1
            if verdict.is_fault:
                line = (verdict.said.strip().splitlines() or [""])[-1]
                place = keep / f"{seed}-{number}"
                if (kind, verdict.result, line[:60]) not in seen:
                    print(f"{verdict.result}: geoseg {' '.join(command)}: {line[:300]} ({place})", flush=True)
                seen.add((kind, verdict.result, line[:60]))
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(mutant, place)
                (place / "command").write_text(f"{' '.join(command)}\n{verdict.result}\n{verdict.said}")
    return counts


def _check_good(good: Path, scratch: Path) -> None:
    """See that all commands take what is not changed."""
    for kind, commands in COMMANDS.items():
        for command in commands:
            folder = scratch / "now"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(good, folder)
            verdict = run(command.format(**PLACES).split(), folder)
            if verdict.result != "done" and not command.startswith("inspect"):
                sys.exit(f"{kind}: geoseg {command}: {verdict.result}: {verdict.said}")


def table(counts: dict[str, Counter[str]]) -> str:
    """The counts as Markdown."""
    results = [
        "done",
        "refused",
        "failed",
        *sorted({r for c in counts.values() for r in c} - {"done", "refused", "failed"}),
    ]
    rows = [["file", "mutants", *results]]
    rows += [
        [kind, str(sum(count.values())), *(str(count[r]) for r in results)] for kind, count in counts.items()
    ]
    rows.append(["all", *(str(sum(int(row[at]) for row in rows[1:])) for at in range(1, len(rows[0])))])
    rows.insert(1, ["---", *["--:"] * (len(rows[0]) - 1)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    """Fuzz, print the table, and exit with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--kinds", nargs="*", default=list(COMMANDS))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--json", type=Path, help="Add the counts to this file.")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    counts = fuzz(options.count, options.seed, options.minutes, options.kinds, options.keep)
    print(table(counts), f"\n{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(counts, indent=2))
    faults = sum(
        n for count in counts.values() for r, n in count.items() if r not in ("done", "refused", "failed")
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
