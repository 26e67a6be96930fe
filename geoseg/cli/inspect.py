"""``geoseg inspect``."""

from __future__ import annotations

from typing import Any

import click

from geoseg.cli.options import scene_options


@click.command(short_help="Say whether a scene fits a model, and what to do if not.")
@click.argument("scene", nargs=-1, required=True, metavar="SCENE...")
@scene_options
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.pass_context
def inspect(context: click.Context, /, scene: tuple[str, ...], **options: Any) -> None:
    """Examine SCENE as predict would, without running the network.

    Exits with 0 when the scene fits the model, with 2 when predict would refuse it.
    """
    from geoseg.verbs.inspect import inspect as run

    result = run(list(scene), **options)
    click.echo(result.text())
    context.exit(0 if result.fits else 2)
