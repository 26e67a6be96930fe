"""The local executor: blocks in the threads of this process, in row order."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from geoseg.execute.block_store import BlockStore, ResumeState
from geoseg.execute.blocks import FinishedBlock
from geoseg.execute.spec import RunSpec
from geoseg.grid import Block
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.compute import BlockComputer
from geoseg.inference.stitching import BlockGraph, Margin, MarginPlace, MarginsInMemory, send_margins
from geoseg.system.cpu import BackgroundThread

_MOST_WAITING = 8
"""Writes that may wait: a block leaves up to five, so little more than a block waits in memory."""


@dataclass(frozen=True)
class LocalExecutor:
    """Finishes blocks in this process and keeps them; see ``Executor``.

    Attributes:
        spec: The run.
        store: Where finished blocks and margins are kept.
        state: What is there already.
        margins_on_disk: Whether margins to the next row of blocks wait on disk alone, not in memory.
    """

    spec: RunSpec
    store: BlockStore
    state: ResumeState
    margins_on_disk: bool = False

    def finish(self) -> Generator[FinishedBlock, None, None]:
        """Yield all finished blocks in row order."""
        spec, store, state = self.spec, self.store, self.state
        wanted = [block for block in spec.blocks if state.must_compute(block.index)]
        if not wanted and not state.pending:  # then no network is needed
            yield from (store.reload(block.index) for block in spec.blocks)
            return
        graph = BlockGraph(spec.blocks)
        with (
            BackgroundThread("geoseg-write", _MOST_WAITING) as writer,
            BlockComputer(spec.ingredients(), spec.settings.concurrency) as computer,
        ):
            margins = _KeptMargins(graph, store, state, writer, self.margins_on_disk)
            computed = computer.run(wanted)
            for block in spec.blocks:
                index, places = block.index, graph.received(block.index)
                if state.must_compute(index):
                    new = next(computed)
                    send_margins(new, margins)
                if index in state.finished:
                    yield store.reload(index)
                    continue
                if state.must_compute(index):
                    pending = spec.renderer.render_interior(new, places)
                    del new  # its sums are not needed any more, and the next block's will be
                else:
                    pending = store.reload_pending(index)
                finished = spec.renderer.complete(pending, margins.take(block))
                del pending
                writer.submit(store.put_finished, finished)
                writer.submit(store.drop_pending, index)
                for place in places:
                    writer.submit(store.drop_margin, place)
                yield finished


def finish_in_memory(spec: RunSpec, backend: Backend) -> Generator[FinishedBlock, None, None]:
    """Finish blocks in this process without keeping anything, for short runs that are begun anew.

    Args:
        spec: The run.
        backend: Runs its network.

    Yields:
        All finished blocks in row order.
    """
    graph, margins = BlockGraph(spec.blocks), MarginsInMemory()
    with BlockComputer(spec.ingredients(lambda *_: backend), spec.settings.concurrency) as computer:
        for computed in computer.run(spec.blocks):
            send_margins(computed, margins)
            pending = spec.renderer.render_interior(computed, graph.received(computed.block.index))
            yield spec.renderer.complete(pending, margins.take(computed.block))


@dataclass(frozen=True)
class _KeptMargins:
    """Margins that pass in memory and are kept on disk as well, for the case that the run is cut short.

    With ``on_disk`` only those to the right pass in memory: a row of margins of a wide scene is large.
    """

    graph: BlockGraph
    store: BlockStore
    state: ResumeState
    writer: BackgroundThread
    on_disk: bool
    memory: MarginsInMemory = field(default_factory=MarginsInMemory)

    def send(self, margin: Margin) -> None:
        owner = margin.place.owner
        if owner in self.graph.blocks and owner not in self.state.finished:
            if not self._is_below(margin.place):
                self.memory.send(margin)
            self.writer.submit(self.store.put_margin, margin)

    def take(self, block: Block) -> list[Margin]:
        """Take margins from memory; from disk what was not computed in this process, or waits there alone."""
        places = [
            place
            for place in self.graph.received(block.index)
            if self._is_below(place) or not self.state.must_compute(place.source)
        ]
        if self.on_disk:
            self.writer.flush()
        kept = [margin for margin in map(self.store.margin, places) if margin is not None]
        return self.memory.take(block) + kept

    def _is_below(self, place: MarginPlace) -> bool:
        return self.on_disk and place.owner[0] > place.source[0]
