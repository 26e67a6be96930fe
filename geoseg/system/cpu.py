"""Processors: how many this process may use, and their model."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

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
