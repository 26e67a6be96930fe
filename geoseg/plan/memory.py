"""How much memory a run needs, part by part, and what is chosen so that it stays within ``--max-memory``.

Every part follows from how blocks pass through a process (see ``inference.compute``): two blocks of pixels
and those that are read ahead, a strip for each reader with what the file stores, two blocks of sums, a few of
rendered maps; and from what grows with the width of the scene alone: a row of margins, a row of tiles of
every map.

The chip size is never changed, because it changes the answer. Inferences in flight are given up last, because
they keep all cores busy; before that margins wait on disk, and blocks get smaller.

Polygons wait on disk, so what they need grows with neither the map nor their number. What is held: the blocks
that are being traced, one row of blocks' borders, batches on their way to the file, and the largest polygon,
which a file's row has to hold whole. Simpler borders are the exception: they are all held. Figures of
polygons were measured with ``tests/benchmarks/polygonize.py`` and rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from geoseg.errors import SettingsError
from geoseg.grid import Block, Grid, Window
from geoseg.maps.cog.pyramid import TILE
from geoseg.plan.measure import NetworkCost
from geoseg.plan.settings import BLOCK_SIZE
from geoseg.plan.size import RunSize
from geoseg.polygons.borders.options import BorderOptions
from geoseg.polygons.builder import STRIP_PIXELS
from geoseg.polygons.table.rows import Polygons
from geoseg.polygons.table.store import StoredPolygons
from geoseg.polygons.vectorise import resolve_block_size
from geoseg.system.cpu import cores
from geoseg.system.memory import CACHE_SHARE, default_limit, gdal_cache
from geoseg.units import format_memory, parse_memory

_PIXEL_BLOCKS = 2
_SUM_BLOCKS = 2
_MAP_BLOCKS = 4
_SLACK = 1.12
"""What the allocator cannot use of what was freed: holes between pieces of other sizes. Measured."""
_TILE_BATCHES = 2 * 16
"""Tiles on their way through the thread of a map that compresses."""
_RESERVE = 0.9
"""The share of the limit that is planned for: the system's own accounts are rough."""

_FEW = 64
"""Blocks that are looked at one by one; of more, all are taken to be as large as the largest."""
BASE = 230_000_000
"""The process with its libraries."""
WRITING = 350_000_000
"""Batches on their way to a file, with what a format keeps."""
PIXEL, PIXEL_BAND = 90, 3
"""Bytes a pixel of every block that is traced; and for each raster read with it."""
PIXEL_ROW = 4
"""Bytes a pixel of a row of blocks: borders that wait, on maps where most polygons are larger than blocks."""
VERTEX = 180
"""Bytes a vertex of the largest polygon, while it is put together and written."""
SIMPLER_VERTEX, SIMPLER_ROUND, SIMPLER_POLYGON = 24, 8, 300
"""Bytes a vertex of all, for each round of smoothing, and a polygon, while borders are made simpler."""
_BLOCKS = (1024, 768, 512, 384, 256)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of memory at the peak of a run, by what they are for.

    Attributes:
        program: Python, libraries, the runtime with its network.
        inferences: Inferences in flight.
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
    inferences: int
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
        blocks = self.inferences + self.pixels + self.sums + self.maps + self.margins + self.tiles
        return self.program + self.cache + max(int(blocks * _SLACK), blocks + self.tracing, self.polygons)

    def to_json(self) -> dict[str, int]:
        """Give the parts and their total as JSON values."""
        return asdict(self) | {"total": self.total}


def estimate_memory(
    size: RunSize,
    cost: NetworkCost,
    block: Block,
    *,
    blocks: int,
    concurrency: int,
    cache: int,
    margins_on_disk: bool,
    every: Sequence[Block] = (),
) -> MemoryEstimate:
    """Estimate what a run needs.

    Args:
        size: The run.
        cost: Its network's.
        block: Its largest block.
        blocks: How many there are.
        concurrency: Inferences in flight.
        cache: Bytes that GDAL's cache may take.
        margins_on_disk: Whether margins to the row below wait in the work folder.
        every: All blocks in order, where they are few: those at the edge may be much smaller than the
            largest. Else all count as that one.
    """
    reach, core = block.reach.pixels, block.core.pixels
    tracing = 0
    if size.traced:  # a strip of the block, and what waits along the row of blocks above
        tracing = tracing_memory(min(core, STRIP_PIXELS), size.traced)
        tracing += PIXEL_ROW * size.width * block.core.height
    reaches, cores = [one.reach.pixels for one in every], [one.core.pixels for one in every]
    read = min(reach * min(blocks, 2), size.strip * block.reach.width)
    held = _together(reaches, reach, min(blocks, _PIXEL_BLOCKS + size.ahead))
    added_up = _together(reaches, reach, min(blocks, _SUM_BLOCKS))
    rendered = _together(cores, core, min(blocks, _MAP_BLOCKS))
    chip = size.batch * size.chip**2
    right = block.reach.height * size.overlap
    below = 2 * block.reach.width if margins_on_disk else size.width
    return MemoryEstimate(
        program=cost.loaded,
        # The network's own, its input, its answer while it is blended.
        inferences=concurrency * (cost.per_inference + 4 * chip * size.bands + 8 * size.chip**2),
        pixels=held * (4 * size.bands + 1) + read * (size.bands * (size.itemsize + 5) + 1),
        sums=added_up * 4 * size.classes,
        maps=rendered * size.maps + 5 * core,
        margins=4 * size.classes * (2 * right + size.overlap * below),
        tiles=_tiles(size),
        cache=min(cache, size.pixels * (size.bands * size.itemsize + size.maps * (not size.streamed))),
        tracing=tracing,
        polygons=WRITING if size.traces else 0,
    )


