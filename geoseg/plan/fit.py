"""Blocks and forwards in flight, chosen so that a run stays within ``--max-memory``.

The chip size is never changed, because it changes the answer. Forwards are given up last, because they are
what keeps all cores busy; before that margins wait on disk, and blocks get smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from geoseg.errors import SettingsError
from geoseg.grid import Block, Grid, Window
from geoseg.inference.compute import blocks_ahead, readers_for
from geoseg.plan.demand import Demand
from geoseg.plan.footprint import Footprint, Shape, footprint
from geoseg.plan.prepare import Job
from geoseg.plan.settings import BLOCK_SIZE
from geoseg.system.memory import show_memory

_RESERVE = 0.9
"""The share of the limit that is planned for: the system's own accounts are rough."""

_FEW = 64
"""Blocks that are looked at one by one; of more, all are taken to be as large as the largest."""


@dataclass(frozen=True)
class Choice:
    """How a run stays within its limit.

    Attributes:
        block_size: Side of a block in pixels.
        forwards: Forwards in flight.
        margins_on_disk: Whether margins to the row below wait in the work folder.
        footprint: What that takes.
    """

    block_size: int
    forwards: int
    margins_on_disk: bool
    footprint: Footprint


def fit(
    grid: Grid,
    window: Window,
    shape: Shape,
    demand: Demand,
    limit: int,
    *,
    block_size: int | None,
    forwards: int,
    fixed_forwards: bool = False,
    asked_chips: bool = False,
    one_at_a_time: bool = False,
    cache: int,
) -> Choice:
    """The fastest way that stays within a limit.

    Args:
        grid: The chip grid.
        window: What is mapped.
        shape: The run.
        demand: Its network's.
        limit: Bytes.
        block_size: What the user asked for, or None.
        forwards: The most that are worth having in flight.
        fixed_forwards: Whether the user asked for so many.
        asked_chips: Whether the user asked for chips of this size; they are named where nothing fits.
        one_at_a_time: Whether a process has one block in memory, as workers have.
        cache: Bytes that GDAL's cache may take.

    Raises:
        SettingsError: If nothing fits, with the least that works.
    """
    sizes = [block_size] if block_size else _sizes(grid)
    blocks = [
        (size, _largest(grid, window, size), 1 if one_at_a_time else _count(grid, window, size))
        for size in sizes
    ]
    few = {size: grid.blocks(size, window) for size, _, many in blocks if 1 < many <= _FEW}
    least: Choice | None = None
    for count in [forwards] if fixed_forwards else range(forwards, 0, -1):
        for size, block, many in blocks:
            for on_disk in (False, True):
                needed = footprint(
                    shape,
                    demand,
                    block,
                    blocks=many,
                    forwards=count,
                    cache=cache,
                    margins_on_disk=on_disk,
                    every=few.get(size, ()),
                )
                choice = Choice(size, count, on_disk, needed)
                if needed.total <= limit * _RESERVE:
                    return choice
                if least is None or needed.total < least.footprint.total:
                    least = choice
    assert least is not None  # there is a size and a count
    asked = {
        f"--block-size {block_size}": block_size is not None,
        f"--forwards {forwards}": fixed_forwards,
        f"--chip-size {grid.chip_size}": asked_chips,
    }
    raise SettingsError(_too_little(limit, least, [option for option, is_asked in asked.items() if is_asked]))


def _too_little(limit: int, least: Choice, asked: Sequence[str]) -> str:
    needed = -(-int(least.footprint.total / _RESERVE) // 10**7) * 10**7
    without = " and ".join(asked)
    hint = f", or leave {without} out" if without else ""
    return (
        f"--max-memory {show_memory(limit)} is too little for this model and scene: give at least "
        f"{needed / 1e9:.2f}GB{hint}"
    )


def shape_of(job: Job, maps: int, *, streamed: int) -> Shape:
    """What the memory of a run depends on.

    Args:
        job: The run.
        maps: Bytes a pixel of all maps that are made.
        streamed: Of those that are compressed while they are made.
    """
    settings, polygons = job.settings, job.outputs.polygons is not None
    here = polygons and not job.workers.are_elsewhere  # workers trace nothing
    return Shape(
        bands=len(settings.bands),
        itemsize=max((np.dtype(band.dtype).itemsize for band in job.scene.bands), default=4),
        classes=len(job.model.classes),
        width=job.window.width,
        pixels=job.window.pixels,
        overlap=settings.overlap,
        chip=settings.chip_size,
        batch=settings.batch_size,
        maps=maps,
        streamed=streamed,
        polygons=here,
        traced=traced_bands(job) if here and settings.refine is None else 0,
        ahead=blocks_ahead(settings.device),
        strip=job.scene.strip_rows * readers_for(settings.device, settings.forwards),
    )


def traced_bands(job: Job) -> int:
    """Rasters that are traced with the class map: confidence, probabilities, and what statistics read."""
    return 1 + len(job.model.classes) + (0 if job.zonal is None else 3 * len(job.zonal.measures))


def chosen(job: Job, choice: Choice) -> Job:
    """The job with what was chosen."""
    settings = replace(job.settings, block_size=choice.block_size)
    if choice.forwards < settings.forwards:
        settings = replace(settings, forwards=choice.forwards, forwards_by="memory")
    return replace(job, settings=settings)


def _sizes(grid: Grid) -> list[int]:
    """Sides of blocks from the usual one down to a single chip, each of whole chips."""
    most = max(1, BLOCK_SIZE // grid.stride)
    return [grid.stride * count for count in range(most, 0, -1)]


def _largest(grid: Grid, window: Window, size: int) -> Block:
    """The block with the largest reach; there are many, so only those of the corners are made."""
    span = 2 * max(size, grid.stride) + grid.chip_size
    return max(_some_blocks(grid, window, size, span), key=lambda block: block.reach.pixels)


def _count(grid: Grid, window: Window, size: int) -> int:
    """How many blocks there are, or a few more."""
    step = max(1, size // grid.stride) * grid.stride
    return (1 + (window.height - 1) // step) * (1 + (window.width - 1) // step)


def _some_blocks(grid: Grid, window: Window, size: int, span: int) -> Iterator[Block]:
    rows = {window.row, max(window.row, window.row_stop - span)}
    cols = {window.col, max(window.col, window.col_stop - span)}
    for row in rows:
        for col in cols:
            part = Window.from_bounds(
                row, col, min(row + span, window.row_stop), min(col + span, window.col_stop)
            )
            yield from grid.blocks(size, part)
