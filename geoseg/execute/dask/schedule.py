"""Who does what next when blocks are computed side by side: plain bookkeeping, without any cluster.

A block is computed on its own and joined when those above and to the left are computed too; joined blocks are
finished, and are taken in row order. All of it takes constant time a block, whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterator

from geoseg.execute.block_store import ResumeState
from geoseg.inference.stitching import BlockGraph, Index


class Schedule:
    """The state of a run whose blocks are computed side by side.

    Args:
        graph: The blocks.
        state: What is finished already.
        ahead: A block is only begun when fewer blocks than this lie between it and the first one that was not
            taken, so that those who take blocks are not outrun for ever.
    """

    def __init__(self, graph: BlockGraph, state: ResumeState, ahead: int) -> None:
        self._graph, self._state, self._ahead = graph, state, ahead
        self._order = list(graph.blocks)
        self._next_begun = self._next_taken = 0
        self._finished = set(state.finished)
        self._computed = set((state.finished | state.pending) - state.recompute)
        self._silent = set(state.without_margins)
        self._joining: set[Index] = set()

    def begin(self) -> Index | None:
        """The next block to compute; None if none may be begun now."""
        while self._next_begun < min(len(self._order), self._next_taken + self._ahead):
            index = self._order[self._next_begun]
            self._next_begun += 1
            if self._state.must_compute(index):
                return index
        return None

    def ready(self) -> list[Index]:
        """The blocks that can be joined before any is computed: what an earlier run left."""
        ready = [index for index in sorted(self._state.pending) if self._can_join(index)]
        self._joining.update(ready)
        return ready

    def computed(self, index: Index, *, gives: bool) -> list[Index]:
        """Say that a block was computed.

        Args:
            index: The block.
            gives: Whether it has left margins.

        Returns:
            The blocks that can be joined now.
        """
        self._computed.add(index)
        if not gives:
            self._silent.add(index)
        row, col = index
        around = [(row, col), (row, col + 1), (row + 1, col), (row + 1, col + 1)]
        ready = [other for other in around if other in self._graph.blocks and self._can_join(other)]
        self._joining.update(ready)
        return ready

    def sources(self, index: Index) -> list[Index]:
        """The blocks whose margins a block gets, all of them computed."""
        places = self._graph.received(index)
        return [place.source for place in places if place.source not in self._silent]

    def finished(self, index: Index) -> None:
        """Say that a block is finished."""
        self._finished.add(index)
        self._joining.discard(index)

    def take(self) -> Iterator[Index]:
        """The blocks that are next in row order and finished."""
        while not self.is_done and self._order[self._next_taken] in self._finished:
            self._next_taken += 1
            yield self._order[self._next_taken - 1]

    @property
    def is_done(self) -> bool:
        """Whether all blocks were taken."""
        return self._next_taken == len(self._order)

    def _can_join(self, index: Index) -> bool:
        if index in self._finished or index in self._joining:
            return False
        return self._computed.issuperset({index, *(place.source for place in self._graph.received(index))})