def _together(sizes: Sequence[int], largest: int, count: int) -> int:
    """Give the most pixels that so many blocks in a row have."""
    if count > len(sizes):
        return largest * count
    return max(sum(sizes[first : first + count]) for first in range(len(sizes) - count + 1))


def _tiles(size: RunSize) -> int:
    """Count a row of tiles of every map and its overviews, each half as wide, and what is compressed."""
    across = -(-size.width // TILE)
    down = -(-size.pixels // (size.width * TILE))
    rows = 2 * across if down > 1 else 1
    return (rows + min(_TILE_BATCHES, across * down)) * TILE**2 * size.streamed


@dataclass(frozen=True)
class MemoryChoice:
    """How a run stays within its limit.

    Attributes:
        block_size: Side of a block in pixels.
        concurrency: Inferences in flight.
        margins_on_disk: Whether margins to the row below wait in the work folder.
        estimate: What that takes.
    """

    block_size: int
    concurrency: int
    margins_on_disk: bool
    estimate: MemoryEstimate


def choose_blocks(
    grid: Grid,
    window: Window,
    size: RunSize,
    cost: NetworkCost,
    limit: int,
    *,
    block_size: int | None,
    concurrency: int,
    fixed_concurrency: bool = False,
    asked_chips: bool = False,
    one_at_a_time: bool = False,
    cache: int,
) -> MemoryChoice:
    """Choose the fastest way that stays within a limit.

    Args:
        grid: The chip grid.
        window: What is mapped.
        size: The run.
        cost: Its network's.
        limit: Bytes.
        block_size: What the user asked for, or None.
        concurrency: The most that are worth having in flight.
        fixed_concurrency: Whether the user asked for so many.
        asked_chips: Whether the user asked for chips of this size; they are named where nothing fits.
        one_at_a_time: Whether a process has one block in memory, as workers have.
        cache: Bytes that GDAL's cache may take.

    Raises:
        SettingsError: If nothing fits, with the least that works.
    """
    most = max(1, BLOCK_SIZE // grid.stride)
    # From the usual side down to a single chip, each of whole chips.
    sides = [block_size] if block_size else [grid.stride * count for count in range(most, 0, -1)]
    blocks = [
        (side, _largest_block(grid, window, side), 1 if one_at_a_time else _count(grid, window, side))
        for side in sides
    ]
    few = {side: grid.blocks(side, window) for side, _, many in blocks if 1 < many <= _FEW}
    least: MemoryChoice | None = None
    for count in [concurrency] if fixed_concurrency else range(concurrency, 0, -1):
        for side, block, many in blocks:
            for on_disk in (False, True):
                needed = estimate_memory(
                    size,
                    cost,
                    block,
                    blocks=many,
                    concurrency=count,
                    cache=cache,
                    margins_on_disk=on_disk,
                    every=few.get(side, ()),
                )
                choice = MemoryChoice(side, count, on_disk, needed)
                if needed.total <= limit * _RESERVE:
                    return choice
                if least is None or needed.total < least.estimate.total:
                    least = choice
    assert least is not None  # there is a side and a count
    asked = {
        f"--block-size {block_size}": block_size is not None,
        f"--concurrency {concurrency}": fixed_concurrency,
        f"--chip-size {grid.chip_size}": asked_chips,
    }
    raise SettingsError(_too_little(limit, least, [option for option, is_asked in asked.items() if is_asked]))


def _too_little(limit: int, least: MemoryChoice, asked: Sequence[str]) -> str:
    needed = -(-int(least.estimate.total / _RESERVE) // 10**7) * 10**7
    without = " and ".join(asked)
    hint = f", or leave {without} out" if without else ""
    return (
        f"--max-memory {format_memory(limit)} is too little for this model and scene: give at least "
        f"{needed / 1e9:.2f}GB{hint}"
    )


def _largest_block(grid: Grid, window: Window, size: int) -> Block:
    """Find the block with the largest reach; there are many, so only those of the corners are made."""
    span = 2 * max(size, grid.stride) + grid.chip_size
    corners = [
        Window.from_bounds(row, col, min(row + span, window.row_stop), min(col + span, window.col_stop))
        for row in {window.row, max(window.row, window.row_stop - span)}
        for col in {window.col, max(window.col, window.col_stop - span)}
    ]
    blocks = [block for corner in corners for block in grid.blocks(size, corner)]
    return max(blocks, key=lambda block: block.reach.pixels)


def _count(grid: Grid, window: Window, size: int) -> int:
    """Count the blocks, or a few more."""
    step = max(1, size // grid.stride) * grid.stride
    return (1 + (window.height - 1) // step) * (1 + (window.width - 1) // step)


@dataclass(frozen=True, slots=True)
class TracingPlan:
    """How a map is traced.

    Attributes:
        block_size: Side of a block in pixels.
        workers: Blocks at once.
        limit: Bytes that the process may take.
        fixed: Bytes that it takes whatever the map; None for a process that does nothing else.
    """

    block_size: int
    workers: int
    limit: int
    fixed: int | None = None

    def check_largest(self, vertices: int) -> None:
        """Refuse to put together a polygon that does not fit into memory.

        Raises:
            SettingsError: Naming what would do.
        """
        needed = self._fixed() + VERTEX * vertices
        if needed > self.limit:
            raise SettingsError(
                f"a polygon of this map has {vertices:,} vertices, and a row of a file holds it whole: that "
                f"takes about {format_memory(needed)} of memory; give {_asking_for(needed)}, or clean the "
                "map up first (--sieve, --smooth)"
            )

    def check_borders(self, polygons: Polygons | StoredPolygons, borders: BorderOptions) -> None:
        """Refuse simpler borders that do not fit into memory: those of the whole map are held at once.

        Raises:
            SettingsError: Naming what would do.
        """
        if not borders:
            return
        vertex = SIMPLER_VERTEX + SIMPLER_ROUND * borders.rounds
        needed = self._fixed() + vertex * polygons.vertices + SIMPLER_POLYGON * len(polygons)
        if needed > self.limit:
            raise SettingsError(
                f"--simplify and --smooth-borders hold all {polygons.vertices:,} vertices of the map, which "
                f"takes about {format_memory(needed)} of memory; give {_asking_for(needed)}, clean the map "
                "up first (--sieve, --smooth), or do without"
            )

    def _fixed(self) -> int:
        return _own() if self.fixed is None else self.fixed


def plan_tracing(
    max_memory: str | int | None,
    block_size: int | None,
    workers: int | None,
    *,
    width: int,
    bands: int,
    fixed: int | None = None,
) -> TracingPlan:
    """Choose blocks and workers that fit.

    Args:
        max_memory: What the process may take: ``"4GB"`` or bytes; default half of what is free.
        block_size: Side of a block, where the user says it.
        workers: Blocks at once, where the user says it; else at most one a core.
        width: Columns of the map.
        bands: Rasters read with the class map: bands of confidence, probabilities and statistics.
        fixed: Bytes that the process takes whatever the map; None where it does nothing else.

    Raises:
        SettingsError: If nothing fits, naming the least that would; or a setting is wrong.
    """
    limit = default_limit() if max_memory is None else parse_memory(max_memory)
    if workers is not None and workers < 1:
        raise SettingsError(f"--workers must be at least 1, not {workers}")
    sizes = _BLOCKS if block_size is None else (resolve_block_size(block_size),)
    counts = range(cores(), 0, -1) if workers is None else (workers,)
    needed = {
        (size, count): (_own() if fixed is None else fixed)
        + max(WRITING, count * tracing_memory(size**2, bands) + PIXEL_ROW * width * size)
        for count in counts
        for size in sizes
    }
    for (size, count), bytes_ in needed.items():
        if bytes_ <= limit:
            return TracingPlan(size, count, limit, fixed)
    least = min(needed.values())
    raise SettingsError(
        f"polygons of this map take at least {format_memory(least)} of memory, and "
        f"{'half of what is free' if max_memory is None else '--max-memory'} is {format_memory(limit)}; give "
        f"{_asking_for(least)}"
    )


def tracing_memory(pixels: int, bands: int) -> int:
    """Count the bytes that it takes to trace so many pixels at once.

    Args:
        pixels: Of a block.
        bands: Rasters read with the class map.
    """
    return pixels * (PIXEL + PIXEL_BAND * bands)


def _asking_for(needed: int) -> str:
    """Name the flag that gives so much, also where GDAL's cache, a share of the limit, grows with it."""
    least = max(needed, int((needed - gdal_cache()) / (1 - 1 / CACHE_SHARE)))
    return f"--max-memory {-(-least // 10**7) / 100:.2f}GB"


def _own() -> int:
    """Count what a process takes that does nothing else."""
    return BASE + gdal_cache()
