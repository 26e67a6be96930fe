"""What a run costs: core seconds and bytes a megapixel, from which plans and docs/scale.md are worked out.

The network's share is measured on the machine at hand (``plan.demand``). The rest is of one core of an AMD
EPYC of 2024, and within a factor of two of other machines; it is a tenth of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.grid import Grid

MEGA = 1e6


@dataclass(frozen=True)
class Rates:
    """Core seconds.

    Attributes:
        start: Of a run, apart from the network's runtime: start of Python, opening, checking, publishing.
        read: Of a megapixel and band: decoding, scaling, normalising.
        stitch: Of a megapixel that was computed and class: cutting chips, weighting, adding.
        decide: Of a megapixel and class: choosing the class, counting.
        write: Of a megapixel and map: compressing, overviews.
        polygons: Of a megapixel: tracing, measuring, writing them. Depends on the land.
        task: Of the scheduler, for a block.
    """

    start: float = 2.0
    read: float = 0.014
    stitch: float = 0.0045
    decide: float = 0.003
    write: float = 0.012
    polygons: float = 0.15
    task: float = 0.004


RATES = Rates()


@dataclass(frozen=True)
class Work:
    """What a run does.

    Attributes:
        pixels: Pixels mapped.
        chips: Chips forwarded.
        chip: Side of a chip.
        bands: Bands read.
        itemsize: Bytes of a stored value.
        classes: Classes of the network.
        maps: Bytes a pixel of all maps.
        blocks: Blocks they are stitched in.
        block: Side of a block.
        overlap: Pixels that chips share.
        polygons: Whether polygons are made.
    """

    pixels: int
    chips: int
    chip: int
    bands: int
    itemsize: int
    classes: int
    maps: int
    blocks: int
    block: int
    overlap: int
    polygons: bool = False

    @property
    def megapixels(self) -> float:
        """Millions of pixels mapped."""
        return self.pixels / MEGA

    @property
    def computed(self) -> float:
        """Millions of pixels that go through the network."""
        return self.chips * self.chip**2 / MEGA


def work_of(
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
) -> Work:
    """The work of a whole scene of ``shape`` (rows, columns)."""
    rows, cols = Grid(shape, chip, overlap).counts
    step = max(1, block // (chip - overlap))
    blocks = -(-rows // step) * -(-cols // step)
    size = step * (chip - overlap)
    return Work(
        shape[0] * shape[1],
        rows * cols,
        chip,
        bands,
        itemsize,
        classes,
        maps,
        blocks,
        size,
        overlap,
        polygons,
    )


def core_seconds(work: Work, forward: float, rates: Rates = RATES) -> dict[str, float]:
    """Busy seconds of one core, by stage.

    Args:
        work: What is done.
        forward: Core seconds of one forward of one chip.
        rates: Of everything else.
    """
    return {
        "read": rates.read * work.bands * work.megapixels,
        "forward": forward * work.chips,
        "stitch": rates.stitch * work.classes * work.computed,
        "write": (rates.decide * work.classes + rates.write * work.maps) * work.megapixels,
        "polygons": rates.polygons * work.megapixels if work.polygons else 0.0,
    }


def wall_seconds(work: Work, forward: float, cores: int, rates: Rates = RATES) -> float:
    """Expected seconds of one process on so many cores: all overlaps but the start and the polygons."""
    busy = core_seconds(work, forward, rates)
    polygons = busy.pop("polygons")
    return rates.start + sum(busy.values()) / max(1, min(cores, work.chips)) + polygons


def cluster_seconds(work: Work, forward: float, workers: int, rates: Rates = RATES) -> float:
    """Expected seconds on workers of one core each.

    When the last blocks are handed out, on average half of the workers wait for the time of a block. The
    scheduler takes ``task`` a block and the main process compresses and writes the maps; both bound the speed
    of very many workers.
    """
    busy = core_seconds(work, forward, rates)
    polygons = busy.pop("polygons")
    total = sum(busy.values())
    used = min(workers, work.blocks)
    one = total / work.blocks
    tail = one / 2 if used > 1 else 0.0
    assembly = rates.write * work.maps * work.megapixels  # the main process compresses and writes
    return rates.start + max(total / used + tail, work.blocks * rates.task, assembly) + polygons


def bytes_of(work: Work) -> dict[str, int]:
    """What is moved and stored: of a whole run, uncompressed, and of a block on a cluster.

    Returns:
        ``read``: what the scene's blocks are, with the borders that neighbours read too; ``maps``: finished
        blocks in the work folder; ``margins``: through the work folder, written once and read once;
        ``block``: what a worker of a cluster reads and writes for one block.
    """
    reach = (work.block + work.overlap) ** 2 * work.blocks
    read = reach * work.bands * work.itemsize
    margin = (2 * work.block * work.overlap + work.overlap**2) * 4 * work.classes
    maps = work.pixels * work.maps
    return {
        "read": read,
        "maps": maps,
        "margins": margin * work.blocks,
        "block": (read + maps) // work.blocks + 2 * margin,
    }
