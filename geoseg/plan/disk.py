"""Whether the disk that a run writes to has room for it."""

from __future__ import annotations

import shutil
from pathlib import Path

from geoseg.system.memory import show_memory


def shortage(planned: int, output: Path) -> str | None:
    """What the user should know if a plan asks for more than is free; None where it does not.

    A plan names what may be needed at most, so this is no reason to refuse; a run that does run out of room
    keeps its finished blocks.

    Args:
        planned: Bytes of scratch space.
        output: The class map, beside which they lie.
    """
    try:
        free = shutil.disk_usage(output.absolute().parent).free
    except OSError:
        return None
    if planned <= free:
        return None
    return (
        f"the run may need up to {show_memory(planned)} beside {output}, and {show_memory(free)} are free; "
        "--resume goes on if it runs out of room"
    )
