"""How a run tells how far it is; the caller decides who shows it, and where.

What a run says in lines goes to the standard logger ``geoseg``; a bar is what a logger cannot show.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

_LOGGER = logging.getLogger("geoseg")
_WARNING = "warning: "


class Bar(Protocol):
    """The progress of one stage."""

    def advance(self, done: float) -> None:
        """Say that ``done`` more units are finished."""


class Progress(Protocol):
    """Shows the stages of a run."""

    def stage(self, name: str, total: float, unit: str) -> AbstractContextManager[Bar]:
        """Begin a stage of ``total`` units; it ends with the context."""

    def say(self, message: str) -> None:
        """Tell the user one line: a record of the logger ``geoseg``."""
        level = logging.WARNING if message.startswith(_WARNING) else logging.INFO
        _LOGGER.log(level, "%s", message.removeprefix(_WARNING), stacklevel=2)


class Silent(Progress):
    """Progress that draws nothing; what is said is logged."""

    def stage(self, name: str, total: float, unit: str) -> AbstractContextManager[Bar]:  # noqa: ARG002
        """Begin a stage that is not shown."""
        return nullcontext(self)

    def advance(self, done: float) -> None:
        """Show nothing."""
