"""Bytes of memory: how a person writes them, and how many there are to be had."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from geoseg.system.cgroups import CGROUPS, PROC, cgroup_folders, lines_of
from geoseg.units import parse_memory

_SHARE = 0.5
_UNKNOWN = 4 * 10**9
"""What is taken as free where the system does not say."""
_GDAL_MEGABYTES = 100_000
"""Numbers below this are megabytes to GDAL, others bytes."""
CACHE_SHARE = 10
_LEAST_CACHE = 32 * 2**20


def default_limit() -> int:
    """What a run may take where nobody says: half of what is free."""
    free = free_memory()
    return int((_UNKNOWN if free is None else free) * _SHARE)


def free_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Bytes that a new process could take without harm: what the system has, within limits of cgroups.

    Pages of files that the system only keeps because nobody needs the memory count as free.

    Args:
        proc: Where the kernel tells about processes; another folder in tests.
        cgroups: Where it tells about cgroups.

    Returns:
        Bytes; None where the system does not say.
    """
    found = [value for value in (_available(proc), *_cgroup_rooms(proc, cgroups)) if value is not None]
    if found:
        return max(0, min(found))
    return _by_psutil() if proc == PROC else None


def _available(proc: Path) -> int | None:
    for line in lines_of(proc / "meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _cgroup_rooms(proc: Path, cgroups: Path) -> Iterator[int | None]:
    """What is left below every limit that this process is under, versions 1 and 2."""
    for version, folder in cgroup_folders("memory", proc, cgroups):
        names = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
        yield _room(folder, *(f"memory.{name}" for name in names))


def _room(folder: Path, limit: str, used: str) -> int | None:
    most, now = _number(folder / limit), _number(folder / used)
    if most is None or now is None or most >= 1 << 60:
        return None
    kept = [line.split() for line in lines_of(folder / "memory.stat")]
    reclaimable = max(
        (int(value) for name, value in kept if name in ("inactive_file", "total_inactive_file")), default=0
    )
    return most - max(0, now - reclaimable)


def _number(path: Path) -> int | None:
    lines = lines_of(path)
    return int(lines[0]) if lines and lines[0].strip().isdecimal() else None


def _by_psutil() -> int | None:
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:
        pages = os.sysconf("SC_PHYS_PAGES") if sys.platform != "win32" else 0
        return pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else None
    return int(psutil.virtual_memory().available)


def resident_memory() -> int | None:
    """Bytes of this process that are in memory now; None where the system does not say."""
    for line in lines_of(PROC / "self" / "status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


def gdal_cache() -> int:
    """Bytes that GDAL's block cache may take: ``GDAL_CACHEMAX``, by default a twentieth of the machine's."""
    text = os.environ.get("GDAL_CACHEMAX", "5%").strip()
    share, digits = text.endswith("%"), text.rstrip("%MBmb ")
    try:
        value = float(digits)
    except ValueError:
        share, value = True, 5.0
    if share:
        return int(_total() * value / 100)
    return int(value * 2**20 if value < _GDAL_MEGABYTES else value)


def bound_gdal_cache(limit: str | int) -> None:
    """Keep GDAL's block cache in proportion to a limit; before GDAL reads, in a process of our own.

    Args:
        limit: What ``--max-memory`` says.

    Raises:
        SettingsError: If that is no amount of memory.
    """
    bytes_ = min(max(parse_memory(limit) // CACHE_SHARE, _LEAST_CACHE), gdal_cache())
    os.environ["GDAL_CACHEMAX"] = str(max(1, bytes_ // 2**20))


def _total() -> int:
    for line in lines_of(PROC / "meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 4 * _UNKNOWN


def peak_memory() -> int | None:
    """Largest resident memory of this process so far, in bytes; None where the system does not say.

    ``getrusage`` counts what the process was forked from on Linux, so its own account comes first.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
