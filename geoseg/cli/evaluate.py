"""``geoseg evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli.command import Verb
from geoseg.cli.options import split_bands, split_list, talk_options, value_options
from geoseg.errors import SettingsError

FILE = click.Path(dir_okay=False, path_type=Path)

EXAMPLES = """\b
Examples:
  geoseg evaluate map.tif --labels truth.tif --confidence sure.tif --report score.html
  geoseg evaluate map.tif --labels fields.gpkg --label-column crop
  geoseg evaluate dakota-crops --scene scene.tif --labels truth.tif --report score.json
  geoseg evaluate map.tif --confidence sure.tif --labels truth.tif --contradictions review.gpkg
  geoseg evaluate map.tif --draw-sample 600 -o sample.gpkg   label it in QGIS, then
  geoseg evaluate map.tif --labels sample.gpkg               class areas with intervals
"""


def split_remap(text: str) -> dict[int | str, int]:
    """Turn ``"1=1,5=2,lake=7"`` into a mapping."""
    pairs: dict[int | str, int] = {}
    for item in text.split(","):
        value, sign, target = item.rpartition("=")
        if not sign or not value.strip() or not target.strip().isdecimal():
            raise SettingsError(f'--remap "{item}" is not VALUE=ID, as in 1=1,5=2,lake=7')
        pairs[value.strip()] = int(target)
    return pairs


@click.command(cls=Verb, short_help="Say how good a map or a model is.", epilog=EXAMPLES)
@click.argument("target", metavar="MODEL|CLASSES.tif")
@click.option("--labels", metavar="FILE", help="Class raster, polygons, or a filled sample.")
@click.option("--scene", multiple=True, metavar="FILE", help="The scene: to map with MODEL, or for pictures.")
@click.option("--confidence", metavar="CONF.tif", help="Confidence of the map, for calibration.")
@click.option(
    "--report", multiple=True, type=FILE, metavar="OUT.html|.json", help="Write a report; may be repeated."
)
@click.option("--aoi", metavar="FILE", help="Compare only pixels whose centre is inside these polygons.")
@click.option("--label-column", metavar="NAME", help="Column of polygons that names the class.")
@click.option(
    "--remap",
    metavar="V=ID,...",
    type=split_remap,
    help="Label values to class ids; others are no label.",
)
@click.option("--ignore", metavar="V,...", type=split_list, help="Label values that say nothing.")
@click.option("--blocks", metavar="7.5km|512px", help="Blocks resampled for intervals [default: 512px].")
@click.option(
    "--tolerance",
    "tolerances",
    default="1px,3px",
    show_default=True,
    type=split_list,
    metavar="3px,30m",
    help="For boundary F1.",
)
@click.option(
    "--contradictions",
    type=FILE,
    metavar="OUT.gpkg",
    help="Rank the places where a confident map contradicts the labels; needs --confidence or MODEL.",
)
@click.option("--draw-sample", type=int, metavar="N", help="Draw N pixels to label instead; needs -o.")
@click.option("-o", "--output", type=FILE, metavar="SAMPLE.gpkg", help="The drawn sample.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resampling and the sample.")
@click.option("--bands", metavar="B,B,...", type=split_bands, help="With MODEL: as for predict.")
@click.option("--nodata", type=float, help="As for predict.")
@value_options
@click.option("--warp", is_flag=True, help="As for predict.")
@click.option(
    "--force", is_flag=True, help="Go on although much of the labels is left out; with MODEL: as for predict."
)
@click.option("--backend", default="auto", show_default=True, help="With MODEL: as for predict.")
@click.option("--device", default="auto", show_default=True, help="With MODEL: as for predict.")
@click.option("--precision", default="auto", show_default=True, help="With MODEL: as for predict.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@talk_options
def evaluate(quiet: bool, target: str, **options: Any) -> None:
    """Compare CLASSES.tif, or the map that MODEL makes of a scene, with labels.

    Prints accuracy, mean IoU and a row a class; --report writes all of it, with intervals, confusion matrix,
    calibration and class areas. Pixels without a label change nothing. With --draw-sample it draws the
    stratified random sample that area estimates need.
    """
    from geoseg.cli.progress import choose_progress
    from geoseg.verbs.evaluate import evaluate as run

    options["ignore"] = options["ignore"] or ()
    options["scene"] = list(options["scene"]) or None
    result = run(target, **options, progress=choose_progress(quiet=quiet))
    click.echo(result.text())
    for path in result.outputs.values():
        click.echo(path)
