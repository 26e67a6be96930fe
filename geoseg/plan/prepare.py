"""Everything that can be checked and decided before a pixel is predicted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date as calendar_date
from pathlib import Path
from typing import Any

from geoseg.doctor.choose_model import choose_model
from geoseg.doctor.findings import Diagnosis
from geoseg.doctor.stored_values import StoredValues
from geoseg.errors import MismatchError, SettingsError
from geoseg.grid import Grid, Window
from geoseg.models.model import Model
from geoseg.models.package import open_model
from geoseg.omissions import Omission, settle
from geoseg.plan.outputs import RASTERS, Outputs, check_outputs
from geoseg.plan.settings import ComputeOptions, Settings, fit_batch_to_device, resolve_settings
from geoseg.plan.workers import Workers, check_workers, choose_workers
from geoseg.polygons.borders.options import BorderOptions
from geoseg.polygons.writers import WRITERS
from geoseg.polygons.writers.writing import check_target
from geoseg.polygons.zonal.request import zonal_of_run
from geoseg.polygons.zonal.statistics import Zonal
from geoseg.progress import Progress
from geoseg.refine.request import RefineOptions
from geoseg.scene.area import AreaOfInterest, read_area
from geoseg.scene.opening import SceneOptions
from geoseg.scene.scene import Scene

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """The arguments of ``geoseg.predict``, which documents them, all but ``progress``.

    Attributes:
        reading: How the scene is read.
        compute: How the network is run.
        refine: How the class map is cleaned up.
        borders: How the borders of polygons are changed.
    """

    scene: PathLike | Sequence[PathLike]
    output: PathLike | None = None
    model: PathLike | None = None
    polygons: PathLike | None = None
    confidence: PathLike | None = None
    probabilities: PathLike | None = None
    report: PathLike | None = None
    stats: Sequence[str] | None = None
    aoi: PathLike | None = None
    date: str | None = None
    force: bool = False
    reading: SceneOptions = field(default_factory=SceneOptions)
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    refine: RefineOptions = field(default_factory=RefineOptions)
    borders: BorderOptions = field(default_factory=BorderOptions)
    max_memory: str | int | None = None
    overwrite: bool = False
    resume: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Prepared:
    """A run whose inputs were opened, examined and resolved; never changed afterwards.

    Attributes:
        request: What was asked for.
        scene: The scene, its bands in the model's order.
        model: The model.
        chosen: Why this bundled model was chosen; None where the user named the model.
        settings: The resolved settings, before blocks are chosen to fit into memory.
        grid: The global chip grid.
        window: The part of the scene to map.
        area: The area of interest, or None.
        outputs: Where to write.
        zonal: Statistics of the scene that polygons get, or None.
        date: Acquisition date, ISO 8601, or None.
        workers: Which processes compute.
        values: How the stored values are read.
        warnings: What the user should know.
        left_out: What of the inputs is left out, as the report says it.
    """

    request: PredictRequest
    scene: Scene
    model: Model
    chosen: str | None
    settings: Settings
    grid: Grid
    window: Window
    area: AreaOfInterest | None
    outputs: Outputs
    zonal: Zonal | None
    date: str | None
    workers: Workers
    values: StoredValues
    warnings: tuple[str, ...]
    left_out: tuple[dict[str, Any], ...]


def prepare(request: PredictRequest, progress: Progress) -> Prepared:
    """Open, examine and resolve.

    Args:
        request: What was asked for.
        progress: Told what was chosen, and what takes a while.

    Raises:
        InputError: Naming what is wrong and what fixes it; nothing was written.
    """
    if request.resume and request.overwrite:
        raise SettingsError("--resume goes on with unfinished work, --overwrite removes it; give one of them")
    check_workers(request.compute)
    opened = of_date(request.reading.open_all_bands(request.scene), request.date)
    outputs = name_outputs(opened, request)
    _check_outputs(outputs, opened, request)
    if request.borders:
        request.borders.check(outputs.polygons, opened)
    choice = choose_model(opened, request.model, bands=request.reading.bands, force=request.force)
    if choice.reason is not None:
        progress.say(f"model {choice.reason}")
    warnings = raise_if_unfit(choice.diagnosis, opened, force=request.force)
    values = choice.diagnosis.values
    assert values is not None  # scenes without the bands were refused
    if (said := values.said()) is not None:
        progress.say(f"{said} (--scale and --offset set another one)")
    opened = choice.diagnosis.scene
    assert choice.diagnosis.match is not None  # scenes without the bands were refused
    numbers = choice.diagnosis.match.numbers
    model = open_model(choice.model)
    refine = None
    if request.refine != RefineOptions():
        refine = request.refine.read_for_scene(model.card.classes, model.card.name, opened)
    asked = resolve_settings(
        model, numbers, request.compute, shape=opened.shape, refine=refine, progress=progress
    )
    area = None if request.aoi is None else read_area(request.aoi, opened)
    if area is not None and area.assumed_crs:
        warnings += (f"{request.aoi} has no CRS; its coordinates are taken to be in the scene's",)
    left_out = settle(_omissions(opened, area, request), progress, force=request.force)
    grid = Grid(opened.shape, asked.chip_size, asked.overlap)
    window = Window.from_shape(opened.shape) if area is None else area.window
    workers = choose_workers(request.compute, asked.device, len(grid.blocks(asked.block_size, window)))
    settings = asked
    if workers.on_gpu and not workers.are_elsewhere:
        settings = fit_batch_to_device(model, asked)
    if settings.batch_size != asked.batch_size:
        warnings += (
            f"{settings.device} has too little memory for batches of {asked.batch_size} chips: --batch-size "
            f"{settings.batch_size} instead, which may change single pixels",
        )
    scene = opened.select(numbers, invalid_where=model.card.invalid_where)
    zonal = None
    if request.stats is not None:
        zonal = zonal_of_run(request.stats, outputs.polygons, scene, model.card.band_names, window)
    return Prepared(
        request=request,
        scene=scene,
        model=model,
        chosen=choice.reason,
        settings=settings,
        grid=grid,
        window=window,
        area=area,
        outputs=outputs,
        zonal=zonal,
        date=opened.date,
        workers=workers,
        values=values,
        warnings=warnings,
        left_out=tuple(left_out),
    )


def _omissions(scene: Scene, area: AreaOfInterest | None, request: PredictRequest) -> list[Omission]:
    """List what the inputs leave out; dates do not matter to a run that was given one."""
    found = [*scene.omissions, *(() if area is None else area.omissions)]
    return [each for each in found if each.kind != "dates" or request.date is None]


def raise_if_unfit(diagnosis: Diagnosis, scene: Scene, *, force: bool) -> tuple[str, ...]:
    """Refuse a scene that does not fit, or turn the findings into warnings.

    Raises:
        MismatchError: If a finding stops the run and ``force`` is not given, or the bands are not there.
    """
    stops = [finding for finding in diagnosis.findings if finding.severity == "stop"]
    if stops and (diagnosis.match is None or not force):
        reasons = "; ".join(f"{finding.message} ({finding.fix})" for finding in stops)
        hint = "" if diagnosis.match is None else "; --force runs it all the same"
        raise MismatchError(f"{scene.name} does not fit the model: {reasons}{hint}")
    return tuple(
        f"{finding.message} ({finding.fix})" if finding.fix else finding.message
        for finding in diagnosis.findings
        if finding.severity != "note"
    )


def name_outputs(scene: Scene, request: PredictRequest) -> Outputs:
    """Name where a run writes; by default a class map named after the scene, in the current folder."""
    given = {
        "confidence": request.confidence,
        "probabilities": request.probabilities,
        "polygons": request.polygons,
        "report": request.report,
    }
    return Outputs(
        Path(f"{scene.name}_classes.tif" if request.output is None else request.output),
        **{name: Path(path) for name, path in given.items() if path is not None},
    )


def _check_outputs(outputs: Outputs, scene: Scene, request: PredictRequest) -> None:
    others = [os.fspath(path) for path in (request.model, request.aoi) if path is not None]
    options = {"classes": "-o"}
    check_outputs(
        {options.get(name, f"--{name}"): path for name, path in outputs.named().items()},
        [*scene.paths, *others],
        endings=dict.fromkeys(("-o", "--confidence", "--probabilities"), RASTERS)
        | {"--polygons": tuple(WRITERS), "--report": (".json",)},
        overwrite=request.overwrite or request.resume,
    )
    if outputs.polygons is None:
        return
    if scene.georeference.needs_warp:
        raise MismatchError(
            f"{scene.name}: only GCPs or RPCs say where its pixels lie, so polygons would have no "
            "coordinates; --warp makes a regular grid of them"
        )
    check_target(outputs.polygons, scene.georeference.map_crs)


def of_date(scene: Scene, date: str | None) -> Scene:
    """Give a scene the date that the user named, if any.

    Raises:
        SettingsError: If it is no date.
    """
    if date is None:
        return scene
    try:
        return replace(scene, date=calendar_date.fromisoformat(date).isoformat())
    except ValueError as error:
        raise SettingsError(f"--date {date} is not a date; write it as YYYY-MM-DD") from error
