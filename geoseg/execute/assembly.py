"""The rasters of a run: finished blocks go in by rows, are refined if asked, and complete files come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import RunError
from geoseg.execute.blocks import BlockRenderer, FinishedBlock
from geoseg.execute.polygons import TracedRun
from geoseg.execute.report import provenance
from geoseg.files import StagedFile
from geoseg.grid import Window
from geoseg.maps.statistics import ClassStatistics
from geoseg.maps.writer import MapWriter
from geoseg.plan.plan import Plan
from geoseg.progress import Progress
from geoseg.refine.rasters import MapToRefine, RefinedRows, open_quietly, read_rows
from geoseg.refine.request import REFINE_TAG
from geoseg.refine.step import Step


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


def refine_run(
    plan: Plan, rasters: Mapping[str, Path], statistics: ClassStatistics, progress: Progress
) -> ClassStatistics:
    """Refine the class map and the confidence of a run in place.

    Args:
        plan: The run; its settings say which steps.
        rasters: Kind of map -> complete raster: ``classes``, ``confidence`` and ``probabilities``.
        statistics: What the map holds now.
        progress: Shows how far it is.

    Returns:
        What the refined map holds.
    """
    run = plan.prepared
    refined = ClassStatistics(run.model.card.classes, run.window, statistics.pixel_sizes)
    if plan.settings.refine is None:
        return statistics
    bands = [item.id for item in run.model.card.classes]
    width, folder = run.window.width, rasters["classes"].parent
    steps = plan.settings.refine.steps(statistics.pixel_sizes, width, bands=bands, folder=folder)
    changed = 0
    for part in _rewrite(steps, rasters, bands, progress):
        window = Window(run.window.row + part.row, run.window.col, len(part.classes), width)
        assert part.confidence is not None  # a run that is refined always has it
        refined.add(window, part.classes, part.confidence)
        changed += part.changed
    progress.say(f"refining changed {changed:,} pixels")
    return refined


def _rewrite(
    steps: Sequence[Step],
    rasters: Mapping[str, Path],
    bands: Sequence[int],
    progress: Progress,
) -> Iterator[RefinedRows]:
    """Yield all rows of the refined map, written where they changed."""
    with ExitStack() as opened:
        classes, confidence, probabilities = (
            opened.enter_context(open_quietly(rasters[name], mode))
            for name, mode in (("classes", "r+"), ("confidence", "r+"), ("probabilities", "r"))
        )
        given = MapToRefine(
            classes.shape,
            lambda row, rows: (read_rows(classes, row, rows)[0], read_rows(confidence, row, rows)[0]),
            lambda row, rows: read_rows(probabilities, row, rows),
            bands,
            rasters["classes"].parent,
        )
        for part in given.rows(steps, progress):
            if part.changed:
                place = RasterioWindow(0, part.row, classes.width, len(part.classes))
                try:
                    classes.write(part.classes, 1, window=place)
                    confidence.write(part.confidence, 1, window=place)
                except RasterioError as error:
                    raise RunError(
                        f"{classes.name} cannot be written ({error}); is the disk full?"
                    ) from error
            yield part
