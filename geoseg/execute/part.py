"""Blocks that were computed alone: rendered where that is final, sums where neighbours have a say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.execute.finished import BlockRenderer, Canvas, FinishedBlock
from geoseg.grid import Window
from geoseg.inference.compute import ComputedBlock
from geoseg.inference.decision import decide
from geoseg.inference.margins import Index, Margin, MarginPlace


@dataclass(frozen=True)
class Strip:
    """A window of a block's core whose sums lack what blocks above or to the left computed of it.

    Attributes:
        window: The window.
        sums: int32 (classes, rows, columns) in units of ``blend.SUM_ONE``; overwritten when completed.
        valid: bool (rows, columns): pixels to be mapped.
    """

    window: Window
    sums: NDArray[np.int32]
    valid: NDArray[np.bool_]

    def add(self, margin: Margin) -> None:
        """Add what another block computed."""
        common = self.window.intersection(margin.place.window)
        if common is not None:
            source = (slice(None), *common.slices(margin.place.window))
            self.sums[(slice(None), *common.slices(self.window))] += margin.sums[source]


@dataclass(frozen=True)
class PartBlock:
    """A computed block that waits for its neighbours.

    Attributes:
        rendered: Its maps and counts, nodata in the strips.
        strips: The rest; empty where the block is finished.
    """

    rendered: FinishedBlock
    strips: Sequence[Strip]

    @property
    def index(self) -> Index:
        """The block's."""
        return self.rendered.index


def part_of(computed: ComputedBlock, taken: Iterable[MarginPlace], renderer: BlockRenderer) -> PartBlock:
    """Render what of a block does not depend on its neighbours, and keep the sums of the rest.

    Args:
        computed: The block.
        taken: The margins that it will get.
        renderer: Renders it.
    """
    block, total, tally = computed.block, computed.total, computed.tally
    canvas = renderer.begin(block)
    if canvas.window is None or total is None:
        return PartBlock(canvas.finish(tally), ())
    with tally.spend("write"):
        interior, windows = split(canvas.window, block.core, taken)
        if interior is not None:
            valid = computed.valid[interior.slices(block.core)]
            canvas.paint(interior, total.decide(interior, valid, with_sums=renderer.needs_sums))
        strips = [
            Strip(window, total.margin(window), computed.valid[window.slices(block.core)])
            for window in windows
        ]
    return PartBlock(canvas.finish(tally), strips)


def finish_part(part: PartBlock, margins: Iterable[Margin], renderer: BlockRenderer) -> FinishedBlock:
    """Complete a block.

    Args:
        part: The block; overwritten.
        margins: All that its neighbours computed of its core.
        renderer: What rendered it.
    """
    tally = part.rendered.tally
    with tally.spend("write"):
        canvas = Canvas.of(renderer, part.rendered)
        received = list(margins)
        for strip in part.strips:
            for margin in received:
                strip.add(margin)
            canvas.paint(strip.window, decide(strip.sums, strip.valid))
    return canvas.finish(tally)


def split(window: Window, core: Window, taken: Iterable[MarginPlace]) -> tuple[Window | None, list[Window]]:
    """Cut the mapped part of a core into what no margin touches, and strips along its top and its left side.

    Args:
        window: The part of the core that is mapped.
        core: The core.
        taken: The margins that the block gets.

    Returns:
        What no margin touches, None if nothing is left; and the strips, which share no pixel.
    """
    row, col = core.row, core.col
    for place in taken:
        if place.giver[0] < place.taker[0]:
            row = max(row, place.window.row_stop)
        if place.giver[1] < place.taker[1]:
            col = max(col, place.window.col_stop)
    inside = Window.from_bounds(row, col, core.row_stop, core.col_stop).intersection(window)
    top = Window.from_bounds(core.row, core.col, row, core.col_stop).intersection(window)
    left = Window.from_bounds(row, core.col, core.row_stop, col).intersection(window)
    return inside, [strip for strip in (top, left) if strip is not None]
