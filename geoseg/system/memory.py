"""How much memory there is to be had, what this process takes, and what GDAL may keep of it.

psutil says what the machine has. It does not see the limits of control groups, by which Linux tells every
container how much it may take; these are read here.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from geoseg.units import parse_memory

CGROUPS, PROC = Path("/sys/fs/cgroup"), Path("/proc")
"""Where Linux tells about control groups and processes."""
_NO_LIMIT = 1 << 60
"""Version 1 of control groups writes a number as large as this where there is no limit."""
_SHARE = 0.5
CACHE_SHARE = 10
_LEAST_CACHE = 32 * 2**20
_GDAL_MEGABYTES = 100_000
"""Numbers below this are megabytes to GDAL, others bytes."""


def default_limit() -> int:
    """Return the bytes that a run may take where nobody says: half of what is free."""
    return int(free_memory() * _SHARE)


def free_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the bytes that a new process could take: what the system has, within limits of control groups.

    Pages of files that the system only keeps because nobody needs the memory count as free.

    Args:
        proc: Where the kernel tells about processes; another folder in tests.
        cgroups: Where it tells about control groups.
    """
    within = (_free_in(version, folder) for version, folder in _memory_groups(proc, cgroups))
    free = [int(psutil.virtual_memory().available), *(value for value in within if value is not None)]
    return max(0, min(free))


def resident_memory() -> int:
    """Return the bytes of this process that are in memory now."""
    return int(psutil.Process().memory_info().rss)


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes.

    ``getrusage`` counts what the process was forked from on Linux, so its own account comes first.
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
    """Return the bytes that GDAL's block cache may take: ``GDAL_CACHEMAX``, or 5 % of all memory."""
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
    """Keep GDAL's block cache in proportion to a limit; before GDAL reads, in a process of our own.

    Args:
        limit: What ``--max-memory`` says.

    Raises:
        SettingsError: If that is no amount of memory.
    """
    size = min(max(parse_memory(limit) // CACHE_SHARE, _LEAST_CACHE), gdal_cache())
    os.environ["GDAL_CACHEMAX"] = str(max(1, size // 2**20))


def _memory_groups(proc: Path, cgroups: Path) -> Iterator[tuple[int, Path]]:
    """Walk up the control groups from this process's; each of them may limit memory.

    Yields:
        The version of control groups, 1 or 2, and a folder; it need not be there.
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
        # In a container the path may be the host's, and its own group the root of what it sees.
        for depth in range(len(parts), -1, -1):
            yield version, root.joinpath(*parts[:depth])


def _free_in(version: int, group: Path) -> int | None:
    """Return what is left below the limit of a control group; None without a limit."""
    limit, used = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
    most, now = _number_in(group / f"memory.{limit}"), _number_in(group / f"memory.{used}")
    if most is None or now is None or most >= _NO_LIMIT:
        return None
    counts = [line.split() for line in _lines_of(group / "memory.stat")]
    reclaimable = max(
        (int(value) for name, value in counts if name in ("inactive_file", "total_inactive_file")), default=0
    )
    return most - max(0, now - reclaimable)


def _number_in(path: Path) -> int | None:
    lines = _lines_of(path)
    return int(lines[0]) if lines and lines[0].strip().isdecimal() else None


def _lines_of(path: Path) -> list[str]:
    """Read the lines of a file of the kernel's; none where it is missing."""
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
