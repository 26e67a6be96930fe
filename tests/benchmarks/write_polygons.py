"""What writing a million polygons takes in every format: peak memory, time by the clock and of the processor, size.

    python tests/benchmarks/write_polygons.py [--cells 1400] [--formats .gpkg,.fgb,.parquet,.geojsonl,.pmtiles]

The map has six classes at random in cells of 5 x 5 pixels; 1400 x 1400 cells make some 1.3 million polygons.
Every format is written by a process of its own that traces the map first. Linux only: the peak is the kernel's,
set back before writing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from geoseg.polygons.writers.writing import write_polygons
from tests.polygons.helpers import trace_files

CELL = 5


def make_map(path: Path, cells: int) -> None:
    classes = np.random.default_rng(1).integers(0, 6, (cells, cells)).astype(np.uint8)
    classes = np.kron(classes, np.ones((CELL, CELL), np.uint8))
    profile = {"crs": "EPSG:32614", "transform": Affine(10, 0, 5e5, 0, -10, 5.2e6), "nodata": 255}
    rows, columns = classes.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=rows,
        width=columns,
        dtype="uint8",
        tiled=True,
        compress="deflate",
        **profile,
    ) as file:
        file.write(classes, 1)


def memory(key: str) -> float:
    """A line of the process's status in MB: ``VmHWM``, the peak, or ``VmRSS``, now."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) / 1000


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=1400)
    parser.add_argument("--formats", default=".gpkg,.fgb,.parquet,.geojsonl,.pmtiles")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        write(asked.write, asked.formats)
        return
    with tempfile.TemporaryDirectory(dir=".") as name:
        make_map(Path(name) / "map.tif", asked.cells)
        for suffix in asked.formats.split(","):
            subprocess.run([sys.executable, __file__, "--write", name, "--formats", suffix], check=True)


def write(folder: Path, suffix: str) -> None:
    table = trace_files(folder / "map.tif", date="2024-07-31", folder=folder)
    forget_peak()
    before, worked, began = memory("VmRSS"), time.process_time(), time.perf_counter()
    path = folder / f"out{suffix}"
    write_polygons(table, path)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    print(
        f"{suffix}: {len(table):,} polygons; {before:,.0f} MB before, peak {memory('VmHWM'):,.0f} MB; "
        f"{seconds:.1f} s, processor {worked:.1f} s; file {path.stat().st_size / 1e6:,.0f} MB",
        flush=True,
    )
    path.unlink()


if __name__ == "__main__":
    main()
