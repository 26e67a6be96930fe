"""Where a run stands: which blocks are finished, and which of those must hand on their margins again."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.inference.margins import BlockGraph, Index
from geoseg.run.work_store import WorkStore


@dataclass(frozen=True)
class Standing:
    """What need not be done any more.

    Attributes:
        finished: Blocks that are finished; their chips are not computed again, but for those in ``again``.
        silent: Those of them that had no chip to run, and so have left no margins.
        again: Those of them whose margins were lost before all who need them were finished. It takes a
            damaged disk.
    """

    finished: frozenset[Index] = frozenset()
    silent: frozenset[Index] = frozenset()
    again: frozenset[Index] = frozenset()

    def must_compute(self, index: Index) -> bool:
        """Whether a block's chips have to be run."""
        return index not in self.finished or index in self.again


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
    return Standing(frozenset(has_margins), frozenset(silent), frozenset(again))
