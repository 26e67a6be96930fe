"""The rasters of a run while they are written: finished blocks go in by rows, complete files come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from geoseg.execute.blocks import BlockRenderer, FinishedBlock
from geoseg.execute.polygons import TracedRun
from geoseg.execute.report import provenance
from geoseg.files import StagedFile
from geoseg.maps.statistics import ClassStatistics
from geoseg.maps.writer import MapWriter
from geoseg.plan.plan import Plan
from geoseg.progress import Progress
from geoseg.refine.request import REFINE_TAG


class Assembly:
    """Writes the maps of a run.

    Args:
        plan: The run.
        renderer: What rendered its blocks.
        scratch: Where the writers may keep what is unfinished.
        answer: The hash of what the maps depend on, for their tags.

    Attributes:
        statistics: Of the blocks that were added.
        traced: Their polygons, where these are wanted and nothing will be refined; else None.
    """

    def __init__(self, plan: Plan, renderer: BlockRenderer, scratch: Path, answer: str) -> None:
        run = plan.prepared
        self.statistics = ClassStatistics(run.model.card.classes, run.window, renderer.pixel_sizes)
        self._wanted: Sequence[str] = tuple(run.outputs.rasters)
        tags = provenance(plan, answer)
        not_refined = {key: value for key, value in tags.items() if key != REFINE_TAG}
        self._writers = {
            kind.name: MapWriter(
                kind,
                run.outputs.rasters.get(kind.name, scratch / "unused.tif"),
                scratch,
                run.window,
                run.scene.georeference,
                not_refined if kind.name == "probabilities" else tags,
                read_again=plan.settings.refine is not None,
            )
            for kind in renderer.kinds
            if kind.name in self._wanted or plan.settings.refine is not None
        }
        self.traced: TracedRun | None = None
        if run.outputs.polygons is not None and plan.settings.refine is None:
            self.traced = TracedRun(plan, tags)

    def add(self, block: FinishedBlock) -> None:
        """Write a finished block; blocks come in row order."""
        self.statistics.add_counts(block.counts)
        if self.traced is not None:
            self.traced.add(block)
        for name, writer in self._writers.items():
            if name in block.maps:
                assert block.window is not None  # it has maps
                writer.write(block.window, block.maps[name])

    def close(self) -> dict[str, Path]:
        """End writing; give kind of map -> raster that can be read, and refined, until ``finish``.

        Only where refine steps read it.
        """
        return {name: writer.close() for name, writer in self._writers.items() if writer.read_again}

    def discard(self) -> None:
        """Remove what is unfinished."""
        if self.traced is not None:
            self.traced.close()
        for writer in self._writers.values():
            writer.discard()

    def finish(self, progress: Progress) -> Iterator[StagedFile]:
        """Yield complete files under temporary names, as they are made; the class map is the last."""
        for name, writer in reversed(self._writers.items()):
            if name in self._wanted:
                progress.say(f"finishing {writer.final}")
                yield from writer.finish()
