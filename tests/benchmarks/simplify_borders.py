"""How fast borders are simplified, and how well, beside ``shapely.coverage_simplify`` on the same polygons.

    python tests/benchmarks/simplify_borders.py [--size 8192] [--tolerance 2] [--alone]

The map has six classes: where smoothed noise is highest. At 4096 x 4096 it has some 78,000 polygons.
``--alone`` leaves shapely out, so that the peak memory told is geoseg's own. Both sides begin with the traced
polygons and end with shapely geometries; those that shapely begins with are made before its clock starts.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import shapely
from scipy import ndimage

from geoseg.polygons.borders.change import change_borders
from geoseg.polygons.borders.options import BorderOptions
from geoseg.polygons.table.rows import Polygons
from geoseg.polygons.table.store import PolygonStore
from geoseg.polygons.trace.block import BlockValues
from geoseg.polygons.trace.trace import Tracer
from geoseg.units import Length

CLASSES = 6
SIGMA = 6.0
BLOCK = 1024


def make_map(size: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    classes = np.zeros((size, size), np.uint8)
    best = np.full((size, size), -np.inf, np.float32)
    for number in range(CLASSES):
        layer = random.standard_normal((size, size), dtype=np.float32)
        ndimage.gaussian_filter(layer, SIGMA, output=layer)
        higher = layer > best
        classes[higher] = number
        best[higher] = layer[higher]
    return classes


def trace(classes: np.ndarray) -> Polygons:
    from dataclasses import replace

    store = PolygonStore(np.zeros(0, np.uint8))
    tracer = Tracer(classes.shape, None, store, junctions=True)
    for row in range(0, classes.shape[0], BLOCK):
        for column in range(0, classes.shape[1], BLOCK):
            tracer.add(BlockValues(row, column, classes[row : row + BLOCK, column : column + BLOCK].copy()))
    return replace(store.finish(None, None), shape=classes.shape)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--tolerance", type=float, default=2.0, help="pixels")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--map", help="a .npy file that keeps the map between runs")
    asked = parser.parse_args()

    try:
        classes = np.load(asked.map, mmap_mode="r")
    except (TypeError, FileNotFoundError):
        classes = make_map(asked.size)
        if asked.map:
            np.save(asked.map, classes)
    began = time.perf_counter()
    polygons = trace(classes)
    before, vertices = peak(), int(polygons.columns.vertices.sum())
    print(f"{asked.size} x {asked.size}: {len(polygons):,} polygons, {vertices:,} vertices")
    print(f"traced in {time.perf_counter() - began:.1f} s; peak so far {before:,.0f} MB")

    began, worked = time.perf_counter(), time.process_time()
    simple, change = change_borders(polygons, BorderOptions(Length(asked.tolerance, True)))
    done = time.perf_counter()
    after = peak()
    if asked.alone:
        print(f"geoseg: {done - began:.1f} s, {vertices / change.vertices:.2f} x fewer vertices, ", end="")
        print(f"peak {after:,.0f} MB, {(after - before) / (asked.size**2 / 1e6):.1f} MB a megapixel more")
        return
    shapes = simple.geometries()
    ours, our_work = time.perf_counter() - began, time.process_time() - worked
    print(
        f"geoseg: {ours:.1f} s ({our_work:.1f} s of processor time), {vertices / change.vertices:.2f} x fewer "
        f"vertices, moved at most {change.moved:.2f} px"
    )
    original = polygons.geometries()
    began, worked = time.perf_counter(), time.process_time()
    theirs_shapes = shapely.coverage_simplify(original, asked.tolerance)
    theirs, their_work = time.perf_counter() - began, time.process_time() - worked
    fewer = vertices / shapely.get_num_coordinates(theirs_shapes).sum()
    print(f"shapely: {theirs:.1f} s ({their_work:.1f} s of processor time), {fewer:.2f} x fewer vertices")
    print(f"ratio: {theirs / ours:.1f} x faster ({their_work / our_work:.1f} x by processor time)")
    pixels = polygons.columns.pixels
    for name, made in (("geoseg", shapes), ("shapely", theirs_shapes)):
        off = np.abs(shapely.area(made) - pixels) / pixels
        middle, worst = np.quantile(off, [0.5, 0.95])
        print(f"{name}: area of a polygon off by {middle:.1%} (median), {worst:.1%} (95 % of polygons)")
    print("valid:", bool(shapely.is_valid(shapes).all()), bool(shapely.coverage_is_valid(shapes)))
    covered = int((np.asarray(classes) != 255).sum())
    print(
        f"area: {shapely.area(shapes).sum():.6f} of {covered} pixels (the map has no nodata: no gap, no overlap)"
    )


if __name__ == "__main__":
    main()
