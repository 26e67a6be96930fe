"""Finished blocks: the pixels of every map in a block's core, and what they count for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA, LandClass
from geoseg.grid import Block, Window
from geoseg.inference.decision import Decision
from geoseg.inference.stitcher import StitchedBlock
from geoseg.inference.tally import Tally
from geoseg.maps.kinds import ConfidenceMap, MapKind
from geoseg.maps.statistics import ClassStatistics, Counts
from geoseg.raster.pixel_sizes import Surface


@dataclass(frozen=True)
class FinishedBlock:
    """What a block adds to the maps of a run.

    Attributes:
        index: The block's.
        window: Its core inside the map; None where there is none.
        maps: Kind of map -> uint8 (bands, rows, columns); empty where nothing is mapped.
        counts: Of its classes, see ``ClassStatistics.counts``.
        tally: What it took.
    """

    index: tuple[int, int]
    window: Window | None
    maps: Mapping[str, NDArray[np.uint8]]
    counts: Counts
    tally: Tally


@dataclass(frozen=True)
class BlockRenderer:
    """Turns decisions into finished blocks; a value that can be sent to other processes.

    Attributes:
        kinds: The maps to render.
        classes: The model's classes.
        window: The part of the scene that is mapped.
        surface: Sizes of the map's pixels, or None.
    """

    kinds: tuple[MapKind, ...]
    classes: Sequence[LandClass]
    window: Window
    surface: Surface | None

    @property
    def needs_sums(self) -> bool:
        """Whether the maps show more than the most probable class."""
        return any(kind.name == "probabilities" for kind in self.kinds)

    def begin(self, block: Block) -> Canvas:
        """An empty canvas for a block."""
        return Canvas(
            self,
            block.index,
            block.core.intersection(self.window),
            ClassStatistics(self.classes, self.window, self.surface),
        )

    def render(self, stitched: StitchedBlock) -> FinishedBlock:
        """Decide and render all of a block that is complete."""
        with stitched.tally.spend("write"):
            canvas = self.begin(stitched.block)
            if canvas.window is not None:
                decision = stitched.decide(canvas.window, with_sums=self.needs_sums)
                if decision is not None:
                    canvas.paint(canvas.window, decision)
        return canvas.finish(stitched.tally)


@dataclass
class Canvas:
    """A block that is being rendered, window by window.

    Attributes:
        renderer: What made it.
        index: The block's.
        window: The block's core inside the map, or None.
        statistics: Of what was painted so far.
        maps: Kind of map -> what was painted so far, nodata elsewhere; empty before the first paint.
    """

    renderer: BlockRenderer
    index: tuple[int, int]
    window: Window | None
    statistics: ClassStatistics
    maps: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    @classmethod
    def of(cls, renderer: BlockRenderer, block: FinishedBlock) -> Canvas:
        """A canvas on which some of a block is painted already."""
        statistics = ClassStatistics(renderer.classes, renderer.window, renderer.surface)
        statistics.add_counts(block.counts)
        return cls(renderer, block.index, block.window, statistics, dict(block.maps))

    def paint(self, window: Window, decision: Decision) -> None:
        """Render a window of the core; each pixel once."""
        assert self.window is not None  # a block outside the map has nothing to decide on
        rendered = {kind.name: kind.render(decision) for kind in self.renderer.kinds}
        confidence = rendered["confidence"] if "confidence" in rendered else ConfidenceMap().render(decision)
        self.statistics.add(window, rendered["classes"][0], confidence[0])
        for name, pixels in rendered.items():
            if window == self.window:
                self.maps[name] = pixels
                continue
            if name not in self.maps:
                self.maps[name] = np.full((len(pixels), *self.window.shape), NODATA, np.uint8)
            self.maps[name][(slice(None), *window.slices(self.window))] = pixels

    def finish(self, tally: Tally) -> FinishedBlock:
        """The finished block."""
        return FinishedBlock(self.index, self.window, self.maps, self.statistics.counts(), tally)
