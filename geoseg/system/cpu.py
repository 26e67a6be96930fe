"""Processors: how many this process may use, their model, and independent work in threads on all of them."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

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
