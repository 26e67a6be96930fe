"""Options that take several values: ``--scenes a.tif b.tif`` besides ``--scenes a.tif --scenes b.tif``."""

from __future__ import annotations

import click


class ManyValues(click.Command):
    """A command whose repeatable options also take all the words that follow them."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Repeat the option's name before each word; another option, or ``--``, ends the list."""
        repeatable = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for name in parameter.opts
        }
        spread: list[str] = []
        option, words = "", 0
        for word in args:
            if word.startswith("-"):
                option, words = word if word in repeatable else "", 0
            elif option:
                words += 1
                if words > 1:
                    spread.append(option)
            spread.append(word)
        return super().parse_args(context, spread)
