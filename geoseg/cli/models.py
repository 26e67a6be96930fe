"""``geoseg models``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from geoseg.cli.command import Verb
from geoseg.cli.options import (
    debug_option,
    json_option,
    print_json,
    split_bands,
    split_list,
    talk_options,
    value_options,
)

FOLDER = click.Path(file_okay=False, path_type=Path)


def _numbers(text: str) -> list[float]:
    """Turn ``"0.1,2"`` into ``[0.1, 2.0]``."""
    try:
        return [float(item) for item in split_list(text)]
    except ValueError as error:
        raise click.BadParameter(f"'{text}' is not a list of numbers; write 0.1,0.2.") from error


def _setting(text: str) -> tuple[str, Any]:
    """Turn ``"depth=4"`` into ``("depth", 4)``; what is no JSON is a text."""
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise click.BadParameter(f"'{text}' is no setting; write KEY=VALUE.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


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
    itself: predict --model DIR/network.onnx. It also runs in Deepness (QGIS) and, of three bands, in GeoDeep.
    """
    from geoseg.cli.progress import choose_progress
    from geoseg.verbs.export import export_model as run

    click.echo(run(model, **options, progress=choose_progress(quiet=quiet)))


@models.command("push", cls=Verb)
@click.argument("model", metavar="NAME|DIR|ZIP")
@click.argument("address", metavar="hf://OWNER/NAME")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--message", metavar="TEXT", help="Of the commit [default: the model's name and version].")
@talk_options
def push(quiet: bool, model: str, address: str, **options: Any) -> None:
    """Upload a package to the Hugging Face Hub, for --model hf://OWNER/NAME.

    The token is the hub's own: from `hf auth login`, or the variable HF_TOKEN.
    """
    from geoseg.cli.progress import choose_progress
    from geoseg.verbs.push import push_model

    click.echo(push_model(model, address, **options, progress=choose_progress(quiet=quiet)))


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
@value_options
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


EXAMPLES = """\b
Examples:
  geoseg models import smp-folder -o crops --bands red,green,blue --classes other,crop --mean 0 --std 255
  geoseg models show crops
  geoseg predict scene.tif --model crops
"""


@models.command("import", cls=Verb, epilog=EXAMPLES)
@click.argument("source", metavar="FILE|DIR|hf://")
@click.option("-o", "--output", type=FOLDER, metavar="DIR", required=True, help="The new package.")
@click.option(
    "--bands", metavar="B,B,...", type=split_list, help="Names of its bands in its order: blue,green,red,nir."
)
@click.option(
    "--classes",
    metavar="C,C,...",
    type=split_list,
    help="Its classes in its order: NAME, ID=NAME or ID=NAME:#rrggbb [default id: its own index].",
)
@click.option("--mean", metavar="M,M,...", type=_numbers, help="Subtracted from values; one for all or each.")
@click.option("--std", metavar="S,S,...", type=_numbers, help="Divided by then; one for all or each.")
@click.option("--gsd", type=float, metavar="M", help="Metres a pixel that it was trained on.")
@click.option("--overwrite", is_flag=True, help="Replace a package that is there.")
@click.option("--scale", type=float, help="Values are stored values times this, in training [default: 1].")
@click.option("--offset", type=float, help="Added after --scale [default: 0].")
@click.option(
    "--range",
    "value_range",
    metavar="LOW,HIGH",
    type=_numbers,
    help="Usual values, 1st and 99th percentile [default: from --mean and --std].",
)
@click.option(
    "--transforms",
    metavar="T,T,...",
    help="Done to values before --mean: scale=A, offset=B, log=A, sigmoid, power=P, in order.",
)
@click.option("--units", metavar="TEXT", help="What values are: reflectance, digital numbers ...")
@click.option("--architecture", metavar="NAME", help="Of weights alone: unet, deeplabv3plus, fpn ...")
@click.option("--encoder", metavar="NAME", help="Of weights alone: resnet34, tu-convnext_tiny ...")
@click.option(
    "--option",
    "network",
    metavar="KEY=VALUE",
    multiple=True,
    type=_setting,
    help="A further argument of the architecture: decoder_channels=[256,128,64,32,16].",
)
@click.option("--chip-size", type=int, metavar="N", help="Side of its chips [default: 512].")
@click.option("--overlap", type=int, metavar="N", help="Pixels that chips share [default: N / 4, up to 64].")
@click.option("--name", metavar="NAME", help="The package's name [default: the folder's].")
@click.option("--license", metavar="ID", help="Licence of the weights.")
@click.option("--citation", metavar="TEXT", help="How to cite the model.")
@debug_option
def import_model(
    source: str,
    network: tuple[tuple[str, Any], ...],
    value_range: list[float] | None,
    transforms: str | None,
    **options: Any,
) -> None:
    """Write a package from a model that another tool wrote, without running any code in it.

    What the file itself says need not be said again; the error says what is missing.
    """
    from geoseg.models.transforms import parse_transforms
    from geoseg.verbs.import_model import import_model as run

    if value_range is not None and len(value_range) != 2:
        raise click.UsageError("--range takes two numbers: LOW,HIGH")
    made = run(
        source,
        network=dict(network) or None,
        value_range=None if value_range is None else [(value_range[0], value_range[1])],
        transforms=None if transforms is None else [parse_transforms(transforms)],
        **options,
    )
    click.echo(made)
