"""Options that several verbs share, and how their text becomes values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from geoseg.cli.command import keep_debug
from geoseg.files import to_json
from geoseg.polygons.writers import WRITERS

_ENDINGS = tuple(WRITERS)
POLYGON_ENDINGS = f"{', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}"
"""The endings of all formats of polygons, for help texts."""
Command = TypeVar("Command", bound=Callable[..., Any])


def split_list(text: str) -> list[str]:
    """Split ``"a, b"`` into ``["a", "b"]``."""
    return [item.strip() for item in text.split(",") if item.strip()]


def split_bands(text: str) -> list[str | int]:
    """Split ``"nir,3"`` into ``["nir", 3]``."""
    return [int(item) if item.isdecimal() else item for item in split_list(text)]


def pixels_or_auto(text: str) -> int | str:
    """Turn ``"512"`` into ``512``; leave ``"auto"`` as it is."""
    try:
        return text if text == "auto" else int(text)
    except ValueError as error:
        raise click.BadParameter(f"'{text}' is neither a number of pixels nor auto.") from error


def number_or_auto(text: str) -> float | None:
    """Turn ``"0.0001"`` into ``0.0001``, and ``"auto"`` into None."""
    try:
        return None if text == "auto" else float(text)
    except ValueError as error:
        raise click.BadParameter(f"'{text}' is neither a number nor auto.") from error


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Make one decorator of several options."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


value_options = together(
    click.option(
        "--scale",
        metavar="A|auto",
        type=number_or_auto,
        help="Stored values are multiplied by this [default: auto, the file's tag, else what fits].",
    ),
    click.option("--offset", type=float, help="Added after --scale [default: the file's offset tag]."),
    click.option(
        "--atmosphere",
        type=click.Choice(["auto", "none", "approximate"]),
        default="auto",
        show_default=True,
        help="Convert top-of-atmosphere reflectance to about that of the surface; auto: if metadata say so.",
    ),
)
"""What stored values mean: in all verbs that run a model on scenes."""

scene_options = together(
    click.option(
        "--model",
        metavar="NAME|DIR|ZIP|ONNX|hf://",
        help="Bundled model, package, or owner/name on the Hugging Face Hub "
        "[default: the bundled one that fits].",
    ),
    click.option(
        "--bands",
        metavar="B,B,...",
        type=split_bands,
        help="The scene's bands in the model's order, by name or number: blue,green,red or 3,2,1.",
    ),
    click.option("--nodata", type=float, help="Stored value that means nodata [default: the file's]."),
    value_options,
    click.option(
        "--warp", is_flag=True, help="Bring a scene with GCPs, RPCs or a rotation to a north-up grid."
    ),
)
"""How a scene is read: in predict and inspect."""


date_option = click.option(
    "--date", metavar="YYYY-MM-DD", help="Acquisition date [default: what the scene says]."
)
"""``--date``: in predict and inspect."""


refine_options = together(
    click.option(
        "--smooth",
        type=int,
        metavar="N",
        help="Give every pixel the most frequent class of N x N pixels around it.",
    ),
    click.option(
        "--open",
        "opening",
        metavar="C,C:N",
        help="Remove what is narrower than N pixels from these classes.",
    ),
    click.option(
        "--close",
        "closing",
        metavar="C,C:N",
        help="Fill what is narrower than N pixels between parts of these classes.",
    ),
    click.option("--fill-holes", metavar="SIZE", help="Fill smaller holes of a class: 0.5ha, 20px."),
    click.option(
        "--sieve", metavar="0.5ha|450m2|20px", help="Merge smaller patches into their best neighbour."
    ),
)
"""How a class map is cleaned up: in predict and polygonize."""


border_options = together(
    click.option(
        "--simplify",
        metavar="10m|2px",
        help="Simplify borders, none moved farther than this.",
    ),
    click.option(
        "--smooth-borders", type=int, metavar="N", help="Cut the corners of borders round, 1 to 4 times."
    ),
)
"""How borders of polygons are changed: in predict and polygonize."""


stats_option = click.option(
    "--stats",
    metavar="S,S,...",
    type=split_list,
    help="Add columns to polygons: ndvi,B8:std (mean, std, min, max or count of a band or index).",
)
"""Which statistics polygons get: in predict and polygonize."""


debug_option = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=keep_debug,
    help="Show the traceback of an error, and more of what is done.",
)
"""``--debug``: in every verb."""


json_option = click.option("--json", is_flag=True, help="Print JSON, for programs.")
"""``--json``: in verbs whose result is a text."""


talk_options = together(
    click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors and results."),
    debug_option,
)
"""How much is said: in verbs that run for a while."""


def print_json(content: Any) -> None:
    """Print a result as JSON."""
    click.echo(to_json(content), nl=False)
