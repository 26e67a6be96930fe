"""The command line: one thin module a verb that parses, calls and prints.

stdout carries results, stderr everything else. Exit codes: 0 done, 1 the run failed, 2 the command line or an
input is wrong, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from geoseg._version import __version__
from geoseg.cli.console import open_console
from geoseg.cli.env import env
from geoseg.cli.evaluate import evaluate
from geoseg.cli.inspect import inspect
from geoseg.cli.models import models
from geoseg.cli.polygonize import polygonize
from geoseg.cli.predict import predict
from geoseg.cli.train import train
from geoseg.errors import GeosegError, shortage
from geoseg.system.cache import cache_folder

INTERRUPTED = 130


EXAMPLES = """\b
Examples:
  geoseg predict scene.tif                         a class map that opens in QGIS
  geoseg predict scene.tif --polygons fields.gpkg  and its polygons
  geoseg inspect scene.tif                         does the scene fit the model?
  geoseg polygonize map.tif -o fields.gpkg         polygons of any class map
  geoseg evaluate map.tif --labels truth.tif       how good is the map?
  geoseg train recipe.toml -o my-crops             learn from your own labels
  geoseg models show dakota-crops                  what a model is worth
  geoseg env                                       what works here, for a bug report

\b
Options can be set by variables too: GEOSEG_PREDICT_CHIP_SIZE=512 sets --chip-size of geoseg predict.
GEOSEG_MODEL, GEOSEG_MAX_MEMORY, GEOSEG_DEVICE, GEOSEG_BACKEND, GEOSEG_PRECISION, GEOSEG_QUIET and
GEOSEG_DEBUG set an option of every verb that has it. The command line wins over a variable.
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=EXAMPLES
)
@click.version_option(__version__, prog_name="geoseg")
def cli() -> None:
    """Turn satellite and aerial scenes of any size into crop and land-cover maps."""


for _verb in (predict, inspect, polygonize, evaluate, train, models, env):
    cli.add_command(_verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    open_console()
    signal.signal(signal.SIGTERM, _interrupt)
    # GDAL would keep up to a twentieth of the machine's memory in blocks that are never read again.
    os.environ.setdefault("GDAL_CACHEMAX", "256")
    # matplotlib would make a folder among the user's settings.
    os.environ.setdefault("MPLCONFIGDIR", os.fspath(cache_folder("matplotlib")))
    sys.exit(run(arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    shared: dict[str, bool] = {}
    try:
        code = cli.main(list(arguments), prog_name="geoseg", standalone_mode=False, obj=shared)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        said = str(error.__cause__ or error)  # click puts its own error around a KeyboardInterrupt
        click.echo(f"geoseg: interrupted; {said or 'no output was written'}", err=True)
        return INTERRUPTED
    except Exception as error:
        if shared.get("debug"):
            sys.excepthook = sys.__excepthook__  # the console's passes over some, which may be this one
            raise
        return _explain(error)
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> int:
    """Say in one line why a run ended, and return its exit code."""
    if not isinstance(error, GeosegError):
        error = shortage(error) or error
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    text = " ".join(f"{error}{notes}".split())
    if isinstance(error, GeosegError):
        click.echo(f"geoseg: error: {text}", err=True)
        return error.exit_code
    click.echo(f"geoseg: failed: {type(error).__name__}: {text} (--debug shows where)", err=True)
    return 1


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End a run on SIGTERM as Ctrl-C does, so that its unfinished files are removed."""
    raise KeyboardInterrupt
