"""The life of a block: its chips are computed, its interior is rendered, its seams are completed.

A block shares chips with its neighbours, so along its top and its left side its sums lack what the blocks
there computed. ``render_interior`` renders what no neighbour touches and keeps the sums of these seams in a
``PendingBlock``; ``complete`` adds the neighbours' margins and renders the seams too. Every executor does the
same, whether the two steps follow each other in one process or lie days apart on different machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA, LandClass
from geoseg.grid import Block, Window
from geoseg.inference.compute import ComputedBlock
from geoseg.inference.stitching import Index, Margin, MarginPlace
from geoseg.inference.sums import Decision, decide
from geoseg.inference.tally import Tally
from geoseg.maps.kinds import ConfidenceMap, MapKind
from geoseg.maps.statistics import ClassStatistics, Counts
from geoseg.raster.georeference import Georeference
from geoseg.raster.pixel_sizes import PixelSizes, measure_pixel_sizes


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

    index: Index
    window: Window | None
    maps: Mapping[str, NDArray[np.uint8]]
    counts: Counts
    tally: Tally


@dataclass(frozen=True)
class SeamStrip:
    """A window of a block's core whose sums lack what blocks above or to the left computed of it.

    Attributes:
        window: The window.
        sums: int32 (classes, rows, columns) in units of ``blend.SUM_ONE``; overwritten when completed.
        valid: bool (rows, columns): pixels to be mapped.
    """

    window: Window
    sums: NDArray[np.int32]
    valid: NDArray[np.bool_]

    def add(self, margin: Margin) -> None:
        """Add what another block computed."""
        common = self.window.intersection(margin.place.window)
        if common is not None:
            source = (slice(None), *common.slices(margin.place.window))
            self.sums[(slice(None), *common.slices(self.window))] += margin.sums[source]


@dataclass(frozen=True)
class PendingBlock:
    """A computed block that waits for its neighbours.

    Attributes:
        rendered: Its maps and counts, nodata along its seams.
        strips: The seams; empty where the block is finished.
    """

    rendered: FinishedBlock
    strips: Sequence[SeamStrip]

    @property
    def index(self) -> Index:
        """The block's."""
        return self.rendered.index


@dataclass(frozen=True)
class BlockRenderer:
    """Turns decisions into the maps of a run; a value that can be sent to other processes.

    Attributes:
        kinds: The maps to render.
        classes: The model's classes.
        window: The part of the scene that is mapped.
        georeference: The scene's; None where nobody asks for areas.
    """

    kinds: tuple[MapKind, ...]
    classes: Sequence[LandClass]
    window: Window
    georeference: Georeference | None

    @cached_property
    def pixel_sizes(self) -> PixelSizes | None:
        """Sizes of the map's pixels, None where areas mean nothing; measured when they are first needed."""
        if self.georeference is None:
            return None
        origin = self.window.row, self.window.col
        place = self.georeference.cut(*origin)
        return measure_pixel_sizes(place.crs, place.transform, self.window.shape, origin)

    @property
    def needs_sums(self) -> bool:
        """Whether the maps show more than the most probable class."""
        return any(kind.name == "probabilities" for kind in self.kinds)

    def render_interior(self, computed: ComputedBlock, places: Iterable[MarginPlace]) -> PendingBlock:
        """Render what of a block does not depend on its neighbours, and keep the sums of the rest.

        Args:
            computed: The block.
            places: The margins that it will get.
        """
        block, total, tally = computed.block, computed.total, computed.tally
        canvas = _Canvas.empty(self, block)
        if canvas.window is None or total is None:
            return PendingBlock(canvas.finish(tally), ())
        with tally.spend("write"):
            interior, seams = split_at_seams(canvas.window, block.core, places)
            if interior is not None:
                valid = computed.valid[interior.slices(block.core)]
                canvas.paint(interior, total.decide(interior, valid, with_sums=self.needs_sums))
            strips = [
                SeamStrip(window, total.margin(window), computed.valid[window.slices(block.core)])
                for window in seams
            ]
        return PendingBlock(canvas.finish(tally), strips)

    def complete(self, pending: PendingBlock, margins: Iterable[Margin]) -> FinishedBlock:
        """Render the seams of a block.

        Args:
            pending: The block; its sums and maps are overwritten.
            margins: All that its neighbours computed of its core.
        """
        if not pending.strips:
            return pending.rendered
        tally = pending.rendered.tally
        with tally.spend("write"):
            canvas = _Canvas.of(self, pending.rendered)
            received = list(margins)
            for strip in pending.strips:
                for margin in received:
                    strip.add(margin)
                canvas.paint(strip.window, decide(strip.sums, strip.valid))
        return canvas.finish(tally)


def split_at_seams(
    window: Window, core: Window, places: Iterable[MarginPlace]
) -> tuple[Window | None, list[Window]]:
    """Cut the mapped part of a core into what no margin touches, and strips along its top and its left side.

    Args:
        window: The part of the core that is mapped.
        core: The core.
        places: The margins that the block gets.

    Returns:
        What no margin touches, None if nothing is left; and the strips, which share no pixel.
    """
    row, col = core.row, core.col
    for place in places:
        if place.source[0] < place.owner[0]:
            row = max(row, place.window.row_stop)
        if place.source[1] < place.owner[1]:
            col = max(col, place.window.col_stop)
    inside = Window.from_bounds(row, col, core.row_stop, core.col_stop).intersection(window)
    top = Window.from_bounds(core.row, core.col, row, core.col_stop).intersection(window)
    left = Window.from_bounds(row, core.col, core.row_stop, col).intersection(window)
    return inside, [strip for strip in (top, left) if strip is not None]


@dataclass
class _Canvas:
    """A block that is being rendered, window by window.

    Attributes:
        renderer: What renders it.
        index: The block's.
        window: The block's core inside the map, or None.
        statistics: Of what was painted so far.
        maps: Kind of map -> what was painted so far, nodata elsewhere; empty before the first paint.
    """

    renderer: BlockRenderer
    index: Index
    window: Window | None
    statistics: ClassStatistics
    maps: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    @classmethod
    def empty(cls, renderer: BlockRenderer, block: Block) -> _Canvas:
        """Make a canvas for a block of which nothing is painted."""
        statistics = ClassStatistics(renderer.classes, renderer.window, renderer.pixel_sizes)
        return cls(renderer, block.index, block.core.intersection(renderer.window), statistics)

    @classmethod
    def of(cls, renderer: BlockRenderer, block: FinishedBlock) -> _Canvas:
        """Make a canvas on which some of a block is painted already."""
        statistics = ClassStatistics(renderer.classes, renderer.window, renderer.pixel_sizes)
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
        """Give the block as it is painted now."""
        return FinishedBlock(self.index, self.window, self.maps, self.statistics.counts(), tally)
