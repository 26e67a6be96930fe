"""Make the tables of docs/reliability.md again: inject faults, fuzz and soak, one after the other."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run all three; exit with 1 if one of them found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="Of every fault.")
    parser.add_argument("--count", type=int, default=2000, help="Mutants.")
    parser.add_argument("--predicts", type=int, default=200)
    options = parser.parse_args()
    found = 0
    for script, words in (
        ("faults.py", ["--rounds", str(options.rounds)]),
        ("fuzz.py", ["--count", str(options.count)]),
        ("soak.py", ["--predicts", str(options.predicts)]),
    ):
        print(f"\n{script}", flush=True)
        command = [sys.executable, str(Path(__file__).with_name(script)), *words]
        found |= subprocess.run(command, check=False).returncode
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
