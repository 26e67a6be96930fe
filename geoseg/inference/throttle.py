"""Fewer forwards in flight where memory runs out, instead of a run that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from typing import TypeVar

from geoseg.errors import RunError

T = TypeVar("T")

# How allocators that are not Python's say so; torch, OpenVINO and ONNX Runtime raise RuntimeError.
_PHRASES = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate", "bad_alloc")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, says that memory ran out."""
    while error is not None:
        text = f"{type(error).__name__} {error}".lower()
        if isinstance(error, MemoryError) or any(phrase in text for phrase in _PHRASES):
            return True
        error = error.__cause__
    return False


class Throttle:
    """Lets so many forwards run at once, and one fewer for good each time that memory runs out.

    How many run at once never changes a result: the shape of a forward stays.

    Args:
        most: Forwards in flight to begin with.

    Attributes:
        allowed: Forwards in flight now.
    """

    def __init__(self, most: int) -> None:
        self.allowed = most
        self._active = 0
        self._changed = Condition()

    def run(self, work: Callable[[], T], retried: Callable[[], None]) -> T:
        """Do something that takes the memory of a forward; again where memory ran out.

        Args:
            work: What is done; it can be done again.
            retried: Called when it is.

        Raises:
            RunError: If memory runs out although nothing else is in flight.
        """
        while True:
            with self._turn() as allowed:
                try:
                    return work()
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    if allowed == 1:
                        raise RunError(
                            f"memory ran out with one forward in flight ({_line(error)})"
                        ) from error
                    self._lower(allowed)
            retried()

    @contextmanager
    def _turn(self) -> Iterator[int]:
        with self._changed:
            self._changed.wait_for(lambda: self._active < self.allowed)
            self._active += 1
            allowed = self.allowed
        try:
            yield allowed
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def _lower(self, failed_with: int) -> None:
        """Several that fail together count once."""
        with self._changed:
            self.allowed = min(self.allowed, failed_with - 1)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
