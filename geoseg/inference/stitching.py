"""Join blocks: each sends its margins to the blocks that own their pixels.

A *margin* is the part of a block's sums for pixels that the block to the right, below or at the corner owns.
It is sent to the owner once, so no chip is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Window
from geoseg.inference.compute import ComputedBlock

Index = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MarginPlace:
    """The source, the owner and the pixels of a margin.

    Attributes:
        source: Index of the block that computed it.
        owner: Index of the block that owns its pixels.
        window: Its pixels.
    """

    source: Index
    owner: Index
    window: Window


@dataclass(frozen=True)
class Margin:
    """Sums that a block computed for pixels of another block.

    Attributes:
        place: Source, owner and pixels.
        sums: int32 (classes, rows, columns) in units of ``sums.SUM_ONE``.
    """

    place: MarginPlace
    sums: NDArray[np.int32]


class MarginTarget(Protocol):
    """Receives margins."""

    def send(self, margin: Margin) -> None:
        """Store a margin for its owner."""


@dataclass
class MarginsInMemory:
    """Pass margins in memory from the blocks that computed them to the blocks that own their pixels."""

    _waiting: dict[Index, list[Margin]] = field(default_factory=dict)

    def send(self, margin: Margin) -> None:
        """Store a margin for its owner."""
        self._waiting.setdefault(margin.place.owner, []).append(margin)

    def take(self, block: Block) -> list[Margin]:
        """Return the margins that were sent to a block; each is returned once."""
        return self._waiting.pop(block.index, [])


def send_margins(computed: ComputedBlock, margins: MarginTarget) -> None:
    """Send the margins of a block to their owners."""
    if computed.total is None:
        return
    for place in margin_places(computed.block):
        margins.send(Margin(place, computed.total.margin(place.window)))


def margin_places(block: Block) -> tuple[MarginPlace, ...]:
    """Return the margins of a block that have pixels: to the right, below and at the corner."""
    core, reach = block.core, block.reach
    row, col = block.index
    right = Window.from_bounds(core.row, core.col_stop, core.row_stop, reach.col_stop)
    below = Window.from_bounds(core.row_stop, core.col, reach.row_stop, core.col_stop)
    corner = Window.from_bounds(core.row_stop, core.col_stop, reach.row_stop, reach.col_stop)
    owners = {(row, col + 1): right, (row + 1, col): below, (row + 1, col + 1): corner}
    return tuple(MarginPlace(block.index, owner, window) for owner, window in owners.items() if window.pixels)


class BlockGraph:
    """The blocks of a run, and the margins that pass between them.

    Args:
        blocks: All blocks of the run, in row order (``Grid.blocks``).

    Attributes:
        blocks: Index to block, in the same order.
    """

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = {block.index: block for block in blocks}

    def sent(self, index: Index) -> tuple[MarginPlace, ...]:
        """Return the margins that a block sends to other blocks of the run."""
        return tuple(place for place in margin_places(self.blocks[index]) if place.owner in self.blocks)

    def received(self, index: Index) -> tuple[MarginPlace, ...]:
        """Return the margins that a block receives from the blocks above and to the left."""
        row, col = index
        sources = [(row - 1, col - 1), (row - 1, col), (row, col - 1)]
        return tuple(
            place
            for source in sources
            if source in self.blocks
            for place in margin_places(self.blocks[source])
            if place.owner == index
        )
