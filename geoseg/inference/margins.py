"""Margins: what a block computed of pixels that the blocks to the right and below own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Window

Index = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MarginPlace:
    """Where a margin comes from and goes to.

    Attributes:
        giver: Index of the block that computed it.
        taker: Index of the block that owns its pixels.
        window: Those pixels.
    """

    giver: Index
    taker: Index
    window: Window


@dataclass(frozen=True)
class Margin:
    """Sums that a block hands to the block that owns their pixels.

    Attributes:
        place: Where they come from and go to.
        sums: int32 (classes, rows, columns) in units of ``blend.SUM_ONE``.
    """

    place: MarginPlace
    sums: NDArray[np.int32]


def margin_places(block: Block) -> tuple[MarginPlace, ...]:
    """The margins that a block hands on: to the right, below and at the corner, as far as there are any."""
    core, reach = block.core, block.reach
    row, col = block.index
    right = Window.from_bounds(core.row, core.col_stop, core.row_stop, reach.col_stop)
    below = Window.from_bounds(core.row_stop, core.col, reach.row_stop, core.col_stop)
    corner = Window.from_bounds(core.row_stop, core.col_stop, reach.row_stop, reach.col_stop)
    takers = {(row, col + 1): right, (row + 1, col): below, (row + 1, col + 1): corner}
    return tuple(MarginPlace(block.index, taker, window) for taker, window in takers.items() if window.pixels)


class BlockGraph:
    """The blocks of a run and the margins that pass between them.

    Args:
        blocks: All blocks of the run, in row order (``Grid.blocks``).

    Attributes:
        blocks: Index -> block, in the same order.
    """

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = {block.index: block for block in blocks}

    def given(self, index: Index) -> tuple[MarginPlace, ...]:
        """The margins that a block hands to other blocks of the run."""
        return tuple(place for place in margin_places(self.blocks[index]) if place.taker in self.blocks)

    def taken(self, index: Index) -> tuple[MarginPlace, ...]:
        """The margins that a block gets from those above and to the left."""
        row, col = index
        givers = [(row - 1, col - 1), (row - 1, col), (row, col - 1)]
        return tuple(
            place
            for giver in givers
            if giver in self.blocks
            for place in margin_places(self.blocks[giver])
            if place.taker == index
        )


class MarginTarget(Protocol):
    """Where margins go."""

    def hand_on(self, margin: Margin) -> None:
        """Keep a margin for its taker."""


class MarginExchange(MarginTarget, Protocol):
    """Brings margins from the blocks that computed them to those that own them."""

    def take(self, block: Block) -> list[Margin]:
        """The margins that were handed to a block; they are handed out once."""


@dataclass
class MarginsInMemory:
    """Margins on their way within one process; see ``MarginExchange``."""

    _waiting: dict[Index, list[Margin]] = field(default_factory=dict)

    def hand_on(self, margin: Margin) -> None:
        """Keep a margin for its taker."""
        self._waiting.setdefault(margin.place.taker, []).append(margin)

    def take(self, block: Block) -> list[Margin]:
        """The margins that were handed to a block."""
        return self._waiting.pop(block.index, [])
