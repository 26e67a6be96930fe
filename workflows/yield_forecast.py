"""Forecast the yield of every field and district from geoseg's polygons and the scenes of a season.

python workflows/yield_forecast.py --polygons june.gpkg august.gpkg --scenes 2024-06-14=s1.tif
2024-08-05=s2.tif \
    --yields yields.csv --yield-column t_ha --districts counties.gpkg -o forecast

python workflows/yield_forecast.py --demo demo        a generated season, forecast into demo/forecast

docs/yield.md says what comes out, by which rules, and what it is worth.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from yields.pipeline import Job, Outcome, run

from geoseg.errors import GeosegError, InputError

OUTPUTS = ("fields.parquet", "districts.parquet", "forecast.png", "report.json")


def dated(text: str) -> tuple[date | None, str]:
    """``DATE=FILE`` or ``FILE``."""
    day, equals, path = text.partition("=")
    try:
        return (date.fromisoformat(day), path) if equals else (None, text)
    except ValueError:
        return None, text  # a file name or URL with = in it


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s [options]"
    )
    add = parser.add_argument
    add(
        "--polygons",
        nargs="+",
        type=dated,
        default=[],
        metavar="[DATE=]FILE",
        help="maps as geoseg wrote them",
    )
    add(
        "--scenes",
        nargs="+",
        type=dated,
        default=[],
        metavar="[DATE=]FILE",
        help="the season, two dates or more",
    )
    add("--yields", type=Path, metavar="FILE", help="known yields: CSV by id, or points or polygons")
    add("--yield-column", default="yield", metavar="NAME", help="its column (default: yield)")
    add(
        "--id-column",
        default="id",
        metavar="NAME",
        help="a CSV's column with ids of the reference map (default: id)",
    )
    add("--unit", default="t/ha", help="unit of the yields, for the chart (default: t/ha)")
    add("--districts", type=Path, metavar="FILE", help="polygons to forecast for and to hold out")
    add("--district-column", default="name", metavar="NAME", help="their names (default: name)")
    add(
        "--block",
        type=float,
        default=10.0,
        metavar="KM",
        help="without districts: side of blocks (default: 10)",
    )
    add(
        "--reference",
        type=date.fromisoformat,
        metavar="DATE",
        help="map whose polygons are the fields (default: last)",
    )
    add("--classes", default="", metavar="NAME,NAME", help="only fields of these classes (default: all)")
    add("--min-area", type=float, default=0.5, metavar="HA", help="leave out smaller fields (default: 0.5)")
    add(
        "--min-overlap",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="of a field, to match it (default: 0.5)",
    )
    add(
        "--confidence", type=Path, metavar="FILE", help="confidence raster: sure pixels count more in indices"
    )
    add("--level", type=float, default=0.9, help="of the intervals (default: 0.9)")
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("forecast"),
        metavar="DIR",
        help="folder (default: forecast)",
    )
    add("--demo", type=Path, metavar="DIR", help="make a generated season there and forecast it")
    return parser.parse_args(words)


def job_of(asked: argparse.Namespace) -> Job:
    """What the command line asks for.

    Raises:
        InputError: If polygons or scenes are missing.
    """
    for name in ("polygons", "scenes"):
        if not getattr(asked, name):
            raise InputError(f"--{name} is missing; --demo DIR shows how it works without data of your own")
    return Job(
        polygons=[(day, Path(path)) for day, path in asked.polygons],
        scenes=asked.scenes,
        yields=asked.yields,
        yield_column=asked.yield_column,
        id_column=asked.id_column,
        districts=asked.districts,
        district_column=asked.district_column,
        block_km=asked.block,
        reference=asked.reference,
        classes=tuple(name.strip() for name in asked.classes.split(",") if name.strip()),
        min_area=asked.min_area,
        least_share=asked.min_overlap,
        confidence=asked.confidence,
        level=asked.level,
    )


def demo_job(folder: Path) -> Job:
    """The generated season."""
    from yields.demo import make_world, write_demo

    files = write_demo(folder, make_world())
    return Job(
        polygons=[(None, path) for path in files["polygons"]],
        scenes=[dated(f"{path.stem.removeprefix('scene_')}={path}") for path in files["scenes"]],
        yields=files["yields"],
        districts=files["districts"],
        confidence=files["confidence"],
    )


def write(outcome: Outcome, folder: Path, unit: str) -> list[Path]:
    """Write all files under hidden names, then give them their own; returns them."""
    from yields.chart import draw

    folder.mkdir(parents=True, exist_ok=True)
    staged = {name: folder / f".{os.getpid()}.{name}" for name in OUTPUTS}
    try:
        outcome.fields.to_parquet(staged["fields.parquet"], write_covering_bbox=True)
        if outcome.districts is not None:
            outcome.districts.to_parquet(staged["districts.parquet"], write_covering_bbox=True)
        draw(outcome, staged["forecast.png"], unit)
        staged["report.json"].write_text(
            json.dumps(outcome.report | {"unit": unit}, indent=2, default=str) + "\n"
        )
        made = [name for name in OUTPUTS if staged[name].exists()]
        for name in OUTPUTS:
            (folder / name).unlink(missing_ok=True)
        for name in made:
            staged[name].replace(folder / name)
    finally:
        for path in staged.values():
            path.unlink(missing_ok=True)
    return [folder / name for name in made]


def main(words: Sequence[str] | None = None) -> int:
    """Run; returns the exit code: 0 done, 1 failed, 2 an input is wrong."""
    asked = arguments(words)
    try:
        job = demo_job(asked.demo) if asked.demo else job_of(asked)
        outcome = run(job, say=lambda text: print(text, file=sys.stderr))
        for path in write(outcome, asked.demo / "forecast" if asked.demo else asked.output, asked.unit):
            print(path)
    except GeosegError as error:
        print(f"yield_forecast: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
