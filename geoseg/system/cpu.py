"""How many processors this process may use, and which of them share a core.

A logical processor is what the system hands out; where a core runs two threads (SMT, "hyper-threading") two
of them share its units. A container may see all processors of its host and yet have a quota of their time.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
TOPOLOGY = Path("/sys/devices/system/cpu")
_SIBLINGS = ("thread_siblings_list", "core_cpus_list")


def cores() -> int:
    """Count the processors that this process may use: within its affinity and its quota of time.

    ``docker --cpus 2`` sets a quota.
    """
    from dask.system import cpu_count  # 0.1 s, because it loads the whole of dask

    return int(cpu_count())


def physical_cores(usable: Iterable[int] | None = None, topology: Path = TOPOLOGY) -> int | None:
    """Count the cores that the usable logical processors lie on.

    Args:
        usable: Numbers of logical processors; default those that this process may run on.
        topology: Where the kernel tells about processors; another folder in tests.

    Returns:
        Their number; None where the system does not say.
    """
    numbers = _usable() if usable is None else frozenset(usable)
    if not numbers:
        return None
    found = {number: _siblings(topology, number) for number in numbers}
    if not all(number in siblings for number, siblings in found.items()):
        return None
    return len({min(siblings) for siblings in found.values()})


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """Return the model of the processor, as far as the system says.

    Args:
        cpuinfo: Where Linux tells about processors; another file in tests.
    """
    with suppress(OSError):
        for line in cpuinfo.read_text(encoding="ascii", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def _usable() -> frozenset[int] | None:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _siblings(topology: Path, number: int) -> frozenset[int]:
    """Return the logical processors of a core, by one of them; none where the system does not say."""
    for name in _SIBLINGS:
        with suppress(OSError, ValueError):
            return frozenset(_numbers((topology / f"cpu{number}" / "topology" / name).read_text()))
    return frozenset()


def _numbers(text: str) -> Iterator[int]:
    """Read a list of numbers: ``"0-2,8"`` is 0, 1, 2 and 8."""
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        yield from range(int(first), int(last if dash else first) + 1)
