"""``geoseg models``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli.command import Verb
from geoseg.cli.options import debug_option, json_option, print_json, split_bands, talk_options

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group(short_help="The models that are there, and what they are worth.")
def models() -> None:
    """List models and show what they read, what they tell apart, and how well."""


@models.command("list", cls=Verb)
@click.argument("folders", nargs=-1, metavar="[DIR...]")
@json_option
@debug_option
def show_list(folders: tuple[str, ...], json: bool) -> None:
    """List the bundled models, those that were downloaded before, and the packages in DIR."""
    from geoseg.models.listing import list_models, table

    models, unread = list_models(folders)
    for line in unread:
        click.echo(f"geoseg: warning: {line}", err=True)
    if json:
        print_json([model.to_json() for model in models])
    else:
        click.echo(table(models))


@models.command(cls=Verb)
@click.argument("model", metavar="NAME|DIR|ZIP|ONNX|hf://")
@debug_option
def show(model: str) -> None:
    """Show a model's card: bands, classes, scores, and where it is and is not to be trusted."""
    from geoseg.models.card import describe
    from geoseg.models.package import load_card

    click.echo(describe(load_card(model)))


@models.command("export", cls=Verb)
@click.argument("model", metavar="NAME|DIR|ZIP|hf://")
@click.option("--to", type=click.Choice(["onnx", "openvino"]), required=True, help="The format.")
@click.option("-o", "--output", type=FOLDER, metavar="DIR", required=True, help="The new package.")
@click.option("--chip-size", type=int, metavar="N", help="Side of its chips [default: the model's].")
@click.option("--overwrite", is_flag=True, help="Replace a package that is there.")
@talk_options
def export_model(quiet: bool, model: str, **options: Any) -> None:
    """Write a package that also holds the network as ONNX or OpenVINO IR, converted and checked.

    It runs without torch, and without converting first. The ONNX file has the card in it and is a model by
    itself: predict --model DIR/network.onnx.
    """
    from geoseg.cli.progress import choose_progress
    from geoseg.verbs.export import export_model as run

    click.echo(run(model, **options, progress=choose_progress(quiet=quiet)))


@models.command(cls=Verb)
@click.argument("model", metavar="NAME|DIR|ZIP|hf://")
@click.option("--scenes", multiple=True, required=True, metavar="FILE...", help="Like what it will map.")
@click.option("--labels", multiple=True, metavar="FILE...", help="What is true there, one for each scene.")
@click.option("-o", "--output", type=FOLDER, metavar="DIR", required=True, help="The new package.")
@click.option("--label-column", metavar="NAME", help="Column of polygons that names the class.")
@click.option("--aoi", metavar="FILE", help="Measure only inside these polygons: ground it never saw.")
@click.option(
    "--chips", type=int, metavar="N", help="Chips that set the scales [default: 100 of 512 pixels]."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the places they are drawn from.")
@click.option("--bands", metavar="B,B,...", type=split_bands, help="As for predict.")
@click.option("--nodata", type=float, help="As for predict.")
@click.option("--scale", type=float, help="As for predict.")
@click.option("--offset", type=float, help="As for predict.")
@click.option("--warp", is_flag=True, help="As for predict.")
@click.option("--force", is_flag=True, help="As for predict.")
@click.option("--overwrite", is_flag=True, help="Replace a package that is there.")
@talk_options
def quantize(quiet: bool, model: str, **options: Any) -> None:
    """Write a package that also holds an int8 network, for predict --precision int8.

    Scales are set on chips of --scenes. Then every scene is mapped in fp32 and in int8; how far the maps
    agree, and with --labels accuracy and mean IoU of both, stand in the new package: models show DIR.
    """
    from geoseg.cli.progress import choose_progress
    from geoseg.verbs.quantize import quantize_model

    made = quantize_model(model, **options, progress=choose_progress(quiet=quiet))
    click.echo(made.folder)
