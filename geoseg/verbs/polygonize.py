"""``geoseg polygonize``: a class raster, ours or anyone's, to polygons."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from geoseg.classes import NODATA, class_ids, split_names
from geoseg.errors import SettingsError
from geoseg.execute.report import REPORT_VERSION, versions
from geoseg.files import discard, publish, stage_json
from geoseg.grid import tiles
from geoseg.maps.class_map_file import ClassMapFile, open_class_map
from geoseg.omissions import Omission, settle
from geoseg.plan.memory import plan_tracing
from geoseg.plan.outputs import RASTERS, check_outputs
from geoseg.polygons.borders.change import change_table
from geoseg.polygons.borders.options import BorderOptions
from geoseg.polygons.provenance import choice_tags
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.vectorise import (
    BLOCK_SIZE,
    lost_dates,
    parse_date,
    require_coordinates,
    trace_class_map,
)
from geoseg.polygons.writers import WRITERS
from geoseg.polygons.writers.writing import check_target, stage_polygons
from geoseg.polygons.zonal.request import paths_of, zonal_of_map, zonal_to_json
from geoseg.polygons.zonal.statistics import Zonal
from geoseg.progress import Progress, Silent
from geoseg.refine.class_map import check_refined, refined_class_map, refinement_of
from geoseg.refine.request import RefineOptions
from geoseg.system.memory import peak_memory
from geoseg.units import Area, parse_area

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class PolygonizeResult:
    """What a run made.

    Attributes:
        output: The polygons.
        polygons: Rows in it.
        left_out: Polygons that the filters left out.
        report: The content of the run report.
    """

    output: Path
    polygons: int
    left_out: int
    report: Mapping[str, Any] = field(repr=False)


def polygonize(
    class_map: PathLike,
    output: PathLike,
    *,
    confidence: PathLike | None = None,
    probabilities: PathLike | None = None,
    min_area: str | None = None,
    classes: Sequence[str | int] | None = None,
    sieve: str | None = None,
    simplify: str | None = None,
    stats: Sequence[str] | None = None,
    stats_from: PathLike | Sequence[PathLike] | None = None,
    overwrite: bool = False,
    date: str | None = None,
    force: bool = False,
    refined: PathLike | None = None,
    fiboa: bool = False,
    report: PathLike | None = None,
    smooth: int | None = None,
    opening: str | None = None,
    closing: str | None = None,
    fill_holes: str | None = None,
    smooth_borders: int | None = None,
    max_memory: str | int | None = None,
    workers: int | None = None,
    block_size: int | None = None,
    progress: Progress | None = None,
) -> PolygonizeResult:
    """Turn a class raster into polygons: one row for every 4-connected patch of a class.

    Args:
        class_map: Class raster: one band of whole numbers of any type, ids 0-254, with or without nodata.

        **Most used**
        output: The file of polygons; its ending, such as ``.gpkg``, chooses the format (docs/polygons.md).
        confidence: Confidence raster of the same map: uint8, 0-100, 255 unknown.
        probabilities: Probability raster of the same map: uint8, one band a class, 0-250, 255 unknown.
        min_area: Leave out smaller polygons: ``"0.5ha"``, ``"450m2"`` or ``"20px"``.
        classes: Keep only polygons of these classes, by name or id; several may stand in one text, between
            commas.
        sieve: Merge smaller patches into their best neighbour: a size as ``min_area``.
        simplify: Move borders by at most this to simplify them: ``"10m"`` or ``"2px"``.
        stats: Add columns with statistics of bands or indices over the pixels of every polygon: ``"ndvi"``,
            ``"B8:std"``, ``"3:max"`` (mean, std, min, max or count).
        stats_from: The scene that holds these bands, one file or several, on the grid of the map.
        overwrite: Replace existing files.

        **Input**
        date: Acquisition date, ``YYYY-MM-DD``; default the class map's tag ``ACQUISITION_DATE``.
        force: Go on although much of the map has no confidence.

        **Outputs**
        refined: Write the class map as clean-up left it here.
        fiboa: Add fiboa's columns of crop fields; ``.parquet`` only.
        report: Write the run report here, JSON.

        **Clean-up**
        smooth: Give every pixel the most frequent class of this many pixels a side around it (odd).
        opening: Remove what is narrower than N pixels from classes, given as ``"corn,water:3"``.
        closing: Fill what is narrower than N pixels between parts of classes, given as ``opening``.
        fill_holes: Fill smaller holes of a class: a size as ``min_area``.
        smooth_borders: Cut the corners of borders this often, 1 to 4 times, after ``simplify``.

        **Speed and memory**
        max_memory: Memory that the process may take: ``"4GB"`` (10^9), ``"2GiB"`` (2^30) or bytes; default
            half of what is free. Blocks and workers are chosen to fit.
        workers: Blocks that are read and traced at once, each in a thread; default one a core, fewer where
            memory is short. Never changes the answer.
        block_size: Side of a block in pixels. Never changes the answer, only memory.

        **Run**
        progress: Shows how far the run is.

    Returns:
        Where the polygons are, and how many.

    Raises:
        InputError: If a setting or an input is wrong; nothing was written.
        RunError: If writing failed; no output appears under its final name.
    """
    since = perf_counter()
    output = Path(output)
    options = {"-o": output, "--refined": refined, "--report": report}
    written = {option: Path(path) for option, path in options.items() if path is not None}
    inputs = [os.fspath(path) for path in (class_map, confidence, probabilities) if path is not None]
    inputs += paths_of(stats_from)
    endings: dict[str, Sequence[str]] = {"-o": tuple(WRITERS), "--refined": RASTERS, "--report": (".json",)}
    check_outputs(written, inputs, endings=endings, overwrite=overwrite)
    progress = progress or Silent()
    borders = BorderOptions.read(simplify, smooth_borders)
    limit = None if min_area is None else parse_area(min_area, "--min-area")
    day = parse_date(date)
    steps = RefineOptions(smooth=smooth, opening=opening, closing=closing, fill_holes=fill_holes, sieve=sieve)

    with ExitStack() as cleanup:
        given = cleanup.enter_context(open_class_map(class_map, confidence, probabilities))
        require_coordinates(given)
        dates = lost_dates(given) if day is None else []
        left_out = settle((*given.omissions, *dates), progress, force=force)
        refinement = refinement_of(steps, given)
        check_refined(refined, refinement)
        check_target(output, given.georeference.map_crs, fiboa=fiboa)
        chosen = _class_ids(classes, given)
        _check_sizes(given, limit, borders)
        zonal = zonal_of_map(stats, stats_from, given)
        plan = plan_tracing(
            max_memory, block_size, workers, width=given.shape[1], bands=_bands_beside(given, zonal)
        )

        traced = cleanup.enter_context(
            refined_class_map(
                given,
                refinement,
                output=output,
                refined=written.get("--refined"),
                overwrite=overwrite,
                progress=progress,
            )
        )
        table = trace_class_map(
            traced.file,
            legend=traced.legend,
            date=day,
            block_size=plan.block_size,
            workers=plan.workers,
            check=plan.check_largest,
            folder=output.parent,
            junctions=bool(borders),
            zonal=zonal,
            progress=progress,
        )
        # Without probabilities, pixels that a step changed have no confidence: that is what was asked for.
        is_lost = refinement is not None and given.probabilities is None
        sure = None if given.confidence is None or is_lost else given.confidence.path
        gaps = _gaps_in_confidence(given) if given.confidence is not None and is_lost else []
        left_out += settle((*table.omissions(sure), *gaps), progress, force=force)
        keep = table.matching(min_area=limit, classes=chosen)
        plan.check_borders(table.polygons, borders)
        new, changed = change_table(table, borders, output.parent, progress)
        made_by = dict(new.provenance) | choice_tags(limit, chosen, fiboa=fiboa)
        kept = replace(new.take(keep), provenance=made_by)

        staged = traced.finish()
        cleanup.callback(discard, staged)
        progress.say(_what_is_written(kept, table, output))
        staged.append(stage_polygons(kept, output, fiboa=fiboa))
        content = _report(table, kept, written, inputs, since)
        content["left_out"] = left_out
        content["settings"] = {
            "min_area": min_area,
            "classes": None if chosen is None else sorted(chosen),
            "fiboa": fiboa,
            "date": None if table.date is None else table.date.isoformat(),
            "refine": None if refinement is None else refinement.to_json(),
            "block_size": plan.block_size,
            "workers": plan.workers,
            "max_memory": plan.limit,
        } | (borders.to_json() | zonal_to_json(zonal))
        if changed is not None:
            content["borders"] = changed
        if report is not None:
            staged.insert(0, stage_json(Path(report), content))
        publish(staged)
    return PolygonizeResult(output, len(kept), len(table) - len(kept), content)


def _class_ids(classes: Sequence[str | int] | None, class_map: ClassMapFile) -> set[int] | None:
    """Ids of classes given by name or id; None for all.

    Raises:
        SettingsError: Naming the classes that there are.
    """
    if classes is None:
        return None
    if not isinstance(classes, str):
        classes = split_names(",".join(map(str, classes)), class_map.legend)
    return set(class_ids(classes, class_map.legend, class_map.path))


def _check_sizes(class_map: ClassMapFile, min_area: Area | None, borders: BorderOptions) -> None:
    """Refuse hectares and metres, before any work, for a map that has neither.

    Raises:
        SettingsError: Saying that pixels can be counted.
    """
    if min_area is not None and not min_area.in_pixels:
        option, fix = "--min-area", "20px"
    elif borders.in_metres:
        option, fix = "--simplify", "2px"
    else:
        return
    if class_map.pixel_sizes() is None:
        raise SettingsError(
            f"{class_map.path} has no CRS that ties it to the Earth, so {option} cannot count hectares or "
            f"metres; give pixels, as in {fix}"
        )


def _bands_beside(class_map: ClassMapFile, zonal: Zonal | None) -> int:
    """Rasters that are read with the class map, as memory counts them; a statistic takes as much as three."""
    return 1 + len(class_map.probability_names) + (0 if zonal is None else 3 * len(zonal.measures))


def _gaps_in_confidence(class_map: ClassMapFile) -> list[Omission]:
    """Count the pixels with a class and no confidence before clean-up, which makes more of them."""
    assert class_map.confidence is not None  # the caller asks only where there is one
    pixels = unknown = 0
    for window in tiles(class_map.shape, BLOCK_SIZE):
        has_class = class_map.read(window) != NODATA
        pixels += int(np.count_nonzero(has_class))
        unknown += int(np.count_nonzero(has_class & (class_map.read_confidence(window) == NODATA)))
    reason = "they have a class and no confidence, which is that of a polygon's other pixels"
    return [Omission("pixels", class_map.confidence.path, unknown, pixels, "pixels", reason)]


def _what_is_written(kept: PolygonTable, table: PolygonTable, output: Path) -> str:
    left_out = len(table) - len(kept)
    return f"writing {len(kept):,} polygons to {output}" + (f", leaving out {left_out:,}" if left_out else "")


def _report(
    table: PolygonTable, kept: PolygonTable, written: Mapping[str, Path], inputs: Sequence[str], since: float
) -> dict[str, Any]:
    names = {"-o": "polygons", "--refined": "refined", "--report": "report"}
    return {
        "report_version": REPORT_VERSION,
        "inputs": list(inputs),
        "outputs": {names[option]: os.fspath(path) for option, path in written.items()},
        "settings": {},
        "polygons": len(kept),
        "polygons_left_out": len(table) - len(kept),
        "seconds": {"total": perf_counter() - since},
        "peak_memory_bytes": peak_memory(),
        "classes": _class_rows(table, kept),
        "warnings": [],
        "versions": versions(),
    }


def _class_rows(table: PolygonTable, kept: PolygonTable) -> list[dict[str, Any]]:
    """Sums over all polygons of each class, also those left out."""
    left = kept.class_sums()
    rows: list[dict[str, Any]] = []
    for item, sums in zip(table.legend, table.class_sums(), strict=True):
        rows.append(
            {
                "id": item.id,
                "name": item.name,
                "pixels": sums.pixels,
                "area_ha": sums.area_ha,
                "mean_confidence": sums.mean_confidence,
                "polygons": next(other.polygons for other in left if other.id == item.id),
            }
        )
    return rows
