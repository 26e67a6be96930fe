"""What a run costs on a cluster: the part of the cost model that only ``tables.py`` needs."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.grid import Grid
from geoseg.plan.size import RATES, Rates, RunSize, core_seconds

TASK_SECONDS = 0.004
"""Of the scheduler, for a block."""


@dataclass(frozen=True)
class ClusterRun:
    """A run of a whole scene on a cluster.

    Attributes:
        size: How large it is.
        blocks: Blocks that it is stitched in.
        block: Side of a block.
    """

    size: RunSize
    blocks: int
    block: int


def whole_scene(
    shape: tuple[int, int],
    *,
    chip: int,
    overlap: int,
    block: int,
    bands: int,
    itemsize: int,
    classes: int,
    maps: int = 2,
    polygons: bool = False,
) -> ClusterRun:
    """The run of a whole scene of ``shape`` (rows, columns)."""
    rows, cols = Grid(shape, chip, overlap).counts
    step = max(1, block // (chip - overlap))
    size = RunSize(
        pixels=shape[0] * shape[1],
        width=shape[1],
        chips=rows * cols,
        chip=chip,
        overlap=overlap,
        batch=1,
        bands=bands,
        itemsize=itemsize,
        classes=classes,
        maps=maps,
        streamed=maps,
        polygons=polygons,
    )
    return ClusterRun(size, -(-rows // step) * -(-cols // step), step * (chip - overlap))


def cluster_seconds(run: ClusterRun, inference: float, workers: int, rates: Rates = RATES) -> float:
    """Expected seconds on workers of one core each.

    When the last blocks are handed out, on average half of the workers wait for the time of a block. The
    scheduler takes ``TASK_SECONDS`` a block and the main process compresses and writes the maps; both bound
    the speed of very many workers.
    """
    size = run.size
    busy = core_seconds(size, inference, rates)
    polygons = busy.pop("polygons")
    total = sum(busy.values())
    used = min(workers, run.blocks)
    tail = total / run.blocks / 2 if used > 1 else 0.0
    assembly = rates.write * size.maps * size.megapixels  # the main process compresses and writes
    return rates.start + max(total / used + tail, run.blocks * TASK_SECONDS, assembly) + polygons


def bytes_of(run: ClusterRun) -> dict[str, int]:
    """What is moved and stored: of a whole run, uncompressed, and of a block on a cluster.

    Returns:
        ``read``: what the scene's blocks are, with the borders that neighbours read too; ``maps``: finished
        blocks in the work folder; ``margins``: through the work folder, written once and read once;
        ``block``: what a worker of a cluster reads and writes for one block.
    """
    size = run.size
    read = (run.block + size.overlap) ** 2 * run.blocks * size.bands * size.itemsize
    margin = (2 * run.block * size.overlap + size.overlap**2) * 4 * size.classes
    maps = size.pixels * size.maps
    return {
        "read": read,
        "maps": maps,
        "margins": margin * run.blocks,
        "block": (read + maps) // run.blocks + 2 * margin,
    }
