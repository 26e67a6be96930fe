"""A verb of the command line: options in groups, from the environment too, and the log on stderr."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from geoseg.cli.groups import GROUPS
from geoseg.cli.progress import shown_log
from geoseg.errors import GeosegError

PREFIX = "GEOSEG"
SHARED = ("backend", "debug", "device", "max_memory", "model", "precision", "quiet")
"""Options that say more of a machine than of a run: one variable sets them for every verb."""
ALIASES = {"--forwards": "--concurrency"}
"""Old spelling of an option -> the one that is shown."""
_COLUMN = 30


class Verb(click.Command):
    """A command with grouped help, options from ``GEOSEG_*`` variables, and repeatable options.

    An option that may be repeated also takes all the words that follow it: ``--scenes a.tif b.tif``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._options = [parameter for parameter in self.params if isinstance(parameter, click.Option)]
        for option in self._options:
            option.envvar = self._variables(option)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a heading for every group."""
        records = {
            parameter.name: record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)) is not None
        }
        groups = dict(GROUPS.get(self.name or "", {"Options": ()}))
        grouped = {name for names in groups.values() for name in names}
        groups[next(reversed(groups))] += tuple(name for name in records if name and name not in grouped)
        width = min(max(len(left) for left, _ in records.values()), _COLUMN)
        for title, names in groups.items():
            rows = [records[name] for name in names if name in records]
            if rows:
                rows[0] = (rows[0][0].ljust(width), rows[0][1])  # so that all groups share their columns
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=_COLUMN)
        formatter.write_paragraph()
        formatter.write_text(f"Variables set options too, as {self._example()} does; see `geoseg --help`.")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line, then the environment."""
        with self._naming_variables(ctx):
            return super().parse_args(ctx, self._spread(args))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; what it logs is shown on stderr."""
        level = logging.DEBUG if ctx.ensure_object(dict).get("debug") else logging.INFO
        with shown_log(level, quiet=ctx.params.get("quiet", False)), self._naming_variables(ctx):
            return super().invoke(ctx)

    def _variables(self, option: click.Option) -> list[str]:
        """The variables that set an option; the first that is set counts."""
        name = _long_name(option).removeprefix("--").replace("-", "_").upper()
        own = f"{PREFIX}_{(self.name or '').upper()}_{name}"
        return [own, f"{PREFIX}_{name}"] if option.name in SHARED else [own]

    def _example(self) -> str:
        options = self._options
        shared = [option for option in options if option.name in SHARED and option.name != "debug"]
        return self._variables((shared or options)[0])[-1]

    def _spread(self, args: list[str]) -> list[str]:
        """Spell options as they are named now, and repeat a repeatable one before each word that follows.

        Another option, or ``--``, ends it.
        """
        repeatable = {name for option in self._options if option.multiple for name in option.opts}
        spread: list[str] = []
        option, words = "", 0
        for word in args:
            name, sign, value = word.partition("=")
            if word.startswith("-"):
                option, words = word if word in repeatable else "", 0
            elif option:
                words += 1
                if words > 1:
                    spread.append(option)
            spread.append(ALIASES.get(name, name) + sign + value)
        return spread

    @contextmanager
    def _naming_variables(self, context: click.Context) -> Iterator[None]:
        """Name the variable where a value of the environment is wrong."""
        try:
            yield
        except click.BadParameter as error:
            if error.param is not None and (variable := _source(context, error.param)) is not None:
                error.param_hint = f"{variable} (environment)"
            raise
        except GeosegError as error:
            for option in self._options:
                variable = _source(context, option)
                if variable is not None and _is_about(str(error), option, context.params.get(option.name)):
                    error.add_note(f"{variable} sets {_long_name(option)}")
            raise


def keep_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    """Keep ``--debug`` where every part of the command line finds it."""
    context.ensure_object(dict)["debug"] = value


def _long_name(option: click.Option) -> str:
    return next((name for name in option.opts if name.startswith("--")), option.opts[0])


def _source(context: click.Context, parameter: click.Parameter) -> str | None:
    """The variable that a parameter's value came from; None if it came from elsewhere."""
    if context.get_parameter_source(parameter.name or "") is not ParameterSource.ENVIRONMENT:
        return None
    names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()
    return next((name for name in names if os.environ.get(name)), None)


def _is_about(message: str, option: click.Option, value: Any) -> bool:
    """Whether an error speaks of an option, by its name or its value."""
    return _long_name(option) in message or (isinstance(value, str | Path) and str(value) in message)
