"""Processors: how many this process may use, their model, and work in threads."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CPUINFO = Path("/proc/cpuinfo")


def cores() -> int:
    """Count the processors that this process may use, within its affinity and CPU quota.

    ``docker --cpus 2`` sets such a quota.
    """
    from dask.system import cpu_count  # 0.1 s, because it loads the whole of dask

    return int(cpu_count())


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """Return the processor's model; its architecture if the model is unknown.

    Args:
        cpuinfo: The kernel's file about processors; another file in tests.
    """
    with suppress(OSError):
        for line in cpuinfo.read_text(encoding="ascii", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Generator[Result]:
    """Apply a function to every item in a pool of threads, and yield the results in the order of the items.

    numpy releases the GIL while it computes.

    Args:
        work: The function; calls must be independent of each other.
        items: The items, consumed only a few ahead of the result that is yielded (back-pressure).
        workers: Number of threads; default one per core. With one, nothing is computed ahead.
    """
    count = workers or cores()
    waiting = iter(items)
    if count == 1:
        yield from map(work, waiting)
        return
    with ThreadPoolExecutor(count, thread_name_prefix="geoseg-polygons") as pool:
        running = deque(pool.submit(work, item) for item in islice(waiting, count + 1))
        try:
            while running:
                done = running.popleft().result()
                running += [pool.submit(work, item) for item in islice(waiting, 1)]
                yield done
        finally:
            for task in running:
                task.cancel()


class BackgroundThread(AbstractContextManager["BackgroundThread"]):
    """One thread that works in the order of submission; all is done when its context ends.

    Work that fails raises its error at the next call. Submitting waits while much is waiting (back-pressure),
    so that memory stays bounded where the thread is slower than what it works for.

    Args:
        name: Its name.
        most: How much may wait: calls that are not done.
    """

    def __init__(self, name: str, most: int) -> None:
        self._most = most
        self._thread = ThreadPoolExecutor(1, name)
        self._waiting: deque[Future[None]] = deque()

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        """Have ``work(*arguments)`` called in the thread; raise what went wrong in an earlier call."""
        self._wait(self._most - 1)
        self._waiting.append(self._thread.submit(work, *arguments))

    def flush(self) -> None:
        """Wait until everything submitted is done, and raise what went wrong."""
        self._wait(0)

    def close(self) -> None:
        """Stop the thread; what has not begun is left undone."""
        self._thread.shutdown(cancel_futures=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        if kind is None:
            self.flush()

    def _wait(self, most: int) -> None:
        """Wait until at most so many calls are left, and raise what went wrong."""
        while self._waiting and (len(self._waiting) > most or self._waiting[0].done()):
            self._waiting.popleft().result()
