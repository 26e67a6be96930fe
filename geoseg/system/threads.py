"""Run independent work in threads on all cores; numpy releases the GIL while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from geoseg.system.cpu import cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Generator[Result]:
    """Apply a function to every item in a pool of threads, and yield the results in the order of the items.

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
