"""Independent pieces of work on all cores: numpy lets other threads run while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Do the same to every item, some at once, and give the results in the order of the items.

    Args:
        work: Must not depend on what it is called with before.
        items: Taken a few ahead of the result that is asked for.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting = iter(items)
    if cores == 1:
        yield from map(work, waiting)
        return
    with ThreadPoolExecutor(cores, thread_name_prefix="geoseg-borders") as workers:
        running = [workers.submit(work, item) for item in islice(waiting, 2 * cores)]
        while running:
            done = running.pop(0).result()
            running += [workers.submit(work, item) for item in islice(waiting, 1)]
            yield done
