"""``geoseg polygonize``: a class raster, ours or anyone's, to polygons."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from geoseg.execute.report import REPORT_VERSION, versions
from geoseg.files import discard, publish, stage_json
from geoseg.plan.memory import TracingPlan, plan_tracing
from geoseg.plan.outputs import RASTERS, check_outputs
from geoseg.polygons.borders.request import borders_of, borders_to_json, with_borders
from geoseg.polygons.provenance import choice_tags
from geoseg.polygons.rasters import MapRasters, resolve_block_size
from geoseg.polygons.refined import check_refined, refinement_of, sources_of
from geoseg.polygons.table.table import PolygonTable
from geoseg.polygons.vectorise import parse_date, polygons_from_maps
from geoseg.polygons.writers import SUFFIXES, stage_polygons
from geoseg.polygons.zonal.request import paths_of, zonal_of_map, zonal_to_json
from geoseg.polygons.zonal.zonal import Zonal
from geoseg.progress import Progress, Silent
from geoseg.refine.request import RefineOptions
from geoseg.system.memory import peak_memory
from geoseg.units import parse_area
from geoseg.verbs.check_map import check_metres, classes_of

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
        output: ``.gpkg``, ``.fgb``, ``.parquet``, ``.geojsonl``, ``.geojsons`` or ``.pmtiles``.
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
    endings: dict[str, Sequence[str]] = {"-o": SUFFIXES, "--refined": RASTERS, "--report": (".json",)}
    check_outputs(written, inputs, endings=endings, overwrite=overwrite)
    refinement = refinement_of(
        RefineOptions(smooth=smooth, opening=opening, closing=closing, fill_holes=fill_holes, sieve=sieve),
        class_map,
    )
    check_refined(refined, refinement)
    progress = progress or Silent()
    borders = borders_of(simplify, smooth_borders)
    limit = None if min_area is None else parse_area(min_area, "--min-area")
    day = parse_date(date)
    chosen = classes_of(class_map, classes, output, fiboa=fiboa)
    check_metres(class_map, limit, borders)
    zonal = zonal_of_map(stats, stats_from, class_map)
    plan = _plan(class_map, probabilities, max_memory, block_size, workers, zonal)

    with ExitStack() as cleanup:
        sources = cleanup.enter_context(
            sources_of(
                refinement,
                class_map,
                confidence,
                probabilities,
                output=output,
                refined=written.get("--refined"),
                overwrite=overwrite,
                progress=progress,
            )
        )
        with _Blocks(class_map, plan.block_size, progress) as advance:
            table = polygons_from_maps(
                sources.classes,
                confidence=sources.confidence,
                probabilities=probabilities,
                legend=sources.legend,
                date=day,
                block_size=plan.block_size,
                workers=plan.workers,
                check=plan.check_largest,
                folder=output.parent,
                junctions=borders is not None,
                zonal=zonal,
                progress=advance,
            )
        keep = table.matching(min_area=limit, classes=chosen)
        plan.check_borders(table.polygons, borders)
        new, changed = with_borders(table, borders, output.parent, progress)
        made_by = dict(new.provenance) | choice_tags(limit, chosen, fiboa=fiboa)
        kept = replace(new.take(keep), provenance=made_by)
        staged = sources.finish()
        cleanup.callback(discard, staged)
        progress.say(_what_is_written(kept, table, output))
        staged.append(stage_polygons(kept, output, fiboa=fiboa))
        content = _report(table, kept, written, inputs, since)
        content["settings"] = {
            "min_area": min_area,
            "classes": None if chosen is None else sorted(chosen),
            "fiboa": fiboa,
            "date": None if table.date is None else table.date.isoformat(),
            "refine": None if refinement is None else refinement.to_json(),
            "block_size": plan.block_size,
            "workers": plan.workers,
            "max_memory": plan.limit,
        } | (borders_to_json(borders) | zonal_to_json(zonal))
        if changed is not None:
            content["borders"] = changed
        if report is not None:
            staged.insert(0, stage_json(Path(report), content))
        publish(staged)
    return PolygonizeResult(output, len(kept), len(table) - len(kept), content)


def _what_is_written(kept: PolygonTable, table: PolygonTable, output: Path) -> str:
    left_out = len(table) - len(kept)
    return f"writing {len(kept):,} polygons to {output}" + (f", leaving out {left_out:,}" if left_out else "")


def _plan(
    class_map: PathLike,
    probabilities: PathLike | None,
    max_memory: str | int | None,
    block_size: int | None,
    workers: int | None,
    zonal: Zonal | None,
) -> TracingPlan:
    """Blocks and workers that fit into memory."""
    with MapRasters(class_map, None, probabilities) as rasters:
        bands = 1 + rasters.n_probabilities + (0 if zonal is None else 3 * len(zonal.measures))
        return plan_tracing(max_memory, block_size, workers, width=rasters.info.shape[1], bands=bands)


class _Blocks:
    """A stage of progress that is told about blocks as they are done."""

    def __init__(self, class_map: PathLike, block_size: int | None, progress: Progress) -> None:
        with MapRasters(class_map) as rasters:
            total = rasters.n_blocks(resolve_block_size(block_size))
        self._stage = progress.stage("tracing polygons", total, "blocks")

    def __enter__(self) -> Any:
        bar = self._stage.__enter__()
        return lambda _done, _total: bar.advance(1)

    def __exit__(self, *error: Any) -> None:
        self._stage.__exit__(*error)


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
