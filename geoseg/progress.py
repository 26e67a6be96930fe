"""How a run tells how far it is; the caller decides who shows it, and where."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Bar(Protocol):
    """The progress of one stage."""

    def advance(self, done: float) -> None:
        """Say that ``done`` more units are finished."""


class Progress(Protocol):
    """Shows the stages of a run."""

    def stage(self, name: str, total: float, unit: str) -> AbstractContextManager[Bar]:
        """Begin a stage of ``total`` units; it ends with the context."""

    def say(self, message: str) -> None:
        """Tell the user one line."""


class Silent:
    """Progress that shows nothing."""

    def stage(self, name: str, total: float, unit: str) -> AbstractContextManager[Bar]:  # noqa: ARG002
        """Begin a stage that is not shown."""
        return nullcontext(self)

    def advance(self, done: float) -> None:
        """Show nothing."""

    def say(self, message: str) -> None:
        """Show nothing."""
