"""``geoseg env``."""

from __future__ import annotations

import click

from geoseg.cli.command import Verb
from geoseg.cli.options import debug_option, json_option, print_json


@click.command(cls=Verb, short_help="Say what is installed here, and what works.")
@json_option
@debug_option
def env(json: bool) -> None:
    """Say what is installed on this machine and what works: what to put into a bug report.

    Backends are really imported, and GDAL and PROJ really asked, which takes a few seconds. Values of
    variables that look like secrets are not shown.
    """
    from geoseg.verbs.env import env as run

    found = run()
    if json:
        print_json(found.to_json())
    else:
        click.echo(found.text())
