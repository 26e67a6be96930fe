"""The stitcher: computes blocks in row order and joins them to their neighbours by handing margins on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Window
from geoseg.inference.accumulate import AccumulatedBlock
from geoseg.inference.compute import BlockComputer, ComputedBlock, Ingredients
from geoseg.inference.decision import Decision
from geoseg.inference.margins import Margin, MarginExchange, MarginsInMemory, MarginTarget, margin_places
from geoseg.inference.tally import Tally


@dataclass(frozen=True)
class StitchedBlock:
    """A block whose core is complete.

    Attributes:
        block: The block.
        total: Its sums; None when no pixel is to be mapped.
        valid: bool (rows, columns) over its core: pixels to be mapped.
        tally: What it took.
    """

    block: Block
    total: AccumulatedBlock | None
    valid: NDArray[np.bool_]
    tally: Tally

    def decide(self, window: Window, *, with_sums: bool = False) -> Decision | None:
        """Decide on a window of the core.

        Args:
            window: The window.
            with_sums: Whether the decision shall hold the sums.

        Returns:
            The decision, or None when no pixel of the block is to be mapped.
        """
        if self.total is None:
            return None
        return self.total.decide(window, self.valid[window.slices(self.block.core)], with_sums=with_sums)


def hand_on_margins(computed: ComputedBlock, margins: MarginTarget) -> None:
    """Hand on what a block's own chips computed of its neighbours' pixels."""
    if computed.total is None:
        return
    for place in margin_places(computed.block):
        margins.hand_on(Margin(place, computed.total.margin(place.window)))


def join(computed: ComputedBlock, margins: MarginExchange) -> StitchedBlock:
    """Hand on a block's margins, and complete its core with those it gets.

    Only what its own chips computed is handed on; so a block can be computed when its neighbours are not.

    Args:
        computed: The block.
        margins: Where margins go to and come from; those of its neighbours above and to the left are there.
    """
    hand_on_margins(computed, margins)
    total = computed.total
    for margin in margins.take(computed.block):
        if total is not None:
            total.add(margin.place.window, margin.sums)
    return StitchedBlock(computed.block, total, computed.valid, computed.tally)


@dataclass(frozen=True)
class Stitcher:
    """Turns blocks of a scene into blocks of blended probabilities, all in the memory of this process.

    Attributes:
        ingredients: What blocks are computed of.
        tally: Counts and seconds, filled while running.
    """

    ingredients: Ingredients
    tally: Tally = field(default_factory=Tally)

    def run(self, blocks: Iterable[Block], forwards: int | None = None) -> Iterator[StitchedBlock]:
        """Stitch blocks.

        Args:
            blocks: Blocks of the grid in row order (``Grid.blocks``).
            forwards: Forwards in flight at once; never changes the result. Default: the backend's.

        Yields:
            The blocks in the same order.
        """
        margins = MarginsInMemory()
        with BlockComputer(self.ingredients, forwards) as computer:
            for computed in computer.run(blocks):
                self.tally.add(computed.tally)
                yield join(computed, margins)
