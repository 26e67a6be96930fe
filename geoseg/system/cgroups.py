"""The control groups that this process is in: how Linux, and so every container, is told its limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")


def cgroup_folders(controller: str, proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[tuple[int, Path]]:
    """The groups on the way up, of which each may set a limit.

    Args:
        controller: What is limited: ``"memory"`` or ``"cpu"``.
        proc: Where the kernel tells about processes; another folder in tests.
        cgroups: Where it tells about groups.

    Yields:
        The version of control groups, 1 or 2, and a folder; it need not be there.
    """
    for line in lines_of(proc / "self" / "cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            version, root = 2, cgroups
        elif controller in controllers.split(","):
            version, root = 1, cgroups / controller
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        # In a container the path may be the host's, and its own group the root of what it sees.
        for depth in range(len(parts), -1, -1):
            yield version, root.joinpath(*parts[:depth])


def lines_of(path: Path) -> list[str]:
    """The lines of a file of the kernel's; none where it is missing."""
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
