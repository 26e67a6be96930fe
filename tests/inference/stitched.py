"""A scene stitched in the plainest way: every block's sums completed, then decided as a whole.

What the executors do in two steps (interiors, then seams) has to give the same, number for number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Window
from geoseg.inference.compute import BlockComputer, ComputedBlock, Ingredients
from geoseg.inference.stitching import MarginsInMemory, send_margins
from geoseg.inference.sums import Decision, WeightedSums
from geoseg.inference.tally import Tally


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


def join(computed: ComputedBlock, margins: MarginsInMemory) -> StitchedBlock:
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
