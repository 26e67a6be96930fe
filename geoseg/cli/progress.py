"""What a run says on stderr: the records of its log, and how far it is.

In a terminal that is a bar with throughput and time left, elsewhere a line now and then.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import click

from geoseg.progress import Bar, Progress, Silent

_SECONDS_BETWEEN_LINES = 15.0
_MANY = 10.0


class TerminalProgress(Progress):
    """A bar that is drawn in place."""

    @contextmanager
    def stage(self, name: str, total: float, unit: str) -> Iterator[Bar]:
        """Draw a bar until the stage ends."""
        from tqdm import tqdm

        layout = (
            "{desc}: {percentage:3.0f}% |{bar}| {n:.1f}/{total:.1f}{unit} [{elapsed}<{remaining}, {rate_fmt}]"
        )
        with tqdm(
            total=total, desc=name, unit=f" {unit}", file=sys.stderr, leave=False, bar_format=layout
        ) as bar:
            yield _TqdmBar(bar)


@dataclass(frozen=True)
class _TqdmBar:
    bar: Any

    def advance(self, done: float) -> None:
        self.bar.update(done)


class LineProgress(Progress):
    """For logs: a line now and then."""

    @contextmanager
    def stage(self, name: str, total: float, unit: str) -> Iterator[Bar]:
        """Print how far the stage is, at most every fifteen seconds, and when it ends."""
        bar = _LineBar(name, total, unit)
        yield bar
        bar.show()


@dataclass
class _LineBar:
    name: str
    total: float
    unit: str
    done: float = 0.0
    began: float = field(default_factory=monotonic)
    shown: float = field(default_factory=monotonic)

    def advance(self, done: float) -> None:
        self.done += done
        if monotonic() - self.shown >= _SECONDS_BETWEEN_LINES:
            self.show()

    def show(self) -> None:
        self.shown = monotonic()
        rate = self.done / max(self.shown - self.began, 1e-9)
        left = max(self.total - self.done, 0.0) / rate if rate else 0.0
        digits = 1 if self.total >= _MANY else 2
        click.echo(
            f"{self.name}: {self.done:.{digits}f}/{self.total:.{digits}f} {self.unit}, "
            f"{rate:.2f} {self.unit}/s, {left:.0f} s left",
            err=True,
        )


def choose_progress(*, quiet: bool) -> Progress:
    """Choose a bar where stderr is a terminal, lines elsewhere, nothing if quiet."""
    if quiet:
        return Silent()
    return TerminalProgress() if sys.stderr.isatty() else LineProgress()


@contextmanager
def shown_log(level: int, *, quiet: bool) -> Iterator[None]:
    """Show the records of the logger ``geoseg`` on stderr, unless quiet."""
    logger = logging.getLogger("geoseg")
    before, handler = logger.level, _StderrHandler()
    if not quiet:
        logger.addHandler(handler)
        logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _StderrHandler(logging.Handler):
    """Writes a record as one line, above a bar that is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            message = f"warning: {message}"
        elif record.levelno < logging.INFO:
            message = f"debug: {record.name}: {message}"
        if "tqdm" in sys.modules and sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.write(message, file=sys.stderr)
        else:
            click.echo(message, err=True)
