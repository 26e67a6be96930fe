"""``geoseg predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli.command import Verb
from geoseg.cli.options import (
    POLYGON_ENDINGS,
    border_options,
    date_option,
    pixels_or_auto,
    refine_options,
    scene_options,
    stats_option,
    talk_options,
)
from geoseg.inference.backends import BACKENDS

FILE = click.Path(dir_okay=False, path_type=Path)


EXAMPLES = """\b
Examples:
  geoseg predict scene.tif
  geoseg predict scene.tif -o map.tif --confidence sure.tif --polygons fields.gpkg
  geoseg predict scene.tif --polygons fields.gpkg --sieve 0.5ha --simplify 2px
  geoseg predict B02.tif B03.tif B04.tif B8A.tif B11.tif B12.tif --scale 0.0001
  geoseg predict https://host/scene.tif --aoi county.gpkg --polygons fields.parquet
"""


@click.command(cls=Verb, short_help="Map the classes of a scene.", epilog=EXAMPLES)
@click.argument("scene", nargs=-1, required=True, metavar="SCENE...")
@click.option(
    "-o", "--output", type=FILE, metavar="OUT.tif", help="Class map [default: SCENE_classes.tif here]."
)
@click.option(
    "--polygons",
    type=FILE,
    metavar="OUT.gpkg",
    help=f"Also write polygons: {POLYGON_ENDINGS}.",
)
@click.option("--confidence", type=FILE, metavar="OUT.tif", help="Also write the confidence, 0-100 percent.")
@click.option("--probabilities", type=FILE, metavar="OUT.tif", help="Also write every class's probability.")
@scene_options
@click.option(
    "--skip-bad-blocks", is_flag=True, help="Map a damaged file; blocks that cannot be read are nodata."
)
@click.option("--aoi", metavar="FILE", help="Map only pixels whose centre is inside these polygons.")
@date_option
@click.option("--force", is_flag=True, help="Run although the scene does not look like the model's.")
@click.option(
    "--chip-size",
    metavar="N|auto",
    type=pixels_or_auto,
    help="Side of a chip; auto computes the fewest pixels for the scene [default: the model's].",
)
@click.option("--overlap", type=int, metavar="N", help="Pixels that chips share [default: the model's].")
@click.option(
    "--batch-size", type=int, metavar="N", help="Chips an inference [default: 1 on a CPU, 8 on a GPU]."
)
@click.option(
    "--block-size",
    type=int,
    metavar="N",
    help="Side of the blocks that are stitched, in pixels; only changes memory.",
)
@click.option(
    "--concurrency",
    "concurrency",
    type=int,
    metavar="N",
    help="Inferences at once; only changes speed [default: one for each processor].",
)
@click.option("--workers", type=int, metavar="N", help="Compute in N processes, each with one thread.")
@click.option("--dask", metavar="tcp://HOST:PORT", help="Compute on the workers of a Dask cluster.")
@click.option(
    "--backend",
    type=click.Choice(["auto", *BACKENDS]),
    default="auto",
    show_default=True,
    help="What runs the network; auto is the fastest that is installed.",
)
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]|mps", help="Where to run."
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16", "int8"]),
    default="auto",
    show_default=True,
    help="auto is bf16 where the processor or GPU computes in it; int8 needs a quantized model.",
)
@click.option(
    "--tta",
    type=click.Choice(["none", "flips", "d4"]),
    default="none",
    show_default=True,
    help="Average over mirrored (4 times slower) or mirrored and turned chips (8 times).",
)
@refine_options
@border_options
@stats_option
@click.option(
    "--max-memory",
    metavar="4GB",
    help="Memory that the run may take, GB or GiB; never changes the answer [default: half of what is free].",
)
@click.option("--resume", is_flag=True, help="Go on with a run that was cut short, if there is one.")
@click.option("--overwrite", is_flag=True, help="Replace existing files and unfinished work.")
@click.option("--dry-run", is_flag=True, help="Check everything, print the plan, write nothing.")
@click.option(
    "--report", type=FILE, metavar="OUT.json", help="Write what was done, how long it took, what came out."
)
@talk_options
def predict(quiet: bool, scene: tuple[str, ...], **options: Any) -> None:
    """Predict a class for every valid pixel of SCENE and write a georeferenced class map.

    SCENE is any raster GDAL reads, by path or URL; several are taken as the bands or tiles of one scene.
    Bands are found by their names. A scene that does not fit the model is refused with what to do about it.
    """
    from geoseg.cli.progress import choose_progress
    from geoseg.system.memory import bound_gdal_cache, keep_memory
    from geoseg.verbs.predict import predict as run

    keep_memory()
    if options["max_memory"] is not None:
        bound_gdal_cache(options["max_memory"])
    result = run(list(scene), **options, progress=choose_progress(quiet=quiet))
    if options["dry_run"]:
        click.echo(result.plan.summary())
    for path in result.outputs.values():
        click.echo(path)
