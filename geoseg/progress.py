"""The protocol by which a run reports progress: stages with a bar, and lines for the user.

The caller decides how to show them. Lines go to the standard logger ``geoseg``, which cannot show a bar.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from geoseg.redaction import redacted

_LOGGER = logging.getLogger("geoseg")
_WARNING = "warning: "


class Bar(Protocol):
    """The progress of one stage."""

    def advance(self, done: float) -> None:
        """Report that ``done`` more units are finished."""


class Progress(Protocol):
    """Shows the stages of a run."""

    def stage(self, name: str, total: float, unit: str) -> AbstractContextManager[Bar]:
        """Begin a stage of ``total`` units, which ends with the context."""

    def say(self, message: str) -> None:
        """Tell the user one line: a record of the logger ``geoseg``."""
        level = logging.WARNING if message.startswith(_WARNING) else logging.INFO
        _LOGGER.log(level, "%s", redacted(message.removeprefix(_WARNING)), stacklevel=2)


class Silent(Progress):
    """Progress that shows no bars; lines still go to the logger."""

    def stage(self, name: str, total: float, unit: str) -> AbstractContextManager[Bar]:  # noqa: ARG002
        """Begin a stage that is not shown."""
        return nullcontext(self)

    def advance(self, done: float) -> None:
        """Show nothing."""
