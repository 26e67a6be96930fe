"""Where a run stands: which blocks are finished, and which of those must hand on their margins again."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.execute.block_store import WorkStore
from geoseg.inference.margins import BlockGraph, Index


@dataclass(frozen=True)
class Standing:
    """What need not be done any more.

    Attributes:
        finished: Blocks that are finished; their chips are not computed again, but for those in ``again``.
        silent: Those of them that had no chip to run, and so have left no margins.
        again: Those of them whose margins were lost before all who need them were finished. It takes a
            damaged disk.
        parts: Blocks that workers computed, with all their margins, and had not joined with those of their
            neighbours.
    """

    finished: frozenset[Index] = frozenset()
    silent: frozenset[Index] = frozenset()
    again: frozenset[Index] = frozenset()
    parts: frozenset[Index] = frozenset()

    def must_compute(self, index: Index) -> bool:
        """Whether a block's chips have to be run."""
        return not self.was_computed(index) or index in self.again

    def was_computed(self, index: Index) -> bool:
        """Whether an earlier run computed a block."""
        return index in self.finished or index in self.parts


def survey(store: WorkStore, graph: BlockGraph) -> Standing:
    """Read everything that is there and see what is whole.

    Raises:
        RunError: If the system cannot read a file.
    """
    has_margins: dict[Index, bool] = {}
    for index in store.indices():
        block = store.finished(index) if index in graph.blocks else None
        if block is not None:
            has_margins[index] = block.tally.chips > 0
    again = {
        place.giver
        for index in graph.blocks
        if index not in has_margins
        for place in graph.taken(index)
        if has_margins.get(place.giver) and store.margin(place) is None
    }
    silent = (index for index, gave in has_margins.items() if not gave)
    parts = (
        index
        for index in store.part_indices()
        if index in graph.blocks
        and index not in has_margins
        and store.part(index) is not None
        and all(place.taker in has_margins or store.margin(place) is not None for place in graph.given(index))
    )
    return Standing(frozenset(has_margins), frozenset(silent), frozenset(again), frozenset(parts))
