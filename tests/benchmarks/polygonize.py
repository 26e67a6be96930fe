"""How fast class maps become polygons, beside rasterio and shapely on the same map, in one run.

    python tests/benchmarks/polygonize.py [--size 8192] [--map MAP.tif] [--rounds 2]

Two comparisons, each side in a process of its own, one after the other, the best of some rounds:

- to geometry: pixels in memory to shapely polygons; ours with ``Tracer`` in threads, theirs with
  ``rasterio.features.shapes`` and ``shapely.geometry.shape``.
- the whole command: ``geoseg polygonize`` with a confidence and a probability raster to GeoPackage, with all its
  attributes; theirs is a script of shapes, geopandas and pyogrio that writes nothing but the class.

The map has six classes, where smoothed noise is highest; at 8192 x 8192 it has some 300,000 polygons.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CLASSES = 6
SIGMA = 6.0
LARGEST = 8192
"""Larger maps repeat one of this size, whose opposite sides fit together."""

OURS = """
import sys, time
import numpy as np
from geoseg.grid import Window
from geoseg.polygons.table.store import PolygonStore
from geoseg.system.cpu import in_order
from geoseg.polygons.trace.trace import Tracer
from geoseg.polygons.trace.block import BlockValues, trace_block
import scipy.sparse.csgraph, shapely, rasterio
with rasterio.open(sys.argv[1]) as file:
    classes = file.read(1)
began = time.perf_counter()
store = PolygonStore(np.zeros(0, np.uint8))
tracer = Tracer(classes.shape, None, store)
def work(at):
    row, column = at
    return trace_block(BlockValues(row, column, classes[row:row + 1024, column:column + 1024]), classes.shape, None)
places = [(r, c) for r in range(0, classes.shape[0], 1024) for c in range(0, classes.shape[1], 1024)]
for block in in_order(work, places):
    tracer.add_traced(block)
batches = store.finish_on_disk(None, None).batches()
count = sum(len(g) for g in in_order(lambda batch: batch.geometries(), batches))
print(time.perf_counter() - began, count)
"""

THEIRS = """
import sys, time
import rasterio, rasterio.features, shapely.geometry
with rasterio.open(sys.argv[1]) as file:
    classes = file.read(1)
began = time.perf_counter()
made = [shapely.geometry.shape(geometry) for geometry, _ in rasterio.features.shapes(classes, connectivity=4)]
print(time.perf_counter() - began, len(made))
"""

PLAIN = """
import sys
import geopandas, rasterio, rasterio.features, shapely.geometry
with rasterio.open(sys.argv[1]) as file:
    found = rasterio.features.shapes(file.read(1), transform=file.transform, connectivity=4)
    rows = [(shapely.geometry.shape(geometry), int(value)) for geometry, value in found]
    crs = file.crs
geometries, ids = zip(*rows)
geopandas.GeoDataFrame({"class_id": ids}, geometry=list(geometries), crs=crs).to_file(sys.argv[2], engine="pyogrio")
"""


def make_map(folder: Path, size: int, seed: int = 1) -> None:
    """Write ``map.tif``, ``sure.tif`` and ``prob.tif``, as geoseg's own rasters are stored."""
    from scipy import ndimage

    random = np.random.default_rng(seed)
    side = min(size, LARGEST)
    layers = np.empty((CLASSES, side, side), np.float16)
    for layer in layers:
        noise = random.standard_normal((side, side), dtype=np.float32)
        ndimage.gaussian_filter(noise, SIGMA, output=noise, mode="wrap")
        layer[:] = np.exp(2 * noise / noise.std())
    shares = np.empty(layers.shape, np.uint8)
    classes, sure = np.empty((side, side), np.uint8), np.empty((side, side), np.uint8)
    for row in range(0, side, 512):
        rows = slice(row, row + 512)
        part = layers[:, rows].astype(np.float32)
        part /= part.sum(axis=0)
        shares[:, rows] = np.rint(part * 250)
        classes[rows] = part.argmax(axis=0)
        sure[rows] = np.rint(part.max(axis=0) * 100)
    names = [f"class {number}" for number in range(CLASSES)]
    write(folder / "map.tif", classes[None], size, ["class"])
    write(folder / "sure.tif", sure[None], size, ["confidence"])
    write(folder / "prob.tif", shares, size, names)
    name_classes(folder / "map.tif", names)


