"""Progress that remembers what was said or counted."""

from __future__ import annotations

from contextlib import contextmanager

from geoseg.progress import Silent


class Saying(Silent):
    """Shows nothing, and keeps every line."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


class Counting(Silent):
    """Progress that adds up what each stage advances by.

    Attributes:
        stages: (name, total, sum of the advances) of each stage that has ended.
    """

    def __init__(self) -> None:
        self.stages: list[tuple[str, float, float]] = []
        self._done = 0.0

    @contextmanager
    def stage(self, name, total, unit):  # noqa: ARG002
        """Begin a stage."""
        self._done = 0.0
        yield self
        self.stages.append((name, total, self._done))

    def advance(self, done):
        """Add up."""
        self._done += done
