"""How much memory a run needs at most, part by part, so that its blocks can be chosen to fit.

Every part follows from how blocks pass through a process (see ``inference.compute``): two blocks of pixels
and those that are read ahead, a strip for each reader with what the file stores, two blocks of sums, a few of
rendered maps; and from what grows with the width of the scene alone: a row of margins, a row of tiles of
every map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from geoseg.grid import Block
from geoseg.maps.cog.pyramid import TILE
from geoseg.plan.demand import Demand
from geoseg.plan.polygons_memory import PIXEL_ROW, WRITING, tracing_memory
from geoseg.polygons.stream import STRIP_PIXELS

_PIXEL_BLOCKS = 2
_SUM_BLOCKS = 2
_MAP_BLOCKS = 4
_SLACK = 1.12
"""What the allocator cannot use of what was freed: holes between pieces of other sizes. Measured."""
_TILE_BATCHES = 2 * 16
"""Tiles on their way through the thread of a map that compresses."""


@dataclass(frozen=True)
class Shape:
    """What of a run its memory depends on, apart from what can be chosen.

    Attributes:
        bands: Bands read.
        itemsize: Bytes of a stored value.
        classes: Classes of the network.
        width: Columns to be mapped.
        pixels: Pixels to be mapped.
        overlap: Pixels that chips share.
        chip: Side of a chip.
        batch: Chips a forward.
        maps: Bytes a pixel of all maps that are made.
        streamed: Bytes a pixel of the maps that are compressed while they are made.
        polygons: Whether polygons are made.
        traced: Rasters that are traced with the class map while blocks come; 0 if none is.
        ahead: Blocks that are read ahead of the one that is computed.
        strip: Pixels of the strips that are read at once, for each of their columns.
    """

    bands: int
    itemsize: int
    classes: int
    width: int
    pixels: int
    overlap: int
    chip: int
    batch: int
    maps: int
    streamed: int
    polygons: bool
    traced: int = 0
    ahead: int = 1
    strip: int = 1024


@dataclass(frozen=True)
class Footprint:
    """Bytes of memory at the peak of a run, by what they are for.

    Attributes:
        program: Python, libraries, the runtime with its network.
        forwards: Forwards in flight.
        pixels: What is read.
        sums: Blended probabilities.
        maps: Rendered blocks.
        margins: What blocks hand to the row below.
        tiles: Tiles of the maps that wait for pixels.
        cache: GDAL's cache.
        tracing: Polygons of the block that was finished last.
        polygons: Polygons on their way to the file.
    """

    program: int
    forwards: int
    pixels: int
    sums: int
    maps: int
    margins: int
    tiles: int
    cache: int
    tracing: int
    polygons: int

    @property
    def total(self) -> int:
        """All of it. Tracing fills the holes first; polygons are written where the blocks were."""
        blocks = self.forwards + self.pixels + self.sums + self.maps + self.margins + self.tiles
        return self.program + self.cache + max(int(blocks * _SLACK), blocks + self.tracing, self.polygons)

    def to_json(self) -> dict[str, int]:
        """The parts and their total as JSON values."""
        return asdict(self) | {"total": self.total}


def footprint(
    shape: Shape,
    demand: Demand,
    block: Block,
    *,
    blocks: int,
    forwards: int,
    cache: int,
    margins_on_disk: bool,
    every: Sequence[Block] = (),
) -> Footprint:
    """What a run needs.

    Args:
        shape: The run.
        demand: Its network's.
        block: Its largest block.
        blocks: How many there are.
        forwards: Forwards in flight.
        cache: Bytes that GDAL's cache may take.
        margins_on_disk: Whether margins to the row below wait in the work folder.
        every: All blocks in order, where they are few: those at the edge may be much smaller than the
            largest. Else all count as that one.
    """
    reach, core = block.reach.pixels, block.core.pixels
    reaches, cores = [one.reach.pixels for one in every], [one.core.pixels for one in every]
    read = min(reach * min(blocks, 2), shape.strip * block.reach.width)
    held = _together(reaches, reach, min(blocks, _PIXEL_BLOCKS + shape.ahead))
    added_up = _together(reaches, reach, min(blocks, _SUM_BLOCKS))
    rendered = _together(cores, core, min(blocks, _MAP_BLOCKS))
    chip = shape.batch * shape.chip**2
    right = block.reach.height * shape.overlap
    below = 2 * block.reach.width if margins_on_disk else shape.width
    return Footprint(
        program=demand.base,
        # The network's own, its input, its answer while it is blended.
        forwards=forwards * (demand.forward + 4 * chip * shape.bands + 8 * shape.chip**2),
        pixels=held * (4 * shape.bands + 1) + read * (shape.bands * (shape.itemsize + 5) + 1),
        sums=added_up * 4 * shape.classes,
        maps=rendered * shape.maps + 5 * core,
        margins=4 * shape.classes * (2 * right + shape.overlap * below),
        tiles=_tiles(shape),
        cache=min(cache, shape.pixels * (shape.bands * shape.itemsize + shape.maps * (not shape.streamed))),
        tracing=_tracing(shape, block),
        polygons=WRITING if shape.polygons else 0,
    )


def _together(sizes: Sequence[int], largest: int, count: int) -> int:
    """The most pixels that so many blocks in a row have."""
    if count > len(sizes):
        return largest * count
    return max(sum(sizes[first : first + count]) for first in range(len(sizes) - count + 1))


def _tracing(shape: Shape, block: Block) -> int:
    """A strip of a block, and what waits along the row of blocks above."""
    if not shape.traced:
        return 0
    strip = tracing_memory(min(block.core.pixels, STRIP_PIXELS), shape.traced)
    return strip + PIXEL_ROW * shape.width * block.core.height


def _tiles(shape: Shape) -> int:
    """A row of tiles of every map and of its overviews, each half as wide, and what is being compressed."""
    across = -(-shape.width // TILE)
    down = -(-shape.pixels // (shape.width * TILE))
    rows = 2 * across if down > 1 else 1
    return (rows + min(_TILE_BATCHES, across * down)) * TILE**2 * shape.streamed
