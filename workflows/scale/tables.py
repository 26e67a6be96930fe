"""The tables of docs/scale.md, worked out from the cost model that plans use.

python workflows/scale/tables.py [--forward 0.14]
"""

from __future__ import annotations

import argparse
from math import isqrt

from cluster import ClusterRun, bytes_of, cluster_seconds, whole_scene

from geoseg.plan.size import RATES, core_seconds, wall_seconds

SCENES = {
    "2048 x 2048": 2048**2,
    "4096 x 4096": 4096**2,
    "8192 x 8192": 8192**2,
    "32768 x 32768": 32768**2,
}
PLACES = {
    "a Sentinel-2 tile (10980 x 10980)": 10980**2,
    "a country (Germany, 357,600 km2 at 10 m)": int(357_600e6 / 100),
    "a continent (Europe, 10.2 million km2 at 10 m)": int(10.2e12 / 100),
}
CLUSTERS = (1, 10, 1000)


def run_of(pixels: int, *, polygons: bool = False) -> ClusterRun:
    """A square scene of so many pixels: six bands of uint16, nine classes, class map and confidence."""
    side = isqrt(pixels)
    options = {"chip": 512, "overlap": 64, "block": 2048, "bands": 6, "itemsize": 2, "classes": 9}
    return whole_scene((side, side), **options, polygons=polygons)


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    for unit, size, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 72)):
        if seconds < size * most:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{seconds / 86400:.1f} d" if seconds < 864_000 else f"{seconds / 86400:,.0f} d"


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--forward", type=float, default=0.14, help="core seconds of a chip of 512")
    forward = parser.parse_args().forward
    usual = run_of(8192**2, polygons=True)
    busy, moved = core_seconds(usual.size, forward), bytes_of(usual)
    print("| | core s a megapixel | MB a megapixel |\n|---|---|---|")
    sizes = {"read": moved["read"], "stitch": moved["margins"], "write": moved["maps"]}
    for stage, seconds in busy.items():
        size = f"{sizes[stage] / 1e6 / usual.size.megapixels:.1f}" if stage in sizes else ""
        print(f"| {stage} | {seconds / usual.size.megapixels:.3f} | {size} |")
    print(f"\na block: {moved['block'] / 1e6:.0f} MB to and from a worker; start {RATES.start} s\n")
    print("| scene | planned, two cores |\n|---|---|")
    for name, pixels in SCENES.items():
        print(f"| {name} | {duration(wall_seconds(run_of(pixels).size, forward, 2))} |")
    print(f"\n| workers | {' | '.join(map(str, CLUSTERS))} |\n|---|---|---|---|")
    for name, pixels in PLACES.items():
        run = run_of(pixels)
        print(f"| {name} | {' | '.join(duration(cluster_seconds(run, forward, n)) for n in CLUSTERS)} |")


if __name__ == "__main__":
    main()
