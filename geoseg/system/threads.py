"""Do independent pieces of work on all cores: numpy lets other threads run while it computes."""

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
    """Do the same to every item, several at once, and yield the results in the order of the items.

    Args:
        work: Must not depend on what it is called with before.
        items: Taken a few ahead of the result that is asked for.
        workers: Threads; default one a core. With one nothing is done ahead.
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
