"""How much of geoseg's code a map goes through, for whoever wants to follow it with a debugger.

    python tests/benchmarks/entered.py [--list] [--worker] [--folder DIR]

Counts the distinct named functions (no lambdas, comprehensions or class bodies) under geoseg/ that the main
thread of ``geoseg predict sample_tiles/farmland.tif --polygons p.gpkg --backend torch`` enters until the network
is called for the first time, and their files; then the geoseg modules that a Dask worker has imported when it
has computed its blocks. ``--list`` prints them; ``--worker`` counts only the worker's.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

SAMPLE = Path(__file__).parents[2] / "sample_tiles" / "farmland.tif"


class Entered:
    """Functions of geoseg that the thread that starts it enters, until `stop` is called."""

    def __init__(self, package: Path) -> None:
        self.codes: dict[CodeType, str] = {}
        self._package = f"{package}{os.sep}"
        self._going = True

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        """For ``sys.setprofile``."""
        code = frame.f_code
        if not self._going or event != "call" or code in self.codes:
            return
        # Of modules and class bodies, and of functions that have no name, the code is optimised no further.
        is_named = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if is_named and code.co_filename.startswith(self._package):
            self.codes[code] = code.co_filename.removeprefix(self._package)

    def stop(self, *_: Any) -> None:
        """Count no more: the network was called."""
        self._going = False


def functions_of_a_map(folder: Path) -> Entered:
    """What ``predict`` enters in this process until the network is called."""
    import geoseg

    entered = Entered(Path(geoseg.__file__).parent)
    command = ["predict", str(SAMPLE), "--polygons", "p.gpkg", "--backend", "torch"]
    from torch.nn.modules.module import register_module_forward_pre_hook

    register_module_forward_pre_hook(entered.stop)
    sys.argv[1:] = command
    os.chdir(folder)
    sys.setprofile(entered)
    try:
        from geoseg.cli import main

        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
            main()
    finally:
        sys.setprofile(None)
    return entered


def modules_of_a_worker(folder: Path) -> list[str]:
    """The geoseg modules that a worker of a cluster has imported after it computed a map."""
    from distributed import Client, LocalCluster

    import geoseg

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        geoseg.predict(
            SAMPLE,
            folder / "classes.tif",
            polygons=folder / "p.gpkg",
            backend="torch",
            dask=cluster.scheduler_address,
            overwrite=True,
        )
        (names,) = client.run(imported).values()
    return names


def imported() -> list[str]:
    """Runs in the worker."""
    return sorted(name for name in sys.modules if name.partition(".")[0] == "geoseg")


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="print the functions by file, and the modules")
    parser.add_argument("--worker", action="store_true", help="only count what a worker imports")
    parser.add_argument("--folder", type=Path, help="where to write; default a temporary folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        if not asked.worker:
            entered = functions_of_a_map(folder)
            files = Counter(entered.codes.values())
            if asked.list:
                for file in sorted(files):
                    names = sorted(code.co_qualname for code, place in entered.codes.items() if place == file)
                    print(f"{file}: {', '.join(names)}")
            print(f"{len(entered.codes)} functions in {len(files)} files until the network is called")
            # In a process of its own: a worker must not inherit what this one has imported.
            again = [sys.executable, __file__, "--worker", "--folder", str(folder)]
            subprocess.run([*again, "--list"][: 5 + asked.list], check=True)
            return
        modules = modules_of_a_worker(folder)
        if asked.list:
            print("\n".join(modules))
        print(f"{len(modules)} modules of geoseg imported by a Dask worker")


if __name__ == "__main__":
    main()
