"""Everything that can be checked and decided before a pixel is predicted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date as calendar_date
from pathlib import Path

from geoseg.errors import MismatchError, SettingsError
from geoseg.grid import Grid, Window
from geoseg.inference.conversion import Say
from geoseg.models import Model, open_model
from geoseg.polygons.simplify import Borders
from geoseg.polygons.writers import SUFFIXES, check_target
from geoseg.run.borders import check_borders
from geoseg.run.choose import choose_model
from geoseg.run.doctor import Diagnosis
from geoseg.run.outputs import RASTERS, Outputs, check_outputs
from geoseg.run.refinement import Asked, resolve_refinement
from geoseg.run.settings import Settings, resolve_settings
from geoseg.scene import Scene, open_scene
from geoseg.scene.area import Area, read_area

PathLike = str | os.PathLike[str]


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
        date: Acquisition date, ISO 8601, or None.
        warnings: What the user should know.
        overwrite: Whether finished files and unfinished work may be replaced.
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
    date: str | None
    warnings: tuple[str, ...]
    overwrite: bool


def prepare(
    scene: PathLike | Sequence[PathLike],
    output: PathLike | None,
    *,
    model: PathLike | None,
    polygons: PathLike | None,
    confidence: PathLike | None,
    probabilities: PathLike | None,
    report: PathLike | None,
    bands: Sequence[str | int] | None,
    aoi: PathLike | None,
    date: str | None,
    nodata: float | None,
    scale: float | None,
    offset: float | None,
    warp: bool,
    force: bool,
    chip_size: int | None,
    overlap: int | None,
    batch_size: int | None,
    block_size: int | None,
    backend: str,
    device: str,
    precision: str,
    tta: str,
    forwards: int | None,
    refine: Asked,
    borders: Borders | None,
    overwrite: bool,
    say: Say,
) -> Job:
    """Open, examine and resolve; arguments as in ``geoseg.predict``, refine steps by argument.

    Raises:
        InputError: Naming what is wrong and what mends it; nothing was written.
    """
    opened = open_scene(scene, nodata=nodata, scale=scale, offset=offset, warp=warp)
    outputs = name_outputs(opened, output, polygons, confidence, probabilities, report)
    check_outputs(
        _by_option(outputs),
        opened.paths,
        endings=dict.fromkeys(("-o", "--confidence", "--probabilities"), RASTERS)
        | {"--polygons": SUFFIXES, "--report": (".json",)},
        overwrite=overwrite,
    )
    if outputs.polygons is not None and opened.georeference.needs_warp:
        raise MismatchError(
            f"{opened.name}: only GCPs or RPCs say where its pixels lie, so polygons would have no "
            "coordinates; --warp makes a regular grid of them"
        )
    if outputs.polygons is not None:
        check_target(outputs.polygons, opened.georeference.crs)
    check_borders(borders, outputs.polygons, opened)
    choice = choose_model(opened, model, bands=bands, force=force)
    if choice.reason is not None:
        say(f"model {choice.reason}")
    warnings = judge(choice.diagnosis, opened, force=force)
    assert choice.diagnosis.match is not None  # judge() has refused scenes without the bands
    numbers = choice.diagnosis.match.numbers
    loaded = open_model(choice.model)
    settings = resolve_settings(
        loaded,
        numbers,
        chip_size=chip_size,
        overlap=overlap,
        batch_size=batch_size,
        block_size=block_size,
        backend=backend,
        device=device,
        precision=precision,
        tta=tta,
        forwards=forwards,
        refine=resolve_refinement(refine, loaded.classes, loaded.card.name, opened),
        say=say,
    )
    area = None if aoi is None else read_area(aoi, opened)
    return Job(
        scene=opened.select(numbers, invalid_where=loaded.card.invalid_where),
        model=loaded,
        chosen=choice.reason,
        settings=settings,
        grid=Grid(opened.shape, settings.chip_size, settings.overlap),
        window=Window.from_shape(opened.shape) if area is None else area.window,
        area=area,
        outputs=outputs,
        borders=borders,
        date=check_date(date) or opened.date,
        warnings=warnings,
        overwrite=overwrite,
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


def name_outputs(
    scene: Scene,
    output: PathLike | None,
    polygons: PathLike | None,
    confidence: PathLike | None,
    probabilities: PathLike | None,
    report: PathLike | None,
) -> Outputs:
    """Where a run writes; the class map is named after the scene, in the current folder, by default."""

    def path(given: PathLike | None) -> Path | None:
        return None if given is None else Path(given)

    return Outputs(
        classes=path(output) or Path(f"{scene.name}_classes.tif"),
        confidence=path(confidence),
        probabilities=path(probabilities),
        polygons=path(polygons),
        report=path(report),
    )


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


def _by_option(outputs: Outputs) -> dict[str, Path]:
    options = {"classes": "-o"}
    return {options.get(name, f"--{name}"): path for name, path in outputs.named().items()}
