"""Memory: how much is free, how much this process uses and keeps, and how much GDAL may cache.

psutil reports the memory of the machine. It does not know the limits of control groups, which bound the
memory of a container; these are read here.

The output of a network's layer takes tens of megabytes. By default glibc maps each such allocation and unmaps
it when it is freed, so the kernel clears the same pages again and again: a third of torch's time on a CPU.
With the settings of ``keep_memory`` the allocator reuses the pages of the previous layer. All threads share
one arena, because the arenas of threads cannot hold allocations above 64 MiB and would map those anyway.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from geoseg.units import parse_memory

CGROUPS, PROC = Path("/sys/fs/cgroup"), Path("/proc")
"""The kernel's folders about control groups and processes."""
_NO_LIMIT = 1 << 60
"""Version 1 of control groups writes at least this number if there is no limit."""
_SHARE = 0.5
CACHE_SHARE = 10
_LEAST_CACHE = 32 * 2**20
_GDAL_MEGABYTES = 100_000
"""GDAL takes numbers below this as megabytes, others as bytes."""
# <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_LARGEST = 2**31 - 1
_TOP_PAD = 64 * 2**20


def default_limit() -> int:
    """Return the default memory limit of a run in bytes: half of the free memory."""
    return int(free_memory() * _SHARE)


def free_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the bytes available to a new process, within the limits of control groups.

    Cached pages of files that the system can drop count as free.

    Args:
        proc: The kernel's folder about processes; another folder in tests.
        cgroups: The kernel's folder about control groups.
    """
    within = (_free_in(version, folder) for version, folder in _memory_groups(proc, cgroups))
    free = [int(psutil.virtual_memory().available), *(value for value in within if value is not None)]
    return max(0, min(free))


def resident_memory() -> int:
    """Return the resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes.

    On Linux ``getrusage`` includes the process from which this one was forked, so ``/proc`` is read first.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = (PROC / "self" / "status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def gdal_cache() -> int:
    """Return the limit of GDAL's block cache in bytes: ``GDAL_CACHEMAX``, or 5 % of all memory."""
    text = os.environ.get("GDAL_CACHEMAX", "5%").strip()
    share, digits = text.endswith("%"), text.rstrip("%MBmb ")
    try:
        value = float(digits)
    except ValueError:
        share, value = True, 5.0
    if share:
        return int(psutil.virtual_memory().total * value / 100)
    return int(value * 2**20 if value < _GDAL_MEGABYTES else value)


def bound_gdal_cache(limit: str | int) -> None:
    """Set the limit of GDAL's block cache to a share of the memory limit.

    Call it before GDAL reads, and only in a process of geoseg's own.

    Args:
        limit: The memory limit, as given to ``--max-memory``.

    Raises:
        SettingsError: If it is no amount of memory.
    """
    size = min(max(parse_memory(limit) // CACHE_SHARE, _LEAST_CACHE), gdal_cache())
    os.environ["GDAL_CACHEMAX"] = str(max(1, size // 2**20))


def environment_that_keeps_memory() -> dict[str, str]:
    """Return environment variables with the same settings, for a process that is still to be started."""
    return {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(_LARGEST),
        "MALLOC_TOP_PAD_": str(_TOP_PAD),
        "MALLOC_ARENA_MAX": "1",
    }


def keep_memory() -> bool:
    """Set glibc's allocator to keep freed memory in this process; harmless elsewhere, and when repeated.

    The command line and its workers call it before torch computes. The Python functions do not, because it
    affects the whole host process: memory that is freed stays with it. A program that wants it calls it once,
    early.

    Returns:
        Whether the allocator is glibc's and accepted the settings.
    """
    if sys.platform != "linux":
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version.restype = ctypes.c_char_p
        libc.gnu_get_libc_version()
        mallopt = libc.mallopt
    except (OSError, AttributeError):  # another C library, musl for one
        return False
    told = (
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, _LARGEST),
        (_M_TOP_PAD, _TOP_PAD),
        (_M_ARENA_MAX, 1),
    )
    return all(mallopt(parameter, value) == 1 for parameter, value in told)


def _memory_groups(proc: Path, cgroups: Path) -> Iterator[tuple[int, Path]]:
    """Walk up the control groups of this process; each of them may limit memory.

    Yields:
        The version of control groups, 1 or 2, and the folder of a group, which may not exist.
    """
    for line in _lines_of(proc / "self" / "cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            version, root = 2, cgroups
        elif "memory" in controllers.split(","):
            version, root = 1, cgroups / "memory"
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        # In a container the path may be that of the host, while its own group is the root that it sees.
        for depth in range(len(parts), -1, -1):
            yield version, root.joinpath(*parts[:depth])


def _free_in(version: int, group: Path) -> int | None:
    """Return the bytes left below the limit of a control group; None without a limit."""
    limit, used = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
    try:
        most, now = (int("".join(_lines_of(group / f"memory.{name}")[:1])) for name in (limit, used))
    except ValueError:  # there is no such file, or it says "max"
        return None
    if most >= _NO_LIMIT:
        return None
    counts = [line.split() for line in _lines_of(group / "memory.stat")]
    reclaimable = max(
        (int(value) for name, value in counts if name in ("inactive_file", "total_inactive_file")), default=0
    )
    return most - max(0, now - reclaimable)


def _lines_of(path: Path) -> list[str]:
    """Read the lines of a file of the kernel; none if it is missing."""
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
