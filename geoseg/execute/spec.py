"""What is the same for every block of a run: one value, built once, used by every executor."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.execute.blocks import BlockRenderer, FinishedBlock
from geoseg.grid import Block, Grid, Window
from geoseg.inference.backends.make import begin_backend
from geoseg.inference.backends.protocol import Backend
from geoseg.inference.compute import Ingredients
from geoseg.inference.reading import Normalisation
from geoseg.models.model import Model
from geoseg.plan.settings import Settings
from geoseg.scene.scene import Scene


class Masked(Protocol):
    """Ground of which only some pixels are mapped: an area of interest, or a held-out region."""

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Give the pixels to map, bool (rows, columns)."""


@dataclass(frozen=True)
class RunSpec:
    """All that blocks are computed and rendered from; can be pickled and sent to other processes.

    Attributes:
        scene: The scene, its bands in the model's order.
        model: The model.
        settings: The resolved settings.
        grid: The global chip grid.
        area: Which pixels to map; None for all.
        renderer: Renders blocks.
        blocks: All blocks of the run in row order.
    """

    scene: Scene
    model: Model
    settings: Settings
    grid: Grid
    area: Masked | None
    renderer: BlockRenderer
    blocks: tuple[Block, ...]

    def ingredients(self, make_backend: Callable[[Model, Settings], Backend] = begin_backend) -> Ingredients:
        """Give what blocks are computed of.

        Args:
            make_backend: Loads the network; by default in the background, while the first pixels are read.
        """
        card = self.model.card
        return Ingredients(
            source=self.scene,
            backend=make_backend(self.model, self.settings),
            grid=self.grid,
            normalisation=Normalisation.of(card.bands),
            classes=len(card.classes),
            area=None if self.area is None else self.area.mask,
            strip_rows=self.scene.strip_rows,
        )


class Executor(Protocol):
    """Computes the blocks of a run, wherever that is; all executors give the same blocks."""

    def finish(self) -> Generator[FinishedBlock, None, None]:
        """Yield all finished blocks in row order; what was finished before is not computed again."""
