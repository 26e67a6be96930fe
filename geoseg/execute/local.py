"""The local executor: blocks in the threads of this process, in row order."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from geoseg.errors import RunError
from geoseg.execute.block_store import WorkStore
from geoseg.execute.finished import BlockRenderer, FinishedBlock
from geoseg.execute.keeper import Keeper
from geoseg.execute.part import PartBlock, finish_part
from geoseg.execute.standing import Standing
from geoseg.grid import Block
from geoseg.inference.compute import BlockComputer, Ingredients
from geoseg.inference.margins import BlockGraph, Margin, MarginPlace, MarginsInMemory
from geoseg.inference.normalise import Normalisation
from geoseg.inference.stitcher import hand_on_margins, join
from geoseg.plan.prepare import Job
from geoseg.plan.settings import begin_backend


def ingredients_of(job: Job) -> Ingredients:
    """What the blocks of a run are computed of; the network is loaded meanwhile."""
    card = job.model.card
    return Ingredients(
        source=job.scene,
        backend=begin_backend(job.model, job.settings),
        grid=job.grid,
        normalisation=Normalisation(card.means, card.stds),
        classes=len(card.classes),
        area=None if job.area is None else job.area.mask,
        strip_rows=job.scene.strip_rows,
    )


@dataclass(frozen=True)
class _KeptMargins:
    """Margins that pass in memory and are kept on disk as well, for the case that the run is cut short.

    With ``on_disk`` only those to the right pass in memory: a row of margins of a wide scene is large.
    """

    graph: BlockGraph
    store: WorkStore
    standing: Standing
    keeper: Keeper
    on_disk: bool
    memory: MarginsInMemory = field(default_factory=MarginsInMemory)

    def hand_on(self, margin: Margin) -> None:
        taker = margin.place.taker
        if taker in self.graph.blocks and taker not in self.standing.finished:
            if not self._is_below(margin.place):
                self.memory.hand_on(margin)
            self.keeper.tell(self.store.put_margin, margin)

    def take(self, block: Block) -> list[Margin]:
        """From memory; from disk what was not computed in this process, or waits there alone."""
        places = [
            place
            for place in self.graph.taken(block.index)
            if self._is_below(place) or not self._computed_here(place.giver)
        ]
        if self.on_disk:
            self.keeper.settle()
        kept = [margin for margin in map(self.store.margin, places) if margin is not None]
        return self.memory.take(block) + kept

    def _is_below(self, place: MarginPlace) -> bool:
        return self.on_disk and place.taker[0] > place.giver[0]

    def _computed_here(self, index: tuple[int, int]) -> bool:
        return self.standing.must_compute(index)


def run_locally(
    job: Job, renderer: BlockRenderer, graph: BlockGraph, store: WorkStore, standing: Standing
) -> Generator[FinishedBlock, None, None]:
    """Finish blocks in this process and keep them.

    Args:
        job: The run.
        renderer: Renders its blocks.
        graph: Its blocks.
        store: Where finished blocks and margins are kept.
        standing: What is there already.

    Yields:
        All finished blocks in row order.
    """
    wanted = [block for index, block in graph.blocks.items() if standing.must_compute(index)]
    if not wanted and not standing.parts:  # and no network is needed
        yield from (reload(store, block) for block in graph.blocks.values())
        return
    with Keeper() as keeper, BlockComputer(ingredients_of(job), job.settings.forwards) as computer:
        margins = _KeptMargins(graph, store, standing, keeper, job.margins_on_disk)
        computed = computer.run(wanted)
        for index, block in graph.blocks.items():
            if index in standing.finished:
                if index in standing.again:
                    hand_on_margins(next(computed), margins)
                yield reload(store, block)
                continue
            if standing.must_compute(index):
                finished = renderer.render(join(next(computed), margins))
            else:
                finished = finish_part(_part(store, block), margins.take(block), renderer)
            keeper.tell(store.put_finished, finished)
            keeper.tell(store.drop_part, index)
            for place in graph.taken(index):
                keeper.tell(store.drop_margin, place)
            yield finished


def _part(store: WorkStore, block: Block) -> PartBlock:
    """What workers left of a block, when a run that was begun on a cluster is ended here."""
    part = store.part(block.index)
    if part is None:
        raise RunError(f"{store.folder}: a block was damaged meanwhile; --resume computes it again")
    return part


def reload(store: WorkStore, block: Block) -> FinishedBlock:
    """A block that was finished before.

    Raises:
        RunError: If its file was damaged meanwhile.
    """
    finished = store.finished(block.index)
    if finished is None:
        raise RunError(f"{store.folder}: a finished block was damaged meanwhile; --resume computes it again")
    return finished
