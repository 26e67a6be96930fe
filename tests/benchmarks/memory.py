"""Whether a plan holds: peak memory and seconds, as planned and as measured, under several limits.

    python tests/benchmarks/memory.py [--size 8192] [--limits 700MB 1GB 2GB] [--option=--polygons=out.gpkg]

Peak memory is that of the whole process tree, looked at every 50 ms (new processes within a second).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from turns import GEOSEG, ROOT, make_scene, run_command

sys.path.insert(0, str(ROOT))


def main() -> None:
    """Run under every limit and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--limits", nargs="+", default=["700MB", "1GB", "2GB"])
    parser.add_argument("--option", action="append", default=[], help="for geoseg predict")
    parser.add_argument("--scene", type=Path, help="instead of one of the generator")
    parser.add_argument("--folder", type=Path, help="where scenes are kept; default a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="geoseg-memory-", dir=given.folder) as name:
        folder = Path(name)
        scene = given.scene or make_scene(given.folder or folder, given.size)
        print(
            "limit | planned MB | measured MB | of the limit | planned / measured | planned s | took s | how"
        )
        for limit in given.limits:
            report = folder / "report.json"
            outputs = ["-o", str(folder / "c.tif"), "--confidence", str(folder / "k.tif")]
            options = ["--max-memory", limit, "--report", str(report), "--overwrite", "--quiet"]
            command = [*GEOSEG, "predict", str(scene), *outputs, *options, *given.option]
            run_command([*command, "--dry-run"], watch=False)  # what is measured once is not part of it
            taken = run_command(command)
            plan = json.loads(report.read_text())["plan"]
            memory = plan["memory_bytes"]
            print(
                f"{limit} | {memory / 1e6:.0f} | {taken.peak / 1e6:.0f} | "
                f"{taken.peak / plan['memory_limit_bytes']:.2f} | {memory / taken.peak:.2f} | "
                f"{plan['seconds']:.0f} | {taken.wall:.0f} | {plan['backend']} {plan['precision']}, chips of "
                f"{plan['chip_size']}, blocks of {plan['block_size']}, {plan['concurrency']} at once"
                f"{', margins on disk' if plan['margins_on_disk'] else ''}",
                flush=True,
            )


if __name__ == "__main__":
    main()
