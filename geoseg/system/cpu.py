"""How many processors this process may use, and which of them share a core.

A logical processor is what the system hands out; where a core runs two threads (SMT, "hyper-threading") two
of them share its units. A container may see all processors of its host and yet have a quota of their time.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

from geoseg.system.cgroups import CGROUPS, PROC, cgroup_folders, lines_of

TOPOLOGY = Path("/sys/devices/system/cpu")
_SIBLINGS = ("thread_siblings_list", "core_cpus_list")


def cores() -> int:
    """Processors this process may use: those it may run on, and no more than its quota of time pays for."""
    usable = len(_usable() or ()) or os.cpu_count() or 1
    allowed = quota()
    return usable if allowed is None else min(usable, allowed)


def quota(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Processors that the quotas of control groups pay for, rounded up: ``docker --cpus 2`` sets one.

    Args:
        proc: Where the kernel tells about processes; another folder in tests.
        cgroups: Where it tells about groups.

    Returns:
        The least of all groups on the way up, at least 1; None without a quota.
    """
    shares = [_share(version, folder) for version, folder in cgroup_folders("cpu", proc, cgroups)]
    return min((share for share in shares if share is not None), default=None)


def physical_cores(usable: Iterable[int] | None = None, topology: Path = TOPOLOGY) -> int | None:
    """Cores that the usable logical processors lie on.

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


def processor_name(proc: Path = PROC) -> str:
    """The model of the processor, as far as the system says."""
    for line in lines_of(proc / "cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _usable() -> frozenset[int] | None:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _share(version: int, folder: Path) -> int | None:
    if version == 2:
        text = (lines_of(folder / "cpu.max") or [""])[0].split()
    else:
        files = (folder / f"cpu.cfs_{part}_us" for part in ("quota", "period"))
        text = [line.strip() for path in files for line in lines_of(path)[:1]]
    if len(text) != 2 or not all(part.isdecimal() for part in text):  # "max" and -1 mean none
        return None
    allowed, period = map(int, text)
    return max(1, -(-allowed // period)) if period else None


def _siblings(topology: Path, number: int) -> frozenset[int]:
    """The logical processors of a core, by one of them; empty where the system does not say."""
    for name in _SIBLINGS:
        for line in lines_of(topology / f"cpu{number}" / "topology" / name)[:1]:
            try:
                return frozenset(_numbers(line))
            except ValueError:
                continue
    return frozenset()


def _numbers(text: str) -> Iterator[int]:
    """``"0-2,8"`` is 0, 1, 2 and 8."""
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        yield from range(int(first), int(last if dash else first) + 1)
