"""The rasters of a run while they are written: finished blocks go in by rows, complete files come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from geoseg.execute.finished import BlockRenderer, FinishedBlock
from geoseg.execute.polygons import TracedRun
from geoseg.execute.provenance import provenance
from geoseg.files import StagedFile
from geoseg.maps.kinds import ClassMap, ConfidenceMap, MapKind, ProbabilityMap
from geoseg.maps.statistics import ClassStatistics
from geoseg.maps.writer import MapWriter
from geoseg.plan.prepare import Job
from geoseg.progress import Progress
from geoseg.raster.pixel_sizes import measure_surface
from geoseg.refine.request import REFINE_TAG


def make_renderer(job: Job) -> BlockRenderer:
    """What renders the blocks of a run."""
    place = job.scene.georeference.cut(job.window.row, job.window.col)
    origin = (job.window.row, job.window.col)
    surface = measure_surface(place.crs, place.transform, job.window.shape, origin)
    return BlockRenderer(_kinds(job), job.model.classes, job.window, surface)


class Assembly:
    """Writes the maps of a run.

    Args:
        job: The run.
        renderer: What rendered its blocks.
        scratch: Where the writers may keep what is unfinished.
        answer: The hash of what the maps depend on, for their tags.

    Attributes:
        statistics: Of the blocks that were added.
        traced: Their polygons, where these are wanted and nothing will be refined; else None.
    """

    def __init__(self, job: Job, renderer: BlockRenderer, scratch: Path, answer: str) -> None:
        self.statistics = ClassStatistics(job.model.classes, job.window, renderer.surface)
        self._wanted: Sequence[str] = tuple(job.outputs.rasters)
        tags = provenance(job, answer)
        not_refined = {key: value for key, value in tags.items() if key != REFINE_TAG}
        self._writers = {
            kind.name: MapWriter(
                kind,
                job.outputs.rasters.get(kind.name, scratch / "unused.tif"),
                scratch,
                job.window,
                job.scene.georeference,
                not_refined if kind.name == "probabilities" else tags,
                read_again=job.settings.refine is not None,
            )
            for kind in renderer.kinds
            if kind.name in self._wanted or job.settings.refine is not None
        }
        self.traced: TracedRun | None = None
        if job.outputs.polygons is not None and job.settings.refine is None:
            self.traced = TracedRun(job, tags)

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
        """End writing; kind of map -> raster that can be read, and refined, until ``finish``.

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
        """Complete files under temporary names, as they are made; the class map is the last of all."""
        for name, writer in reversed(self._writers.items()):
            if name in self._wanted:
                progress.say(f"finishing {writer.final}")
                yield from writer.finish()


def _kinds(job: Job) -> tuple[MapKind, ...]:
    """The maps to render: those that were asked for, and all where later steps read them."""
    classes = job.model.classes
    kinds: tuple[MapKind, ...] = (ClassMap(classes), ConfidenceMap(), ProbabilityMap(classes))
    all_are_read = job.outputs.polygons is not None or job.settings.refine is not None
    return tuple(kind for kind in kinds if kind.name in job.outputs.rasters or all_are_read)
