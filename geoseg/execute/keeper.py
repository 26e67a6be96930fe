"""Writes to the work store behind the back of whoever computes, one thing after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

_MOST_WAITING = 8
"""A block leaves up to five things to do, so little more than a block waits in memory."""


class Keeper:
    """A thread that does what it is told in that order; what was told is done when the context ends."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "geoseg-keep")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        if kind is None:
            self._settle(0)

    def tell(self, what: Callable[..., None], *arguments: Any) -> None:
        """Have something done; waits while much is waiting.

        Raises:
            RunError: If something told before could not be done.
        """
        self._settle(_MOST_WAITING)
        self._waiting.append(self._thread.submit(what, *arguments))

    def settle(self) -> None:
        """Wait until all that was told is done.

        Raises:
            RunError: If something could not be done.
        """
        self._settle(0)

    def _settle(self, most: int) -> None:
        """Wait until at most so many things are left to do, and raise what went wrong."""
        while self._waiting and (len(self._waiting) > most or self._waiting[0].done()):
            self._waiting.popleft().result()
