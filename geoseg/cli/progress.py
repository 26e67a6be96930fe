"""Progress on stderr: a bar with throughput and time left in a terminal, now and then a line elsewhere."""

from __future__ import annotations

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


class TerminalProgress:
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

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        click.echo(message, err=True)


@dataclass(frozen=True)
class _TqdmBar:
    bar: Any

    def advance(self, done: float) -> None:
        self.bar.update(done)


class LineProgress:
    """For logs: a line now and then."""

    @contextmanager
    def stage(self, name: str, total: float, unit: str) -> Iterator[Bar]:
        """Print how far the stage is, at most every fifteen seconds, and when it ends."""
        bar = _LineBar(name, total, unit)
        yield bar
        bar.show()

    def say(self, message: str) -> None:
        """Print a line."""
        click.echo(message, err=True)


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
    """The progress that suits where stderr goes."""
    if quiet:
        return Silent()
    return TerminalProgress() if sys.stderr.isatty() else LineProgress()
