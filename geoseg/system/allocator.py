"""Keep glibc's allocator from returning memory to the system between the layers of a network.

The output of a layer takes tens of megabytes. By default glibc maps each such allocation and unmaps it when
it is freed, so the kernel clears the same pages again and again: a third of torch's time on a CPU. With these
settings the allocator reuses the pages of the previous layer. All threads share one arena, because the arenas
of threads cannot hold allocations above 64 MiB and would map those anyway.
"""

from __future__ import annotations

import ctypes
import sys

# <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_LARGEST = 2**31 - 1
_TOP_PAD = 64 * 2**20


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
