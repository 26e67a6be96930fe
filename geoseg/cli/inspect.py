"""``geoseg inspect``."""

from __future__ import annotations

from typing import Any

import click

from geoseg.cli.command import Verb
from geoseg.cli.options import date_option, debug_option, json_option, print_json, scene_options


@click.command(cls=Verb, short_help="Say whether a scene fits a model, and what to do if not.")
@click.argument("scene", nargs=-1, required=True, metavar="SCENE...")
@scene_options
@date_option
@json_option
@debug_option
@click.pass_context
def inspect(context: click.Context, /, scene: tuple[str, ...], json: bool, **options: Any) -> None:
    """Examine SCENE as predict would, without running the network.

    Exits with 0 when the scene fits the model, with 2 when predict would refuse it.
    """
    from geoseg.verbs.inspect import inspect as run

    result = run(list(scene), **options)
    if json:
        print_json(result.to_json())
    else:
        click.echo(result.text())
    context.exit(0 if result.fits else 2)
