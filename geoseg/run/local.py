"""The local executor: blocks in the threads of this process, in row order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from geoseg.grid import Block
from geoseg.inference.compute import Ingredients
from geoseg.inference.normalise import Normalisation
from geoseg.inference.stitcher import Stitcher
from geoseg.run.finished import BlockRenderer, FinishedBlock
from geoseg.run.prepare import Job
from geoseg.run.settings import make_backend


def ingredients_of(job: Job) -> Ingredients:
    """What the blocks of a run are computed of; loads the network."""
    card = job.model.card
    return Ingredients(
        source=job.scene,
        backend=make_backend(job.model, job.settings),
        grid=job.grid,
        normalisation=Normalisation(card.means, card.stds),
        classes=len(card.classes),
        area=None if job.area is None else job.area.mask,
    )


def run_locally(job: Job, renderer: BlockRenderer, blocks: Sequence[Block]) -> Iterator[FinishedBlock]:
    """Finish blocks in this process.

    Args:
        job: The run.
        renderer: Renders its blocks.
        blocks: All blocks of the run in row order.

    Yields:
        The finished blocks in the same order.
    """
    for stitched in Stitcher(ingredients_of(job)).run(blocks, job.settings.forwards):
        yield renderer.render(stitched)
