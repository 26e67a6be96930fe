"""Everything that can be checked and decided before a pixel is predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date as calendar_date
from pathlib import Path
from typing import Any

from geoseg.doctor.choose_model import choose_model
from geoseg.doctor.examine import Diagnosis
from geoseg.errors import MismatchError, SettingsError
from geoseg.grid import Grid, Window
from geoseg.inference.backends.convert import Say
from geoseg.models import Model, open_model
from geoseg.plan.outputs import RASTERS, Outputs, check_outputs
from geoseg.plan.polygons_memory import TracePlan
from geoseg.plan.request import PathLike, PredictRequest
from geoseg.plan.settings import Settings, resolve_settings
from geoseg.plan.workers import Workers, check_workers, choose_workers
from geoseg.polygons.borders.request import borders_of, check_borders
from geoseg.polygons.borders.simplify import Borders
from geoseg.polygons.writers import SUFFIXES, check_target
from geoseg.polygons.zonal.request import zonal_of_run
from geoseg.polygons.zonal.zonal import Zonal
from geoseg.refine.request import resolve_refinement
from geoseg.scene import Scene, open_scene
from geoseg.scene.area import Area, read_area


@dataclass(frozen=True)
class Job:
    """A run that is ready to start.

    Attributes:
        scene: The scene, its bands in the model's order.
        model: The model.
        chosen: Why this bundled model was chosen; None where the user named the model.
        settings: The resolved settings.
        grid: The global chip grid.
        window: The part of the scene to map.
        area: The area of interest, or None.
        outputs: Where to write.
        borders: What becomes of the borders of polygons, or None.
        zonal: Statistics of the scene that polygons get, or None.
        date: Acquisition date, ISO 8601, or None.
        warnings: What the user should know.
        overwrite: Whether finished files and unfinished work may be replaced.
        resume: Whether to go on with unfinished work.
        workers: Which processes compute.
        begun: Whether its blocks are those of unfinished work.
        margins_on_disk: Whether margins to the next row of blocks wait on disk alone, not in memory.
        tracing: How polygons are traced, and what they may take; None if there are none.
        planned: What it is expected to take, as JSON values.
    """

    scene: Scene
    model: Model
    chosen: str | None
    settings: Settings
    grid: Grid
    window: Window
    area: Area | None
    outputs: Outputs
    borders: Borders | None
    zonal: Zonal | None
    date: str | None
    warnings: tuple[str, ...]
    overwrite: bool
    resume: bool
    workers: Workers
    begun: bool = False
    margins_on_disk: bool = False
    tracing: TracePlan | None = None
    planned: Mapping[str, Any] = field(default_factory=dict, repr=False)


def prepare(request: PredictRequest, say: Say) -> Job:
    """Open, examine and resolve.

    Args:
        request: What was asked for.
        say: Told what was chosen, and what takes a while.

    Raises:
        InputError: Naming what is wrong and what mends it; nothing was written.
    """
    check_workers(request)
    borders = borders_of(request.simplify, request.smooth_borders)
    opened = open_scene(
        request.scene, nodata=request.nodata, scale=request.scale, offset=request.offset, warp=request.warp
    )
    outputs = name_outputs(opened, request)
    _check_outputs(outputs, opened, overwrite=request.overwrite or request.resume)
    check_borders(borders, outputs.polygons, opened)
    choice = choose_model(opened, request.model, bands=request.bands, force=request.force)
    if choice.reason is not None:
        say(f"model {choice.reason}")
    warnings = judge(choice.diagnosis, opened, force=request.force)
    assert choice.diagnosis.match is not None  # judge() has refused scenes without the bands
    numbers = choice.diagnosis.match.numbers
    loaded = open_model(choice.model)
    refine = resolve_refinement(request.refine, loaded.classes, loaded.card.name, opened)
    settings = resolve_settings(loaded, numbers, request, shape=opened.shape, refine=refine, say=say)
    area = None if request.aoi is None else read_area(request.aoi, opened)
    if area is not None and area.assumed_crs:
        warnings += (f"{request.aoi} has no CRS; its coordinates are taken to be in the scene's",)
    grid = Grid(opened.shape, settings.chip_size, settings.overlap)
    window = Window.from_shape(opened.shape) if area is None else area.window
    selected = opened.select(numbers, invalid_where=loaded.card.invalid_where)
    return Job(
        scene=selected,
        model=loaded,
        chosen=choice.reason,
        settings=settings,
        grid=grid,
        window=window,
        area=area,
        outputs=outputs,
        borders=borders,
        zonal=zonal_of_run(request.stats, outputs.polygons, selected, loaded.card.band_names, window),
        date=check_date(request.date) or opened.date,
        warnings=warnings,
        overwrite=request.overwrite,
        resume=request.resume,
        workers=choose_workers(request, settings.device, len(grid.blocks(settings.block_size, window))),
    )


def judge(diagnosis: Diagnosis, scene: Scene, *, force: bool) -> tuple[str, ...]:
    """Refuse a scene that does not fit, or turn the findings into warnings.

    Raises:
        MismatchError: If a finding stops the run and ``force`` is not given, or the bands are not there.
    """
    stops = [finding for finding in diagnosis.findings if finding.severity == "stop"]
    if stops and (diagnosis.match is None or not force):
        reasons = "; ".join(f"{finding.message} ({finding.mend})" for finding in stops)
        hint = "" if diagnosis.match is None else "; --force runs it all the same"
        raise MismatchError(f"{scene.name} does not fit the model: {reasons}{hint}")
    return tuple(
        f"{finding.message} ({finding.mend})" if finding.mend else finding.message
        for finding in diagnosis.findings
        if finding.severity != "note"
    )


def name_outputs(scene: Scene, request: PredictRequest) -> Outputs:
    """Where a run writes; the class map is named after the scene, in the current folder, by default."""

    def path(given: PathLike | None) -> Path | None:
        return None if given is None else Path(given)

    return Outputs(
        classes=path(request.output) or Path(f"{scene.name}_classes.tif"),
        confidence=path(request.confidence),
        probabilities=path(request.probabilities),
        polygons=path(request.polygons),
        report=path(request.report),
    )


def _check_outputs(outputs: Outputs, scene: Scene, *, overwrite: bool) -> None:
    options = {"classes": "-o"}
    check_outputs(
        {options.get(name, f"--{name}"): path for name, path in outputs.named().items()},
        scene.paths,
        endings=dict.fromkeys(("-o", "--confidence", "--probabilities"), RASTERS)
        | {"--polygons": SUFFIXES, "--report": (".json",)},
        overwrite=overwrite,
    )
    if outputs.polygons is None:
        return
    if scene.georeference.needs_warp:
        raise MismatchError(
            f"{scene.name}: only GCPs or RPCs say where its pixels lie, so polygons would have no "
            "coordinates; --warp makes a regular grid of them"
        )
    check_target(outputs.polygons, scene.georeference.crs)


def check_date(date: str | None) -> str | None:
    """A date as ISO 8601.

    Raises:
        SettingsError: If it is not one.
    """
    if date is None:
        return None
    try:
        return calendar_date.fromisoformat(date).isoformat()
    except ValueError as error:
        raise SettingsError(f"--date {date} is not a date; write it as YYYY-MM-DD") from error
