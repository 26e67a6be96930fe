"""``geoseg polygonize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli.command import Verb
from geoseg.cli.options import POLYGON_ENDINGS, border_options, refine_options, stats_option, talk_options

FILE = click.Path(dir_okay=False, path_type=Path)


EXAMPLES = """\b
Examples:
  geoseg polygonize scene_classes.tif -o fields.gpkg --min-area 0.5ha
  geoseg polygonize scene_classes.tif -o fields.gpkg --sieve 0.5ha --simplify 2px
  geoseg polygonize scene_classes.tif -o crops.parquet --confidence sure.tif --classes corn,soybeans
  geoseg polygonize scene_classes.tif -o fields.gpkg --stats ndvi,nir:std --stats-from scene.tif
"""


@click.command(cls=Verb, short_help="Trace the polygons of a class map.", epilog=EXAMPLES)
@click.argument("class_map", metavar="CLASSES.tif")
@click.option(
    "-o",
    "--output",
    type=FILE,
    required=True,
    metavar="OUT.gpkg",
    help=f"{POLYGON_ENDINGS}.",
)
@click.option("--confidence", metavar="CONF.tif", help="Confidence raster of the same map.")
@click.option("--probabilities", metavar="PROB.tif", help="Probability raster of the same map.")
@click.option("--min-area", metavar="0.5ha|450m2|20px", help="Leave out smaller polygons.")
@click.option(
    "--classes",
    metavar="C,C,...",
    type=lambda text: [text],
    help="Keep only these classes, by name or id.",
)
@click.option("--date", metavar="YYYY-MM-DD", help="Acquisition date [default: what the map says].")
@click.option("--force", is_flag=True, help="Go on although much of the map has no confidence.")
@refine_options
@click.option("--refined", type=FILE, metavar="OUT.tif", help="Also write the class map as clean-up left it.")
@border_options
@stats_option
@click.option(
    "--stats-from",
    multiple=True,
    callback=lambda _context, _parameter, paths: list(paths) or None,
    metavar="SCENE.tif",
    help="The raster that --stats is computed of, on the map's grid; again for more files.",
)
@click.option("--fiboa", is_flag=True, help="Add fiboa's columns of crop fields (.parquet only).")
@click.option(
    "--block-size",
    type=int,
    metavar="N",
    help="Side of the blocks that are traced, in pixels; only changes memory.",
)
@click.option(
    "--max-memory", metavar="4GB", help="Memory that the process may take [default: half of what is free]."
)
@click.option(
    "--workers", type=int, metavar="N", help="Blocks traced at once; only changes speed [default: the cores]."
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option("--report", type=FILE, metavar="OUT.json", help="Write what was done and what came out.")
@talk_options
def polygonize(quiet: bool, class_map: str, output: Path, **options: Any) -> None:
    """Turn CLASSES.tif, a class raster of geoseg or anyone else, into polygons.

    Every patch of one class (pixels that share a side) becomes one row with its class, area, perimeter and
    id. Give the confidence and probability rasters of the map for confidence and runner-up columns. Clean-up
    (--smooth, --open, --close, --fill-holes, --sieve, in this order) changes the map first. Simplified
    borders (--simplify, --smooth-borders) leave no gap and no overlap. Filters only leave rows out; they
    judge polygons by the area of their pixels.
    """
    from geoseg.cli.progress import choose_progress
    from geoseg.system.memory import bound_gdal_cache
    from geoseg.verbs.polygonize import polygonize as run

    if options["max_memory"] is not None:
        bound_gdal_cache(options["max_memory"])
    result = run(class_map, output, **options, progress=choose_progress(quiet=quiet))
    click.echo(result.output)
    if options["report"] is not None:
        click.echo(options["report"])
