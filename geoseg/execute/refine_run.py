"""Refine the scratch rasters of a prediction, before polygons are traced and files are finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import RunError
from geoseg.grid import Window
from geoseg.maps.statistics import ClassStatistics
from geoseg.plan.plan import Plan
from geoseg.progress import Progress
from geoseg.refine.rasters import MapToRefine, RefinedRows, open_quietly, read_rows
from geoseg.refine.step import Step


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
