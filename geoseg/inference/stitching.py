"""Join blocks: each sends its margins to the blocks that own their pixels.

A *margin* is the part of a block's sums for pixels that the block to the right, below or at the corner owns.
It is sent to the owner once, so no chip is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Window
from geoseg.inference.compute import BlockComputer, ComputedBlock, Ingredients
from geoseg.inference.sums import Decision, WeightedSums
from geoseg.inference.tally import Tally

Index = tuple[int, int]


@dataclass(frozen=True)
class Stitcher:
    """Compute and join the blocks of a scene in the memory of this process.

    Attributes:
        ingredients: What is needed to compute blocks.
        tally: Counts and seconds, filled while running.
    """

    ingredients: Ingredients
    tally: Tally = field(default_factory=Tally)

    def run(self, blocks: Iterable[Block], concurrency: int | None = None) -> Iterator[StitchedBlock]:
        """Stitch blocks.

        Args:
            blocks: Blocks of the grid in row order (``Grid.blocks``).
            concurrency: Inferences in flight at once; never changes the result. Default: the backend's.

        Yields:
            The blocks in the same order.
        """
        margins = MarginsInMemory()
        with BlockComputer(self.ingredients, concurrency) as computer:
            for computed in computer.run(blocks):
                self.tally.add(computed.tally)
                yield join(computed, margins)


@dataclass(frozen=True)
class StitchedBlock:
    """A block whose core is complete.

    Attributes:
        block: The block.
        total: Its sums; None if no pixel is to be mapped.
        valid: bool (rows, columns) over its core: pixels to map.
        tally: Its counts and busy seconds.
    """

    block: Block
    total: WeightedSums | None
    valid: NDArray[np.bool_]
    tally: Tally

    def decide(self, window: Window, *, with_sums: bool = False) -> Decision | None:
        """Decide the classes of a window of the core.

        Args:
            window: The window.
            with_sums: Whether the decision is to hold the sums.

        Returns:
            The decision; None if no pixel of the block is to be mapped.
        """
        if self.total is None:
            return None
        return self.total.decide(window, self.valid[window.slices(self.block.core)], with_sums=with_sums)


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


class MarginExchange(MarginTarget, Protocol):
    """Passes margins from the blocks that computed them to the blocks that own their pixels."""

    def take(self, block: Block) -> list[Margin]:
        """Return the margins that were sent to a block; each is returned once."""


@dataclass
class MarginsInMemory:
    """Margins in the memory of one process; see ``MarginExchange``."""

    _waiting: dict[Index, list[Margin]] = field(default_factory=dict)

    def send(self, margin: Margin) -> None:
        """Store a margin for its owner."""
        self._waiting.setdefault(margin.place.owner, []).append(margin)

    def take(self, block: Block) -> list[Margin]:
        """Return the margins that were sent to a block, once."""
        return self._waiting.pop(block.index, [])


def join(computed: ComputedBlock, margins: MarginExchange) -> StitchedBlock:
    """Send a block's margins, and complete its core with the margins that it receives.

    A margin holds only sums of the block's own chips, so blocks can be computed in any order.

    Args:
        computed: The block.
        margins: Passes margins on; it must hold those of the neighbours above and to the left.
    """
    send_margins(computed, margins)
    total = computed.total
    for margin in margins.take(computed.block):
        if total is not None:
            total.add(margin.place.window, margin.sums)
    return StitchedBlock(computed.block, total, computed.valid, computed.tally)


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