def write(path: Path, bands: np.ndarray, size: int, names: list[str]) -> None:
    import rasterio
    from affine import Affine

    side = bands.shape[1]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(bands),
        height=size,
        width=size,
        dtype="uint8",
        tiled=True,
        blockxsize=512,
        blockysize=512,
        interleave="band",
        compress="deflate",
        nodata=255,
        crs="EPSG:32614",
        transform=Affine(10, 0, 5e5, 0, -10, 5.2e6),
        bigtiff="if_safer",
    ) as file:
        for row in range(0, size, side):
            for column in range(0, size, side):
                file.write(bands, window=((row, row + side), (column, column + side)))
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)


def name_classes(path: Path, names: list[str]) -> None:
    from geoseg.maps.sidecar import class_table_xml

    rows = [(number, name, (40 * number, 200 - 30 * number, 90)) for number, name in enumerate(names)]
    path.with_name(path.name + ".aux.xml").write_text(class_table_xml(rows))


def run(command: list[str]) -> tuple[float, float, float, str]:
    """Seconds by the clock and of the processor, peak memory in MB, and what was printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)[:200]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, work, used.ru_maxrss / 1000, said


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the map here between runs")
    parser.add_argument(
        "--ours", action="store_true", help="only the command, to see time and memory of a large map"
    )
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make:
        make_map(asked.make, asked.size)
        return
    with tempfile.TemporaryDirectory(dir=".") as name:
        scratch = Path(name)
        folder = asked.folder or scratch
        folder.mkdir(exist_ok=True)
        if not (folder / "map.tif.aux.xml").exists():
            # In a process of its own: a child's peak counts what its parent holds when it is started.
            subprocess.run(
                [sys.executable, __file__, "--make", str(folder), "--size", str(asked.size)], check=True
            )
        compare(folder, scratch, asked.rounds, only_ours=asked.ours)


def compare(folder: Path, scratch: Path, rounds: int, *, only_ours: bool) -> None:
    import rasterio

    with rasterio.open(folder / "map.tif") as file:
        pixels = file.width * file.height / 1e6
        print(f"{file.height} x {file.width}: {pixels:,.0f} megapixels")
    path = str(folder / "map.tif")
    command = [
        sys.executable,
        "-m",
        "geoseg",
        "polygonize",
        path,
        "-o",
        str(scratch / "ours.gpkg"),
        "--overwrite",
    ]
    attributes = ["--confidence", str(folder / "sure.tif"), "--probabilities", str(folder / "prob.tif")]
    sides: dict[str, list[str]] = {"command with all attributes": [*command, *attributes]}
    if not only_ours:
        sides = {
            "geoseg, to geometry": [sys.executable, "-c", OURS, path],
            "shapes + shape, to geometry": [sys.executable, "-c", THEIRS, path],
            "geoseg polygonize, all attributes": [*command, *attributes],
            "shapes + geopandas + pyogrio, none": [
                sys.executable,
                "-c",
                PLAIN,
                path,
                str(scratch / "plain.gpkg"),
            ],
        }
    found: dict[str, list[tuple[float, float, float, str]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            taken = run(side)
            if "to geometry" in name:
                seconds, count = taken[3].split()
                taken = (float(seconds), taken[1], taken[2], count)
            found[name].append(taken)
    for name, taken in found.items():
        clock, work, peak, _ = min(taken)
        print(
            f"{name}: {clock:.1f} s ({work:.1f} s of processor time, {clock / pixels * 1000:.0f} ms a megapixel), "
            f"peak {peak:,.0f} MB"
        )
    if not only_ours:
        first, second, third, fourth = (min(taken)[0] for taken in found.values())
        print(
            f"to geometry {second / first:.1f} x faster (wanted 5); the command takes {third / fourth:.2f} of the "
            "script's time (wanted 0.6)"
        )


if __name__ == "__main__":
    main()
